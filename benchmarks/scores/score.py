"""Table of the score as failures grow stronger; exit code 1 unless it falls with each, to below blur where it must.

    python benchmarks/scores/score.py                              # ORL faces, 32 px
    python benchmarks/scores/score.py --data orl-faces FOLDER mnist-5k --image-size 32 64 32 --images 80

Real images stand for perfect reconstructions, and others of the same set for perfect samples; then one or both are
spoiled. A cell holds the mean score over seeds at each strength. It says so where a score does not fall with each of
them in all seeds, or does not end below that of a blur of sigma 1 px of all where a person would say so. Copies among
the real images must leave the score unchanged: two standard errors of the difference are allowed in the mean.
"""

import argparse
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import spoiling as s
import torch
from torch import Tensor

from analysis.measures.score import score_images
from introvae.data.image_set import load_images, to_float
from introvae.runs.record import Scores

COPIES = (0.05, 0.1, 0.2, 0.5)  # shares of real images that are copies of others


@dataclass(frozen=True)
class Failure:
    """Failure in rising strength.

    Attributes:
        name: Its name in the table.
        steps: How images are spoiled, from weak to strong.
        target: "reconstructions", "samples", "both", or "pool": samples are chosen from all images but the real ones.
        below: At full strength it is worse than a blur of sigma 1 px.
        colored: It needs images in color.
    """

    name: str
    steps: Sequence[tuple[s.Spoil, float]]
    target: str = "both"
    below: bool = False
    colored: bool = False

    def apply(self, step: int, images: Tensor, target: str, g: torch.Generator) -> Tensor:
        how, strength = self.steps[step]
        return how(images, strength, g) if self.target in ("both", target) else images


def rising(how: s.Spoil, *strengths: float) -> list[tuple[s.Spoil, float]]:
    return [(how, strength) for strength in strengths]


BLUR = Failure("blur, sigma 0.5, 1, 2 px", rising(s.blur, 0.5, 1, 2))
FAILURES = (
    BLUR,
    Failure("noise, sigma 0.02, 0.05, 0.1", rising(s.noise, 0.02, 0.05, 0.1)),
    Failure("30, 60, 100% of reconstructions alike", rising(s.alike, 0.3, 0.6, 1), "reconstructions", below=True),
    Failure("30, 60, 100% of samples alike", rising(s.alike, 0.3, 0.6, 1), "samples", below=True),
    Failure("2x2, 4x4, 8x8 blocks shuffled", rising(s.shuffled, 2, 4, 8), below=True),
    Failure("20, 50, 100% mixed with the mean image", rising(s.mean, 0.2, 0.5, 1), below=True),
    Failure("20, 50, 100% darkened, to black", rising(s.black, 0.2, 0.5, 1), below=True),
    Failure("a VAE's blur (1.5 px), then two sharp faces", [(s.blur, 1.5), (s.two_alike, 0)], below=True),
    Failure("NaN in one pixel", rising(s.broken, 0), below=True),
    Failure("checkerboard of 0.03, 0.1, 0.3 on samples", rising(s.checkerboard, 0.03, 0.1, 0.3), "samples", below=True),
    Failure("stripes of 4 px, 0.01, 0.02, 0.05", rising(s.fine_stripes, 0.01, 0.02, 0.05), below=True),
    Failure("stripes of 2 px, 0.02, 0.1, on samples", rising(s.finest_stripes, 0.02, 0.1), "samples", below=True),
    Failure("rows of samples darker by 20, 50, 100%", rising(s.black_lines, 0.2, 0.5, 1), "samples", below=True),
    Failure("ringing of 0.1, 0.2, 0.4 on samples", rising(s.ringing, 0.1, 0.2, 0.4), "samples"),
    Failure("plaid of 0.05, 0.1, 0.2 on samples", rising(s.plaid, 0.05, 0.1, 0.2), "samples", below=True),
    Failure("sharpened x1, x2, x4", rising(s.sharpened, 1, 2, 4), below=True),
    Failure("JPEG of quality 60, 30, 10", rising(s.jpeg, 60, 30, 10), below=True),
    Failure("pixelated 2x2, 4x4", rising(s.pixelated, 2, 4), below=True),
    Failure("50, 100% of samples' color lost", rising(s.gray, 0.5, 1), "samples", below=True, colored=True),
    Failure("band of the eyes wiped out by 30, 60, 100%", rising(s.blank_band, 0.3, 0.6, 1), below=True),
    Failure("two images averaged for each sample", rising(s.double, 1), "samples", below=True),
    Failure("the same with contrast x1.4", rising(s.double, 1.4), "samples", below=True),
    Failure("20, 35, 50% of samples upside down", rising(s.some_upside_down, 0.2, 0.35, 0.5), "samples", below=True),
    Failure("10, 25, 50% of samples plaid", rising(s.some_plaid, 0.1, 0.25, 0.5), "samples", below=True),
    Failure("5, 10, 20% of samples white noise", rising(s.some_noise, 0.05, 0.1, 0.2), "samples", below=True),
    Failure("5, 20, 50% of samples shuffled", rising(s.some_shuffled, 0.05, 0.2, 0.5), "samples", below=True),
    Failure("1/4, 1/8 of samples, shifted and mirrored", rising(s.few, 1 / 4, 1 / 8), "samples", below=True),
    Failure("the lowest 50, 25% along the first component", rising(s.one_side, 0.5, 0.25), "pool", below=True),
)  # fmt: skip


