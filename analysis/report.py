"""Runs below a folder -> table, summary.csv, summary.md and a comparison grid."""

import math
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.grids import comparison_grid
from analysis.score import PARTS
from introvae.config import value_at
from introvae.errors import UserError
from introvae.pictures import last_picture
from introvae.run import PARAMS, read_config, read_metrics, read_scores, write_atomically

COLUMNS = ("run", "score", *PARTS, "alpha", "beta", "m", "m/KL", "steps", "state")
MEASURES = ("psnr", "ssim", "retrieval", "variance_ratio", "sharpness_reconstructions", "sharpness_samples", "kl")
GRID = "comparison.png"
RUNS_DRAWN = 5
STATE_WIDTH = 32  # characters of a state and its reason in a terminal; the files have all of it


def collect(root: Path) -> pd.DataFrame:
    """One row for each run at or below `root`, best first; folders that begin with a dot are passed over.

    A run that has not ended has no score; one that cannot be read has its reason as its state.
    Raises UserError if there is no run.
    """
    folders = sorted(_run_folders(root))
    if not folders:
        raise UserError(f"there is no run below {root}; introvae-train or introvae-sweep makes some")
    rows = [_row(folder, root) for folder in folders]
    table = pd.DataFrame(rows, columns=[*COLUMNS, *MEASURES, "folder"])
    return table.sort_values("score", ascending=False, na_position="last", kind="stable", ignore_index=True)


def write_report(root: Path, chosen: Sequence[str] = (), top: int = RUNS_DRAWN) -> tuple[pd.DataFrame, Path | None]:
    """Write summary.csv, summary.md and comparison.png into `root`; give the table and the grid's path.

    The grid shows the runs named in `chosen`, or the `top` best. Raises UserError for a name that is no run.
    """
    table = collect(root)
    unknown = [name for name in chosen if name not in set(table["run"])]
    if unknown:
        raise UserError(f"there is no run {unknown[0]!r} below {root}; the table names them")
    public = table.drop(columns="folder")
    write_atomically(root / "summary.csv", public.to_csv(index=False, float_format="%.6g").encode())
    write_atomically(root / "summary.md", _markdown(public).encode())
    drawn = table[table["run"].isin(chosen)] if chosen else table.head(top)
    pictures = [(_label(row), last_picture(Path(str(row["folder"])))) for _, row in drawn.iterrows()]
    found = [(label, picture) for label, picture in pictures if picture]
    if not found:
        return table, None
    comparison_grid(found, root / GRID)
    return table, root / GRID


def text_table(table: pd.DataFrame) -> str:
    """The table for a terminal, with short names in its header."""
    short = {"reconstruction": "recon", "informativeness": "inform", "sharpness": "sharp", "structure": "struct",
             "diversity": "divers"}  # fmt: skip
    shown = table[list(COLUMNS)].rename(columns=short)
    shown["state"] = [textwrap.shorten(state, STATE_WIDTH, placeholder=" ...") for state in shown["state"]]
    return shown.to_string(index=False, na_rep="-", formatters=dict.fromkeys(shown.columns, _cell))


def _run_folders(root: Path) -> list[Path]:
    if not root.is_dir():
        raise UserError(f"there is no folder {root}")
    found = []
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        if PARAMS in files:
            found.append(Path(folder))
    return found


def _row(folder: Path, root: Path) -> dict[str, Any]:
    name = folder.relative_to(root).as_posix() if folder != root else folder.resolve().name
    row: dict[str, Any] = {"run": name, "folder": str(folder)}
    try:
        return row | _values(folder)
    except (UserError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        return row | {"state": f"unreadable: {error}"}


def _values(folder: Path) -> dict[str, Any]:
    config, scores, metrics = read_config(folder), read_scores(folder), read_metrics(folder)
    alpha, beta = (value_at(schedule, config.steps) for schedule in (config.alpha, config.beta))
    steps = int(metrics[-1]["step"]) if metrics else 0
    values = {"alpha": alpha, "beta": beta, "m": config.m, "steps": steps, "state": "not ended"}
    if scores is None:
        return values
    measures = scores.get("measures", {})
    values |= {name: scores.get(name, math.nan) for name in ("score", *PARTS)}
    values |= {name: measures.get(name, math.nan) for name in MEASURES}
    if alpha and measures.get("vae_kl"):
        values["m/KL"] = config.m / measures["vae_kl"]
    reason = scores.get("reason")
    return values | {"state": scores["state"] + (f": {reason}" if reason else "")}


def _label(row: "pd.Series[Any]") -> str:
    numbers = [f"{name} {row[name]:.3g}" for name in ("alpha", "beta", "m") if pd.notna(row[name])]
    score = f"score {row['score']:.3f}" if pd.notna(row["score"]) else str(row["state"])
    return f"{row['run']}: {score}\n{', '.join(numbers)}"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if math.isfinite(value) else "-"
    return str(value)


def _markdown(table: pd.DataFrame) -> str:
    lines = [list(COLUMNS), ["---"] * len(COLUMNS)]
    lines += [[_cell(row[name]).replace("|", "\\|") for name in COLUMNS] for _, row in table.iterrows()]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)
