"""Transfer between image sizes: the same settings, translated, trained to full length at each.

    python benchmarks/runs/transfer.py --out FOLDER --csv docs/transfer.csv # trains for hours; the same command resumes
    python benchmarks/runs/transfer.py --csv docs/transfer.csv              # the tables again, without training

The settings are the first of `benchmarks/runs/horizon.py`, whose runs are those at 16 px: at another size alpha and m
over a VAE's KL stay, and beta is divided by the ratio of the numbers in an image, as `introvae-train --from` does.
Each size has the default network of its own. A study at a small size is worth what its order is worth at a large one:
rank correlations of scores on test images, means over seeds, and the regret of the small size's winner, as a share of
what the best setting there has over the median. The last table tells which of the three numbers ranks alike.
"""

import os
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # of small networks; several processes use more cores

import horizon
import pandas as pd

SMALL = horizon.TRAIN.image_size
HORIZON = Path(__file__).parents[2] / "docs" / "horizon.csv"
NUMBERS = ("alpha", "beta", "ratio")


def settings_at(size: int, out: Path, count: int) -> list[dict[str, float]]:
    """Return the settings as they are at a size."""
    setup, images = horizon.study_of(horizon.TRAIN, 0, out / str(SMALL))
    beta = images.train.shape[1:].numel() / (images.channels * size**2)
    return [one | {"beta": one["beta"] * beta} for one in horizon.settings(setup)[:count]]


def trained(out: Path, sizes: Sequence[int], count: int, seeds: int, workers: int) -> pd.DataFrame:
    """Train what is missing, and return a row for each run, those at 16 px included."""
    known = pd.read_csv(HORIZON)
    tables = {SMALL: known[known.setting < count]}
    for size in sizes:
        drawn = settings_at(size, out, count)
        tables[size] = horizon.trained(horizon.config_at(size), out / str(size), workers, seeds, drawn)
    rows = pd.concat(table.assign(size=size, ratio=table.m / table.vae_kl) for size, table in tables.items())
    return rows.loc[rows.step == horizon.STEPS[-1], ["size", "setting", "seed", *NUMBERS, "score", "test"]]


def between_sizes(runs: pd.DataFrame) -> str:
    """Format rank correlation and regret for each pair of sizes."""
    means = runs.pivot_table(index="setting", columns="size", values="test")
    lines = ["| from | to | settings | rank correlation | regret of the winner |", "|---|---|---|---|---|"]
    for small, large in combinations(means, 2):
        there = means[large]
        regret = (there.max() - there.iloc[int(means[small].argmax())]) / (there.max() - there.median())
        correlation = means[small].rank().corr(there.rank())
        lines.append(f"| {small} px | {large} px | {len(means)} | {correlation:.2f} | {regret:.2f} |")
    return "\n".join(lines)


def by_number(runs: pd.DataFrame) -> str:
    """Format the rank correlation of each number with the score, at each size."""
    lines = ["| size | " + " | ".join(NUMBERS) + " |", "|---" * (1 + len(NUMBERS)) + "|"]
    for size, of in runs.groupby("size"):
        means = of.groupby("setting")[[*NUMBERS, "test"]].mean().rank()
        cells = " | ".join(f"{means[name].corr(means.test):.2f}" for name in NUMBERS)
        lines.append(f"| {size} px | {cells} |")
    return "\n".join(lines)


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, required=True, metavar="FILE", help="table of all runs")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="train, and keep what is done in this folder")
    parser.add_argument("--sizes", type=int, nargs="+", default=(32,), metavar="N", help="pixels, above 16 [32]")
    parser.add_argument("--settings", type=int, default=12, metavar="N", help="of 24 [12]")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="of each setting [1]")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), metavar="N", help="processes [one a core]")
    args = parser.parse_args()
    if args.out:
        runs = trained(args.out, args.sizes, args.settings, args.seeds, args.workers)
        runs.round(6).to_csv(args.csv, index=False)
    runs = pd.read_csv(args.csv)
    print(between_sizes(runs), by_number(runs), sep="\n\n")


if __name__ == "__main__":
    main()
