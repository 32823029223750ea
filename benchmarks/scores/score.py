"""Table of the score as failures grow stronger; exit code 1 unless it falls with each, to below blur where it must.

    python benchmarks/scores/score.py                              # ORL faces, 32 px
    python benchmarks/scores/score.py --data FOLDER --image-size 64
    python benchmarks/scores/score.py --data mnist-5k

Real images stand for perfect reconstructions, and others of the same set for perfect samples; then one or both are
spoiled. "In order" counts the seeds for which a row falls strictly from left to right; "below blur" those for which it
ends below a blur of sigma 1 px of all. Copies among the real images must leave the score unchanged: two standard errors
of the difference are allowed in the mean over seeds.
"""

import argparse
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

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


def copies_change_nothing(sets: Sequence[tuple[Tensor, Tensor]]) -> dict[float, tuple[float, float, float]]:
    """Return mean score without and with a share of copies, and the standard error of the difference, by share."""
    found = {}
    for share in COPIES:
        pairs = []
        for real, pool in sets:
            copied, others = with_copies(real, share), pool[: len(real)]
            pairs.append((score_images(real, real, others), score_images(copied, copied, others)))
        means = [statistics.mean(card.score for card in column) for column in zip(*pairs, strict=True)]
        error = math.sqrt(sum(card.stderr**2 for pair in pairs for card in pair)) / len(pairs)
        found[share] = (means[0], means[1], error)
    return found


def halves(images: Tensor, most: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw real images from uint8 images, and all others in random order, as float in [0, 1]."""
    count = min(most, len(images) // 2)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return to_float(images[order[:count]]), to_float(images[order[count:]])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="orl-faces", help="as introvae-train takes it [orl-faces]")
    parser.add_argument("--image-size", type=int, default=32, metavar="N", help="pixels [32]")
    parser.add_argument("--channels", type=int, default=0, metavar="N", help="1, 3 or 0: as in the data [0]")
    parser.add_argument("--images", type=int, default=200, metavar="N", help="at most N of each kind [200]")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="draws of images and noise [3]")
    args = parser.parse_args()
    data = load_images(args.data, args.image_size, args.channels)
    whole = torch.cat([images[:].cpu() for images in (data.train, data.validation, data.test)])
    sets = [halves(whole, args.images, seed) for seed in range(args.seeds)]
    blurs = [cards(BLUR, *pair, seed)[2].score for seed, pair in enumerate(sets)]
    print(f"{args.data}, {args.image_size} px, {len(sets[0][0])} real images; score, mean of {args.seeds} seeds")
    print("| failure | intact | 1 | 2 | 3 | in order | below blur |\n|---|---|---|---|---|---|---|")
    failed = False
    for failure in FAILURES:
        if failure.colored and data.channels == 1:
            continue
        rows = [[card.score for card in cards(failure, *pair, seed)] for seed, pair in enumerate(sets)]
        falling = sum(all(a > b for a, b in pairwise(row)) for row in rows)
        below = sum(row[-1] < blur for row, blur in zip(rows, blurs, strict=True))
        failed |= falling < len(rows) or (failure.below and below < len(rows))
        means = [statistics.mean(column) for column in zip(*rows, strict=True)]
        cells = [f"{mean:.0e}" if 0 < mean < 5e-4 else f"{mean:.3f}" for mean in means]
        cells += [""] * (4 - len(cells))
        counts = f"{falling} of {len(rows)} | {f'{below} of {len(rows)}' if failure.below else ''}"
        print(f"| {failure.name} | {' | '.join(cells)} | {counts} |", flush=True)
    for share, (without, copied, error) in copies_change_nothing(sets).items():
        failed |= abs(copied - without) > 2 * error
        print(f"{share:.0%} of the real images are copies: {without:.3f} -> {copied:.3f} (± {error:.3f})", flush=True)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
