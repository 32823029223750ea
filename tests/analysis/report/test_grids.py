"""Grids of runs: the right tiles in the right place, and labels beside them."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from studies import make_run

from analysis.report.grids import TILES, comparison_grid, run_label
from analysis.report.runs import Run, read_runs
from analysis.report.sheets import BELOW, GAP, LINE, MARGIN
from introvae.runs.pictures import read_bands, write_picture
from introvae.runs.record import RunState

SIDE = 64  # of a tile in the grid
START = MARGIN + 2 * TILES * SIDE + GAP  # of the tiles, from the right


def picture(folder: Path, seed: int, originals: int = 0, size: int = 32) -> Path:
    """A run's last picture, of 12 tiles."""
    draws = torch.Generator().manual_seed(seed)
    real = torch.rand(12, 1, size, size, generator=torch.Generator().manual_seed(originals))
    folder.mkdir(parents=True, exist_ok=True)
    write_picture(folder, 1, (real, *torch.rand(2, 12, 1, size, size, generator=draws)))
    return folder / "images" / "step-000001.png"


def drawn(pictures: list[tuple[str, Path]], path: Path) -> np.ndarray:
    comparison_grid(pictures, path)
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def tops(grid: np.ndarray, band: np.ndarray, right: int) -> list[int]:
    """Find the rows where the first SHOWN tiles of a band stand, enlarged, their right edge `right` from the grid's."""
    factor = SIDE // band.shape[0]
    tiles = band[:, : TILES * band.shape[0]].repeat(factor, 0).repeat(factor, 1)
    area = grid[:, -right - TILES * SIDE : -right]
    return [top for top in range(len(area) - SIDE + 1) if np.array_equal(area[top : top + SIDE], tiles)]


def test_a_run_is_one_row_below_the_originals(tmp_path: Path) -> None:
    paths = [picture(tmp_path / str(seed), seed) for seed in (1, 2)]
    grid = drawn([("one\nscore 0.5", paths[0]), ("two", paths[1])], tmp_path / "grid.png")
    originals, *_ = read_bands(paths[0]).values()
    above = tops(grid, originals, MARGIN + TILES * SIDE + GAP)
    assert len(above) == 1  # they share them
    for path in paths:
        _, reconstructions, samples = read_bands(path).values()
        left, right = tops(grid, reconstructions, MARGIN + TILES * SIDE + GAP), tops(grid, samples, MARGIN)
        assert len(left) == 1 and left == right and left > above
        above = left


def test_other_originals_are_drawn_again(tmp_path: Path) -> None:
    paths = [picture(tmp_path / str(seed), seed, originals) for seed, originals in ((1, 0), (2, 0), (3, 7))]
    grid = drawn([(path.parts[-3], path) for path in paths], tmp_path / "grid.png")
    for path in paths:
        assert len(tops(grid, read_bands(path)["originals"], MARGIN + TILES * SIDE + GAP)) == 1


def test_no_name_reaches_the_tiles(tmp_path: Path) -> None:
    path = picture(tmp_path, 1)
    names = ("short", "x" * 300, "W" * 34 + "\n" + "W" * 80, "two words " * 20, "\n<script>|é\n\n", "")
    grids = [drawn([(name, path)], tmp_path / "grid.png") for name in names]
    for grid in grids:
        assert (grid[:, -START - GAP : -START] == 255).all()
        assert len(tops(grid, read_bands(path)["samples"], MARGIN)) == 1
    assert max(grid.shape[1] for grid in grids) < START + 500
    assert (grids[0][-SIDE - MARGIN - BELOW :, :-START] < 128).any()  # dark ink on white


def test_a_long_label_does_not_run_into_the_next(tmp_path: Path) -> None:
    """The row grows: nothing of the next row moves relative to its own tiles."""
    path, other = picture(tmp_path / "1", 1), picture(tmp_path / "2", 2)
    short, long = (drawn([(name, path), ("end", other)], tmp_path / "g.png") for name in ("a", "W" * 34 * 6))
    assert len(long) - len(short) == 6 * LINE - SIDE
    width = short.shape[1] - START
    np.testing.assert_array_equal(long[-SIDE - MARGIN :, :width], short[-SIDE - MARGIN :, :width])


def test_large_tiles_are_averaged_down(tmp_path: Path) -> None:
    grid = drawn([("large", picture(tmp_path, 1, size=256))], tmp_path / "grid.png")
    assert grid.shape[0] < 4 * SIDE and START < grid.shape[1] < START + 200


def test_a_label_says_name_score_state_and_parameters(tmp_path: Path) -> None:
    make_run(tmp_path / "a" / "good", "complete", 0.6)
    make_run(tmp_path / "flat", "collapsed", 0.25, alpha=0.0)
    make_run(tmp_path / "young", "running", objective="soft")
    labels = {run.name: run_label(run) for run in read_runs(tmp_path)}
    assert labels["a/good"] == "a/good\nvalidation 0.600, test 0.540 ± 0.020\nalpha 0.25, beta 20, m 20"
    assert labels["flat"] == "flat\nvalidation 0.250, collapsed\nalpha 0, beta 20"
    assert labels["young"].splitlines()[1] == "step 20 of 20, running"


def test_a_run_that_cannot_be_read_has_a_label(tmp_path: Path) -> None:
    run = Run(name="bad", folder=tmp_path, state=RunState.UNREADABLE, reason="no params.toml")
    assert run_label(run).splitlines() == ["bad", "no params.toml, unreadable"]
