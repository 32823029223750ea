"""Table of the score as known failures grow stronger; exit code 1 unless it falls with each of them.

    python benchmarks/score.py                              # ORL faces, 32 px
    python benchmarks/score.py --data FOLDER --image-size 64

Real faces stand for perfect reconstructions, and other real faces of the same set for perfect samples; then one or
both are spoiled. The last column counts the seeds for which a row falls strictly from left to right.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from analysis.measures.score import score_images
from introvae.data.image_set import load_images, to_float
from introvae.runs.record import Scores

Spoil = Callable[[Tensor, float, torch.Generator], Tensor]


def blur(images: Tensor, sigma: float, _: torch.Generator) -> Tensor:
    """Blur by a Gaussian, sigma in pixels."""
    return torch.from_numpy(gaussian_filter(images.numpy(), (0, 0, sigma, sigma)))


def noise(images: Tensor, sigma: float, g: torch.Generator) -> Tensor:
    return (images + sigma * torch.randn(images.shape, generator=g)).clamp(0, 1)


def alike(images: Tensor, share: float, g: torch.Generator) -> Tensor:
    """Replace a share of the images by one of them, sharp as it is."""
    spoiled = images.clone()
    chosen = torch.randperm(len(images), generator=g)[: round(share * len(images))]
    spoiled[chosen] = images[chosen[0]]
    return spoiled


def two_alike(images: Tensor, _: float, g: torch.Generator) -> Tensor:
    """Replace images by two sharp ones, whatever the input: the failure of the preset seed-256-low-beta."""
    two = torch.randperm(len(images), generator=g)[:2]
    return images[two[torch.randint(2, (len(images),), generator=g)]]


def shuffled(images: Tensor, blocks: float, g: torch.Generator) -> Tensor:
    """Shuffle blocks x blocks tiles of each image, which leaves texture without structure."""
    count, side = int(blocks), images.shape[-1] // int(blocks)
    images = images[..., : count * side, : count * side]
    tiles = images.unfold(2, side, side).unfold(3, side, side).flatten(2, 3)
    order = torch.stack([torch.randperm(count**2, generator=g) for _ in images])
    mixed = torch.stack([image[:, o] for image, o in zip(tiles, order, strict=True)])
    return mixed.unflatten(2, (count, count)).permute(0, 1, 2, 4, 3, 5).reshape(images.shape)


def mean(images: Tensor, share: float, _: torch.Generator) -> Tensor:
    return (1 - share) * images + share * images.mean(0, keepdim=True)


def black(images: Tensor, share: float, _: torch.Generator) -> Tensor:
    return (1 - share) * images


def blurred_noise(images: Tensor, sigma: float, g: torch.Generator) -> Tensor:
    """Add noise to blurred images, which together can have the Laplacian variance of sharp ones."""
    return noise(blur(images, 1, g), sigma, g)


def broken(images: Tensor, _: float, __: torch.Generator) -> Tensor:
    """Put NaN in one pixel."""
    spoiled = images.clone()
    spoiled[0, 0, 0, 0] = torch.nan
    return spoiled


@dataclass(frozen=True)
class Failure:
    """Failure in rising strength, of the reconstructions, the samples or both."""

    name: str
    steps: Sequence[tuple[Spoil, float]]
    target: str = "both"

    def apply(self, step: int, images: Tensor, target: str, g: torch.Generator) -> Tensor:
        how, strength = self.steps[step]
        return how(images, strength, g) if self.target in ("both", target) else images


def rising(how: Spoil, *strengths: float) -> list[tuple[Spoil, float]]:
    return [(how, strength) for strength in strengths]


FAILURES = (
    Failure("blur, sigma 0.5, 1, 2 px", rising(blur, 0.5, 1, 2)),
    Failure("noise, sigma 0.02, 0.05, 0.1", rising(noise, 0.02, 0.05, 0.1)),
    Failure("30, 60, 100% of reconstructions alike", rising(alike, 0.3, 0.6, 1), "reconstructions"),
    Failure("30, 60, 100% of samples alike", rising(alike, 0.3, 0.6, 1), "samples"),
    Failure("2x2, 4x4, 8x8 blocks shuffled", rising(shuffled, 2, 4, 8)),
    Failure("20, 50, 100% mixed with the mean image", rising(mean, 0.2, 0.5, 1)),
    Failure("20, 50, 100% darkened, to black", rising(black, 0.2, 0.5, 1)),
    Failure("a VAE's blur (1.5 px), then two sharp faces", [(blur, 1.5), (two_alike, 0)]),
    Failure("NaN in one pixel", rising(broken, 0)),
)


def cards(failure: Failure, real: Tensor, others: Tensor, seed: int) -> list[Scores]:
    """Score the images as they are and at each step; `others` serve as samples."""
    found = [score_images(real, real, others)]
    for step in range(len(failure.steps)):
        g = torch.Generator().manual_seed(seed)
        reconstructions = failure.apply(step, real, "reconstructions", g)
        found.append(score_images(real, reconstructions, failure.apply(step, others, "samples", g)))
    return found


def halves(images: Tensor, most: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw real images and as many others from uint8 images, as float in [0, 1]."""
    count = min(most, len(images) // 2)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return to_float(images[order[:count]]), to_float(images[order[count : 2 * count]])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="orl-faces", help="as introvae-train takes it [orl-faces]")
    parser.add_argument("--image-size", type=int, default=32, metavar="N", help="pixels [32]")
    parser.add_argument("--channels", type=int, default=0, metavar="N", help="1, 3 or 0: as in the data [0]")
    parser.add_argument("--images", type=int, default=200, metavar="N", help="at most N of each kind [200]")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="draws of faces and noise [3]")
    args = parser.parse_args()
    data = load_images(args.data, args.image_size, args.channels)
    whole = torch.cat([data.train[:].cpu(), data.validation[:].cpu()])
    sets = [halves(whole, args.images, seed) for seed in range(args.seeds)]
    print(f"{args.data}, {args.image_size} px, {len(sets[0][0])} real images; score, mean of {args.seeds} seeds")
    print("| failure | intact | 1 | 2 | 3 | in order |\n|---|---|---|---|---|---|")
    failed = False
    for failure in FAILURES:
        rows = [[card.score for card in cards(failure, *pair, seed)] for seed, pair in enumerate(sets)]
        falling = sum(all(a > b for a, b in pairwise(row)) for row in rows)
        failed |= falling < len(rows)
        means = [statistics.mean(column) for column in zip(*rows, strict=True)]
        cells = [f"{mean:.0e}" if 0 < mean < 5e-4 else f"{mean:.3f}" for mean in means]
        cells += [""] * (4 - len(cells))
        print(f"| {failure.name} | {' | '.join(cells)} | {falling} of {len(rows)} |", flush=True)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
