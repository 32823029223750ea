"""The examples run as their docstrings say."""

import runpy
import sys
from pathlib import Path

import pytest
from helpers import ROOT
from PIL import Image

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


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


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60
