"""Tables in Markdown, and a map, of what runs say about the claims on alpha, beta and m.

    introvae-sweep --points claims
    python benchmarks/claims.py predictions/claims [--map claims.png]

The points, three seeds each: a grid of beta (0.05 to 0.75 at 256x256x3) and margin ratio (1.5 to 15) at alpha 0.25;
alpha from 0.05 to 1 at beta 0.2 and margin ratio 4; and a VAE for each beta. A cell holds the mean and the standard
deviation over seeds, and the number of runs that did not end well.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from analysis.report.runs import Run, read_runs

ALPHA, BETA, RATIO = 0.25, 0.2, 4.0  # where the grid is cut
DETAIL = ("high_frequency_samples", "high_frequency_reconstructions", "sharpness", "structure", "reconstruction")
GRID = ("score", "informativeness", "diversity")
PREDICTORS = {
    "m over the mean KL of a VAE": lambda grid: grid.m / grid.kl_vae,
    "m over its 95th percentile": lambda grid: grid.m / grid.kl_95_vae,
    "m": lambda grid: grid.m,
    "beta": lambda grid: grid.beta,
}


def read(folder: Path) -> pd.DataFrame:
    """Return a row for each ended run: alpha, beta at 256x256x3, m, ratio (m/KL), seed, state, scores, measures."""
    return pd.DataFrame([_row(run) for run in read_runs(folder) if run.state.ended])


def _row(run: Run) -> dict[str, Any]:
    values: dict[str, Any] = vars(run.scores) | run.numbers
    values |= run.parameters | {"beta": _short(run.beta_256), "ratio": _short(run.margin_ratio)}
    return values | {"seed": run.config.seed if run.config else None, "state": run.state.value}


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")


def cell(runs: pd.DataFrame, measure: str) -> str:
    """Format mean and standard deviation over runs, and the states of those that are not complete."""
    values = runs[measure].dropna()
    shown = f"{values.mean():.3f}" if len(values) else "-"
    if len(values) > 1:
        shown += f" ± {values.std():.3f}"
    bad = runs.state[runs.state != "complete"].value_counts()
    return "; ".join([shown, *(f"{count} {state}" for state, count in bad.items())])


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def grid_table(grid: pd.DataFrame, measure: str) -> str:
    """Format a measure over the grid, beta downwards and margin ratio to the right."""
    ratios = sorted(grid.ratio.unique())
    rows = [
        [f"beta {beta:g}", *(cell(of_beta[of_beta.ratio == ratio], measure) for ratio in ratios)]
        for beta, of_beta in grid.groupby("beta")
    ]
    return table([measure, *(f"m/KL {ratio:g}" for ratio in ratios)], rows)


def rows_table(runs: pd.DataFrame, by: str, measures: Sequence[str]) -> str:
    """Format measures in a row for each value of `by`."""
    rows = [[f"{value:g}", *(cell(same, measure) for measure in measures)] for value, same in runs.groupby(by)]
    return table([by, *measures], rows)


def predictors_table(grid: pd.DataFrame, vaes: pd.DataFrame) -> str:
    """Format Spearman's rank correlations of the score with PREDICTORS, over the grid of each seed."""
    known = grid.merge(vaes[["beta", "seed", "kl", "kl_95"]], on=["beta", "seed"], suffixes=("", "_vae"))
    rows = []
    for name, of in PREDICTORS.items():
        found = pd.Series([of(same).corr(same.score, method="spearman") for _, same in known.groupby("seed")])
        rows.append([name, f"{found.mean():.2f} ± {found.std():.2f}"])
    return table(["rank correlation with the score", "over seeds"], rows)


def draw_map(grid: pd.DataFrame, path: Path) -> None:
    """Draw the mean score over beta and margin ratio."""
    mean = grid.pivot_table("score", "beta", "ratio").sort_index(ascending=False)
    deviation = grid.pivot_table("score", "beta", "ratio", aggfunc="std").reindex_like(mean)
    text = mean.map("{:.2f}".format) + deviation.map("\n± {:.2f}".format, na_action="ignore").fillna("")
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    sns.heatmap(mean, annot=text, fmt="", cmap="cividis", cbar_kws={"label": "score"}, ax=axes)
    axes.set(xlabel="m over the KL of a VAE", ylabel="beta at 256x256x3")
    axes.set_title(f"alpha {ALPHA:g}, mean and deviation over seeds")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the study of --points claims")
    parser.add_argument("--map", type=Path, metavar="FILE", help="draw the mean score over beta and margin ratio")
    args = parser.parse_args()
    runs = read(args.folder)
    vaes, trained = runs[runs.alpha == 0], runs[runs.alpha > 0]
    grid = trained[trained.alpha == ALPHA]
    at_beta = runs[(runs.beta == BETA) & ((runs.ratio == RATIO) | (runs.alpha == 0))]
    at_ratio = grid[grid.ratio == RATIO]
    smoothness = ("traversal_smoothness", "interpolation_smoothness")
    for title, text in (
        *((f"Alpha {ALPHA:g}: {measure}", grid_table(grid, measure)) for measure in GRID),
        (f"Alpha {ALPHA:g}: what tells the score", predictors_table(grid, vaes)),
        (f"Beta {BETA:g}, m/KL {RATIO:g}: alpha", rows_table(at_beta, "alpha", DETAIL)),
        (f"Alpha {ALPHA:g}, m/KL {RATIO:g}: beta", rows_table(at_ratio, "beta", (*DETAIL, *smoothness))),
        ("VAEs: beta", rows_table(vaes, "beta", ("kl", "kl_95", *smoothness))),
    ):
        print(f"### {title}\n\n{text}")
    if args.map:
        draw_map(grid, args.map)


if __name__ == "__main__":
    main()
