"""Comparison grids: a row of tiles for each run, its reconstructions of the same images and samples of the same noise.

They are put together from the last picture of each run, so that drawing them needs no model.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.report.runs import Run
from analysis.report.sheets import Row, write_rows
from introvae.runs.pictures import read_bands
from introvae.runs.record import RunState

TILES = 8  # tiles of the reconstructions, and of the samples
CAPTIONS = ("originals, and below each its reconstructions", "samples from the same noise")


def comparison_grid(pictures: Sequence[tuple[str, Path]], path: Path) -> None:
    """Draw runs, given as (label, picture by `write_picture`), below the originals that they share, to a PNG.

    Originals are drawn again where a run's differ from those above it. The first line of a label is bold.
    """
    write_rows(path, CAPTIONS, _rows(pictures))


def run_label(run: Run) -> str:
    """Return lines with the name; the scores, and the state unless complete; alpha, beta and m."""
    score = run.shown_score or run.reason
    state = "" if run.state is RunState.COMPLETE else f", {run.state}"
    numbers = ", ".join(f"{name} {value:.3g}" for name, value in run.parameters.items())
    return f"{run.name}\n{score}{state}\n{numbers}"


def _rows(pictures: Sequence[tuple[str, Path]]) -> list[Row]:
    rows: list[Row] = []
    drawn: np.ndarray | None = None
    for label, picture in pictures:
        originals, *bands = read_bands(picture).values()
        if drawn is None or not np.array_equal(drawn, originals):
            drawn = originals
            rows.append(Row("originals", [_first(originals)]))
        rows.append(Row(label, [_first(band) for band in bands]))
    return rows


def _first(band: np.ndarray) -> np.ndarray:
    return band[:, : TILES * band.shape[0]]