def cards(failure: Failure, real: Tensor, pool: Tensor, seed: int) -> list[Scores]:
    """Score the images as they are and at each step; the first images of `pool` serve as samples."""
    others = pool[: len(real)]
    found = [score_images(real, real, others)]
    for step in range(len(failure.steps)):
        g = torch.Generator().manual_seed(seed)
        reconstructions = failure.apply(step, real, "reconstructions", g)
        samples = failure.apply(step, pool if failure.target == "pool" else others, failure.target, g)
        samples = others if failure.target == "reconstructions" else samples[: len(real)]
        found.append(score_images(real, reconstructions, samples))
    return found


def with_copies(real: Tensor, share: float) -> Tensor:
    """Replace the last images by copies of the first ones."""
    count = round(share * len(real))
    return torch.cat([real[: len(real) - count], real[:count]])


def copies_change_nothing(sets: Sequence[tuple[Tensor, Tensor]], share: float) -> tuple[float, float, float]:
    """Return mean score without and with a share of copies, and the standard error of the difference."""
    pairs = []
    for real, pool in sets:
        copied, others = with_copies(real, share), pool[: len(real)]
        pairs.append((score_images(real, real, others), score_images(copied, copied, others)))
    without, copied_too = (statistics.mean(card.score for card in column) for column in zip(*pairs, strict=True))
    return without, copied_too, math.sqrt(sum(card.stderr**2 for pair in pairs for card in pair)) / len(pairs)


def halves(images: Tensor, most: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw real images from uint8 images, and all others in random order, as float in [0, 1]."""
    count = min(most, len(images) // 2)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return to_float(images[order[:count]]), to_float(images[order[count:]])


@dataclass(frozen=True)
class Column:
    """Images of one kind: for each seed real ones and a pool of others; what they score intact, and blurred by 1 px."""

    title: str
    sets: Sequence[tuple[Tensor, Tensor]]
    intact: Sequence[float]
    blurs: Sequence[float]
    colored: bool

    @classmethod
    def load(cls, data: str, size: int, most: int, seeds: int) -> Self:
        images = load_images(data, size)
        whole = torch.cat([part[:].cpu() for part in (images.train, images.validation, images.test)])
        sets = [halves(whole, most, seed) for seed in range(seeds)]
        blur = replace(BLUR, steps=BLUR.steps[1:2])
        found = [[card.score for card in cards(blur, *pair, seed)] for seed, pair in enumerate(sets)]
        intact, blurs = zip(*found, strict=True)
        return cls(f"{data}, {size} px, {len(sets[0][0])} images", sets, intact, blurs, images.channels == 3)

    def cell(self, failure: Failure) -> tuple[str, bool]:
        """Format means over seeds, and how many seeds are in order or below blur if not all; tell whether all are."""
        if failure.colored and not self.colored:
            return "", True
        rows = [[card.score for card in cards(failure, *pair, seed)] for seed, pair in enumerate(self.sets)]
        falling = [all(a > b for a, b in pairwise(row)) for row in rows]
        below = [not failure.below or row[-1] < blur for row, blur in zip(rows, self.blurs, strict=True)]
        shown = ", ".join(f"{statistics.mean(column):.3f}" for column in list(zip(*rows, strict=True))[1:])
        for what, held in (("in order", falling), ("below blur", below)):
            shown += "" if all(held) else f" ({what} in {sum(held)} of {len(held)})"
        return shown, all(falling + below)

    def copies_cell(self, share: float) -> tuple[str, bool]:
        without, copied, error = copies_change_nothing(self.sets, share)
        unchanged = abs(copied - without) <= 2 * error
        return f"{copied:.3f} ± {error:.3f}" + ("" if unchanged else " (changed)"), unchanged


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["orl-faces"], help="as introvae-train takes it [orl-faces]")
    parser.add_argument("--image-size", type=int, nargs="+", default=[32], metavar="N", help="pixels of each [32]")
    parser.add_argument("--images", type=int, default=200, metavar="N", help="at most N of each kind [200]")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="draws of images and noise [3]")
    args = parser.parse_args()
    if len(args.data) != len(args.image_size):
        parser.error("--image-size takes a size for each of --data")
    pairs = zip(args.data, args.image_size, strict=True)
    columns = [Column.load(data, size, args.images, args.seeds) for data, size in pairs]
    print(f"| mean of {args.seeds} seeds | {' | '.join(column.title for column in columns)} |")
    print("|---" * (1 + len(columns)) + "|")
    print(f"| intact | {' | '.join(f'{statistics.mean(column.intact):.3f}' for column in columns)} |", flush=True)
    held = True
    for failure in FAILURES:
        found = [column.cell(failure) for column in columns]
        print(f"| {failure.name} | {' | '.join(text for text, _ in found)} |", flush=True)
        held &= all(holds for _, holds in found)
    for share in COPIES:
        found = [column.copies_cell(share) for column in columns]
        print(f"| {share:.0%} of the real images are copies | {' | '.join(text for text, _ in found)} |", flush=True)
        held &= all(holds for _, holds in found)
    return int(not held)


if __name__ == "__main__":
    raise SystemExit(main())
