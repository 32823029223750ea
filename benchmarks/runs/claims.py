"""Tables in Markdown, and a map, of what runs say about the claims on alpha, beta and m.

    introvae-sweep --points claims
    introvae-sweep --points claims --norm group --study claims-group
    python benchmarks/runs/claims.py predictions/claims predictions/claims-group --csv docs/claims.csv
    python benchmarks/runs/claims.py docs/claims.csv [--map FILE]            # again, without training

The points, three seeds each: a grid of beta (0.05 to 0.75 at 256x256x3) and of m at alpha 0.25; alpha from 0.05 to 1 at
beta 0.2; and a VAE for each beta, whose KL at its end, seed by seed, is what m is measured by. A cell holds mean and
standard deviation over seeds, and the number of runs that did not end well. Scores are those of test images.
"""

import argparse
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from analysis.report.runs import Run, read_runs
from introvae.runs.record import PARTS

ALPHA, BETA, RATIO = 0.25, 0.2, 4.0  # where the grid is cut
MEASURES = ("kl", "high_frequency_samples", "high_frequency_reconstructions", "traversal_smoothness")
GRID = ("score", "structure", "diversity", "informativeness")
PREDICTORS: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "m over the KL of a VAE": lambda grid: grid.m_kl,
    "m": lambda grid: grid.m,
    "beta": lambda grid: grid.beta,
    "m over beta": lambda grid: grid.m / grid.beta,
}
RESAMPLES = 2000


def read(folders: Sequence[Path]) -> pd.DataFrame:
    """Return a row for each ended run, with m over the KL that the VAE of its beta, seed and norm has reached."""
    runs = pd.DataFrame([_row(run) for folder in folders for run in read_runs(folder) if run.state.ended])
    vaes = runs[runs.alpha == 0][["norm", "beta", "seed", "kl"]].rename(columns={"kl": "kl_vae"})
    runs = runs.merge(vaes, on=["norm", "beta", "seed"], how="left")
    return runs.assign(m_kl=runs.m / runs.kl_vae).sort_values(["norm", "alpha", "beta", "m", "seed"])


def _row(run: Run) -> dict[str, Any]:
    assert run.config and run.beta_256
    ratio = run.margin_ratio or run.predicted_margin_ratio
    row = {"norm": run.config.norm, "alpha": run.parameters["alpha"], "beta": _short(run.beta_256)}
    row |= {"ratio": ratio and _short(ratio), "m": run.parameters.get("m"), "seed": run.config.seed}
    row |= {"state": run.state.value, "validation": run.scores.score}
    row |= {name: getattr(run.test, name) for name in ("score", *PARTS)}
    return row | {name: run.numbers.get(name) for name in MEASURES}


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def cell(runs: pd.DataFrame, measure: str) -> str:
    """Format mean and standard deviation over runs, and the states of those that are not complete."""
    values = runs[measure].dropna()
    shown = f"{values.mean():.3g}" if len(values) else "-"
    if len(values) > 1:
        shown += f" ± {values.std():.2g}"
    bad = runs.state[runs.state != "complete"].value_counts()
    return "; ".join([shown, *(f"{count} {state}" for state, count in bad.items())])


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def grid_table(grid: pd.DataFrame, measure: str) -> str:
    """Format a measure over the grid: a row for each beta, with the measured m/KL in each cell."""
    ratios = sorted(grid.ratio.unique())
    rows = []
    for beta, of_beta in grid.groupby("beta"):
        cells = [of_beta[of_beta.ratio == ratio] for ratio in ratios]
        rows.append([f"beta {beta:g}", *(f"{cell(runs, measure)} (m/KL {runs.m_kl.mean():.2g})" for runs in cells)])
    return table([measure, *(f"predicted m/KL {ratio:g}" for ratio in ratios)], rows)


