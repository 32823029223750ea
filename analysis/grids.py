"""Comparison grids: originals, then reconstructions and samples of each run, with labels a person can read."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from introvae.pictures import read_bands

BAND_INCHES = 0.8
LABEL_INCHES = 2.6


def comparison_grid(pictures: Sequence[tuple[str, Path]], path: Path) -> None:
    """Draw the last picture of each run, given as (label, picture), below the originals they share, to a PNG.

    Originals are drawn again where a run's differ from those above it.
    """
    rows: list[tuple[str, np.ndarray]] = []
    drawn: np.ndarray | None = None
    for label, picture in pictures:
        bands = read_bands(picture)
        if drawn is None or not np.array_equal(drawn, bands["originals"]):
            drawn = bands["originals"]
            rows.append(("originals", drawn))
        rows.append((f"{label}\nreconstructions", bands["reconstructions"]))
        rows.append(("samples", bands["samples"]))
    widest = max(image.shape[1] / image.shape[0] for _, image in rows)
    with matplotlib.rc_context({"font.size": 8}):
        figure = Figure(figsize=(LABEL_INCHES + BAND_INCHES * widest, BAND_INCHES * len(rows)), dpi=150)
        left = LABEL_INCHES / figure.get_figwidth()
        for index, (label, image) in enumerate(rows):
            share = image.shape[1] / image.shape[0] / widest
            bottom = 1 - (index + 1) / len(rows)
            axes = figure.add_axes((left, bottom, (1 - left) * share, 0.96 / len(rows)))
            axes.imshow(image, aspect="auto", interpolation="nearest")
            axes.set_axis_off()
            figure.text(left - 0.01, bottom + 0.48 / len(rows), label, ha="right", va="center")
        figure.savefig(path, format="png")
