import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from analysis.cli import main
from analysis.grids import comparison_grid
from analysis.measures import measure_run
from analysis.report import collect, text_table, write_report
from analysis.spectrum import eigenvalues
from introvae.data import ImageSet
from introvae.errors import UserError
from introvae.pictures import write_picture
from introvae.run import read_scores, write_scores
from introvae.trainer import Trainer


def height(path: Path) -> int:
    with Image.open(path) as image:
        return image.height


@pytest.fixture
def predictions(trained: Trainer, small_faces: ImageSet, tmp_path: Path) -> Path:
    """A study of three trials, one alone, and folders that are no runs or broken ones."""
    warm = [{"step": 8.0, "beta": 20.0, "kl_real": 10.0}]
    measured = measure_run(trained.model, small_faces, trained.config, eigenvalues(small_faces.train), warm)
    write_scores(trained.folder, {"state": "complete"} | measured)
    root = tmp_path / "predictions"
    changes: dict[str, dict[str, Any]] = {
        "study/trial-000": {"score": 0.5}, "study/trial-001": {"score": 0.75},
        "study/trial-002": {"score": 0.25, "state": "collapsed", "reason": "all | alike"}, "alone": {"score": 0.6},
    }  # fmt: skip
    for name, change in changes.items():
        shutil.copytree(trained.folder, root / name)
        scores = read_scores(root / name)
        assert scores
        write_scores(root / name, scores | change)
    shutil.copytree(trained.folder, root / "study" / ".warmup")
    shutil.copytree(trained.folder, root / "running")
    (root / "running" / "scores.json").unlink()
    shutil.copytree(trained.folder, root / "torn")
    (root / "torn" / "scores.json").write_text("{")
    (root / "no-run").mkdir()
    (root / "bad").mkdir()
    (root / "bad" / "params.toml").write_text("[config]\nbetta = 1")
    return root


def test_all_runs_stand_in_one_table_best_first(predictions: Path) -> None:
    table = collect(predictions)
    order = ["study/trial-001", "alone", "study/trial-000", "study/trial-002"]
    assert table["run"].tolist()[:4] == order
    assert sorted(table["run"].tolist()[4:]) == ["bad", "running", "torn"]
    states = table.set_index("run")["state"]
    assert states["alone"] == "complete" and states["running"] == "not ended"
    assert states["study/trial-002"] == "collapsed: all | alike"
    assert "did you mean 'beta'" in states["bad"] and "scores.json" in states["torn"]
    first = table.iloc[0]
    assert (first["alpha"], first["beta"], first["m"], first["steps"], first["m/KL"]) == (0.25, 20, 20, 20, 2.0)


def test_summaries_hold_what_the_table_shows(predictions: Path) -> None:
    table, grid = write_report(predictions)
    written = pd.read_csv(predictions / "summary.csv")
    assert written["run"].tolist() == table["run"].tolist()
    np.testing.assert_allclose(written["score"].head(4), [0.75, 0.6, 0.5, 0.25])
    lines = (predictions / "summary.md").read_text().splitlines()
    assert len(lines) == 2 + len(table) and lines[2].startswith("| study/trial-001 | 0.75 |")
    assert {line.replace("\\|", "").count("|") for line in lines} == {len(lines[1].split("|")) - 1}
    assert grid == predictions / "comparison.png"


def test_the_table_fits_a_terminal(predictions: Path) -> None:
    lines = text_table(collect(predictions).head(4)).splitlines()
    assert len(lines) == 5 and max(map(len, lines)) <= 130
    assert lines[0].split()[:3] == ["run", "score", "recon"]


def test_the_grid_shows_originals_once_and_two_rows_a_run(predictions: Path, tmp_path: Path) -> None:
    picture = predictions / "alone" / "images" / "step-000020.png"
    heights = []
    for count in (1, 3):
        comparison_grid([("a", picture)] * count, tmp_path / "grid.png")
        heights.append(height(tmp_path / "grid.png"))
    assert heights[1] * 3 == heights[0] * 7


def test_other_originals_are_drawn_again(trained: Trainer, tmp_path: Path) -> None:
    picture = next((trained.folder / "images").iterdir())
    white = torch.ones(12, 1, 16, 16)
    write_picture(tmp_path, 5, (white, white, white))
    comparison_grid([("a", picture), ("b", tmp_path / "images" / "step-000005.png")], tmp_path / "grid.png")
    comparison_grid([("a", picture), ("b", picture)], tmp_path / "same.png")
    assert height(tmp_path / "grid.png") * 5 == height(tmp_path / "same.png") * 6


def test_chosen_runs_are_drawn(predictions: Path) -> None:
    with pytest.raises(UserError, match="there is no run 'nothing'"):
        write_report(predictions, ["nothing"])
    _, grid = write_report(predictions, ["study/trial-002", "alone"])
    assert grid and height(grid) == 5 * 0.8 * 150


def test_the_command_prints_the_table_and_where_things_are(
    predictions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(predictions)]) == 0
    printed = capsys.readouterr().out
    assert printed.index("study/trial-001") < printed.index("alone") < printed.index("study/trial-002")
    for name in ("summary.csv", "summary.md", "comparison.png"):
        assert str(predictions / name) in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "there is no folder"),
        (["empty"], "there is no run below .*introvae-sweep"),
        (["empty", "--top=-1"], "--top is -1; allowed: 0 or more"),
    ],
)
def test_nothing_to_report_is_said_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / arguments[0]), *arguments[1:]]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and error.count("\n") == 1
