"""Comparison grids, one row of tiles for each run: its reconstructions of the same images, its samples of the same noise.

They are put together from the last picture of each run, so that drawing them needs no model.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from analysis.runs import Run
from analysis.sheets import Heading, Row, write_rows
from introvae.pictures import last_picture, read_bands

TILES = 8  # of the reconstructions, and of the samples
CAPTIONS = ("originals, and below each its reconstructions", "samples from the same noise")


def comparison_grid(pictures: Sequence[tuple[str, Path]], path: Path) -> None:
    """Draw runs, given as (label, picture of `write_picture`), below the originals that they share, to a PNG.

    Originals are drawn again where a run's differ from those above it. The first line of a label is drawn in bold.
    """
    write_rows(path, [Heading("", CAPTIONS), *_rows(pictures)])


def best_against_worst(runs: Iterable[Run], path: Path, count: int = 5) -> bool:
    """Draw the `count` best runs above the `count` worst, in order of their scores; False if there is none to draw.

    Runs without a score or a picture are left out, and none is drawn twice.
    """
    found = [(run_label(run), run, last_picture(run.folder)) for run in runs if math.isfinite(_score(run))]
    found.sort(key=lambda item: _score(item[1]), reverse=True)
    ranked = [(label, picture) for label, _, picture in found if picture]
    if not ranked:
        return False
    best = ranked[: min(count, -(-len(ranked) // 2))]
    worst = ranked[len(best) :][-count:]
    rows: list[Row | Heading] = []
    for title, group in (("best", best), ("worst", worst)):
        if group:
            rows += [Heading(f"{title} {len(group)} of {len(ranked)}", CAPTIONS), *_rows(group)]
    write_rows(path, rows)
    return True


def run_label(run: Run) -> str:
    """Lines with the name; the score, and the state unless complete; alpha, beta and m."""
    state = "" if run.state == "complete" else run.state
    score = f"score {_score(run):.3f}" if math.isfinite(_score(run)) else ""
    numbers = ", ".join(f"{name} {value:.3g}" for name, value in run.parameters.items())
    return "\n".join([run.name, ", ".join(filter(None, (score, state))), numbers])


def _score(run: Run) -> float:
    return float(run.scores.get("score", math.nan))


def _rows(pictures: Sequence[tuple[str, Path]]) -> list[Row]:
    """A row of originals, and a row for each run."""
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
    """The first tiles of a band."""
    return band[:, : TILES * band.shape[0]]
