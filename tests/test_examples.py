"""The examples run as their docstrings say."""

import re
import runpy
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import nbformat
import pytest
from helpers import ROOT, script
from nbclient import NotebookClient
from PIL import Image
from studies import read_scores

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.slow
def test_an_example_trains_scores_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = str(ROOT / "examples" / "train_and_score.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script, "--out", str(tmp_path), "--steps", "10"])
    runpy.run_path(script, run_name="__main__")
    assert "score 0." in capsys.readouterr().out
    with Image.open(tmp_path / "samples.png") as samples:
        assert samples.size == (512, 512)
    for name in ("report.html", "summary.csv", "comparison.png", "run/scores.json", "run/curves.png"):
        assert (tmp_path / name).is_file()


@pytest.mark.slow
def test_an_example_logs_the_trials_of_a_study_to_mlflow(tmp_path: Path) -> None:
    words = ["--out", str(tmp_path / "logged"), "--trials", "2", "--steps", "200"]
    done = script(str(ROOT / "examples" / "log_elsewhere.py"), *words)
    assert done.returncode == 0, done.stderr
    query = "select name, value from runs join latest_metrics using (run_uuid) where key = 'score'"
    with closing(sqlite3.connect(tmp_path / "logged" / "mlflow.db")) as database:
        scores = dict(database.execute(query))
    for name, score in scores.items():
        assert score == read_scores(tmp_path / "logged" / "study" / name)["score"]
    assert scores.keys() == {"trial-000", "trial-001"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cell, with fewer steps."""
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # committed as they are before a run
    (tmp_path / "predictions").symlink_to(ROOT / "predictions")
    (tmp_path / "examples").mkdir()
    for cell in notebook.cells:
        cell.source = re.sub(r"(TRIALS, STEPS, WARMUP =) .*", r"\1 2, 80, 40", cell.source)
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path / "examples")}}).execute()
    assert [output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in str(output)]
