"""Near duplicates: which changes of a picture are found, which pictures are taken for one, and how long it takes.

    python benchmarks/scores/duplicates.py [--data DATA] [--image-size N] [--count N]

Images are changed as files change on their way through programs and web sites: the first lines say how many of them
are in one group with their originals. Then the images alone are grouped. The time is that of N images; means of two
random ones make up for what is missing.
"""

import argparse
import io
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from introvae.data.duplicates import group_duplicates
from introvae.data.image_set import load_images

SHOWN = 10  # groups
MOST_CHANGED = 1000  # images


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def resized(image: Image.Image, share: float) -> Image.Image:
    side = round(image.width * share)
    return image.resize((side, side), Image.Resampling.BILINEAR).resize(image.size, Image.Resampling.LANCZOS)


def shifted(image: Image.Image, pixels: int) -> Image.Image:
    before = ((pixels, 0), (pixels, 0), (0, 0))[: np.asarray(image).ndim]
    return Image.fromarray(np.pad(np.asarray(image), before, "edge")[: image.height, : image.width])


def cropped(image: Image.Image, left: int, right: int) -> Image.Image:
    box = (left, left, image.width - right, image.height - right)
    return image.crop(box).resize(image.size, Image.Resampling.LANCZOS)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG, quality 50": lambda image: jpeg(image, 50),
    "half the size and back": lambda image: resized(image, 0.5),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "shifted by 1 px down and right": lambda image: shifted(image, 1),
    "shifted by 2 px down and right": lambda image: shifted(image, 2),
    "cropped by 2 px on each side": lambda image: cropped(image, 2, 2),
    "cropped by 4 px at the top and left": lambda image: cropped(image, 4, 0),
    "10% darker": lambda image: image.point(lambda value: round(0.9 * value)),
    "10% brighter": lambda image: image.point(lambda value: min(255, round(1.1 * value))),
    "30% brighter": lambda image: image.point(lambda value: min(255, round(1.3 * value))),
    "mirrored, cropped by 1 px, JPEG": lambda image: jpeg(
        cropped(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 1, 1), 70
    ),
}


def to_image(pixels: Tensor) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).squeeze(2).numpy())


def to_pixels(images: list[Image.Image], like: Tensor) -> Tensor:
    return (
        torch.from_numpy(np.stack([np.asarray(image) for image in images]))
        .view(len(images), *like.shape[2:], -1)
        .permute(0, 3, 1, 2)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="orl-faces", metavar="DATA", help="as of introvae-train [orl-faces]")
    parser.add_argument("--image-size", type=int, default=64, metavar="N", help="pixels [64]")
    parser.add_argument("--count", type=int, default=20000, metavar="N", help="images that are timed [20000]")
    args = parser.parse_args()
    data = load_images(args.data, args.image_size)
    images = torch.cat([part[:] for part in (data.train, data.validation, data.test)])
    few = images[torch.linspace(0, len(images) - 1, min(MOST_CHANGED, len(images))).long()]
    for name, change in CHANGES.items():
        changed = to_pixels([change(to_image(pixels)) for pixels in few], few)
        groups = group_duplicates([few, changed])
        print(f"{name}: {(groups[: len(few)] == groups[len(few) :]).mean():.1%}")
    groups = group_duplicates([images])
    found, sizes = np.unique(groups, return_counts=True)
    largest = np.argsort(-sizes, kind="stable")[:SHOWN]
    print(f"{len(images)} images, {len(found)} groups; the largest have {', '.join(map(str, sizes[largest]))} images")
    random = torch.Generator().manual_seed(0)
    one, other = torch.randint(len(images), (2, max(0, args.count - len(images))), generator=random)
    mixed = images[one] // 2 + images[other] // 2
    start = time.process_time()
    group_duplicates([images, mixed] if len(mixed) else [images[: args.count]])
    print(f"{args.count} images: {time.process_time() - start:.0f} s of one core")


if __name__ == "__main__":
    main()