def rows_table(runs: pd.DataFrame, by: str, measures: Sequence[str]) -> str:
    """Format measures in a row for each value of `by`."""
    rows = [[f"{value:g}", *(cell(same, measure) for measure in measures)] for value, same in runs.groupby(by)]
    return table([by, *measures], rows)


def predictors_table(grid: pd.DataFrame) -> str:
    """Format Spearman's rank correlations of the score with PREDICTORS, and their intervals of 95%."""
    g = np.random.default_rng(0)
    draws = [resampled(grid, g) for _ in range(RESAMPLES)]
    rows = []
    for name, of in PREDICTORS.items():
        found, *others = (of(runs).rank().corr(runs.score.rank()) for runs in (grid, *draws))
        low, high = np.nanquantile(others, (0.025, 0.975))
        rows.append([name, f"{found:.2f} [{low:.2f}, {high:.2f}]"])
    return table(["rank correlation with the score", "over settings and seeds"], rows)


def resampled(grid: pd.DataFrame, g: np.random.Generator) -> pd.DataFrame:
    """Draw settings with replacement, and of each as many of its seeds."""
    settings = [runs.index.to_numpy() for _, runs in grid.groupby(["beta", "ratio"])]
    drawn = [settings[i] for i in g.integers(len(settings), size=len(settings))]
    return grid.loc[np.concatenate([g.choice(rows, len(rows)) for rows in drawn])]


def draw_map(grid: pd.DataFrame, path: Path) -> None:
    """Draw all scores of the grid over the measured m/KL, in a panel for each norm."""
    runs = grid.assign(beta=grid.beta.map("{:g}".format))
    panels = sns.relplot(runs, x="m_kl", y="score", hue="beta", style="beta", col="norm", s=60, height=3.5)
    panels.set(xscale="log", xlabel="m over the KL of a VAE", ylabel="score on test images")
    for axes in panels.axes.flat:
        axes.set_xticks([2, 5, 10, 20], ["2", "5", "10", "20"])
        axes.minorticks_off()
    figure: Figure = panels.figure
    figure.savefig(path, dpi=120)


def tables(runs: pd.DataFrame) -> str:
    """Format all tables of the runs of one norm."""
    vaes, trained = runs[runs.alpha == 0], runs[runs.alpha > 0]
    grid = trained[trained.alpha == ALPHA]
    at_beta = runs[(runs.beta == BETA) & ((runs.ratio == RATIO) | (runs.alpha == 0))]
    at_ratio = grid[grid.ratio == RATIO]
    shown = ("score", *PARTS, *MEASURES)
    parts = (
        *((f"alpha {ALPHA:g}: {measure}", grid_table(grid, measure)) for measure in GRID),
        (f"alpha {ALPHA:g}: what tells the score", predictors_table(grid)),
        (f"beta {BETA:g}, predicted m/KL {RATIO:g}: alpha", rows_table(at_beta, "alpha", shown)),
        (f"alpha {ALPHA:g}, predicted m/KL {RATIO:g}: beta", rows_table(at_ratio, "beta", shown)),
        ("VAEs: beta", rows_table(vaes, "beta", shown)),
    )
    return "\n".join(f"### Norm {runs.norm.iloc[0]}, {title}\n\n{text}" for title, text in parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="studies of --points claims, or the CSV file of them")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a row for each run")
    parser.add_argument("--map", type=Path, metavar="FILE", help="draw the scores over m/KL")
    args = parser.parse_args()
    known = args.runs[0].suffix == ".csv"
    text = args.runs[0].read_text() if known else read(args.runs).to_csv(index=False, float_format="%.5g")
    if args.csv:
        args.csv.write_text(text)
    runs = pd.read_csv(StringIO(text))  # so that tables are those of the file
    for _, of_norm in runs.groupby("norm"):
        print(tables(of_norm))
    if args.map:
        draw_map(runs[runs.alpha == ALPHA], args.map)


if __name__ == "__main__":
    main()
