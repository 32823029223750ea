"""The runs that come with the repository are reported, can be measured again, and are not written over."""

import json
import shutil
from pathlib import Path

import pytest
from helpers import tiny_flags
from studies import read_scores

import introvae
from analysis.cli import main
from sweeps.cli import main as sweep

COMMITTED = Path(__file__).parents[1] / "predictions"
STUDIES = ("beta-comparison", "gallery")


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    for name in STUDIES:
        shutil.copytree(COMMITTED / name, tmp_path / name)
    return tmp_path


def test_they_are_small() -> None:
    files = [path for name in STUDIES for path in (COMMITTED / name).rglob("*") if path.is_file()]
    assert 0 < sum(path.stat().st_size for path in files) < 15 * 2**20


@pytest.mark.slow
def test_their_scores_are_measured_again(predictions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.parent: read_scores(path.parent) for path in predictions.glob("*/*/scores.json")}
    assert main([str(predictions), "--rescore", "--format", "json"]) == 0
    runs = json.loads(capsys.readouterr().out)
    assert len(runs) == len(before) >= 3 and (predictions / "report.html").stat().st_size > 1e6
    for run, old in before.items():
        new = read_scores(run)
        assert old and new and new["score"] == pytest.approx(old["score"], abs=1e-3), run
        assert new["measures"]["mse"] == pytest.approx(old["measures"]["mse"], rel=1e-3)
        assert introvae.load_run(run).sample(2, seed=0).shape == (2, 1, 32, 32)


def test_the_comparison_is_what_the_page_found(predictions: Path) -> None:
    """Low beta with a large margin ignores the input and draws one image again and again; the other does neither."""
    low, high = (read_scores(predictions / "beta-comparison" / f"trial-00{index}") for index in (0, 1))
    assert low and high and low["score"] < 0.3 * high["score"]
    assert low["measures"]["retrieval"] < 0.2 and high["measures"]["retrieval"] > 0.9
    assert low["measures"]["predicted_kl"] < 20 and high["measures"]["predicted_kl"] > 80


def test_the_command_that_made_them_asks_for_another_name(
    predictions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--points", "beta-comparison", "--out", str(predictions), *tiny_flags("beta", "m")]
    assert sweep(flags) == 2
    assert "--study NEW" in capsys.readouterr().err
