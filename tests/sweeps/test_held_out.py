"""Nothing that a study does hangs on the test images: they are for the figures to quote."""

from pathlib import Path
from typing import Any

import pytest
import torch
from studies import make_run, read_scores, study_config, write_scores

from analysis.report.runs import read_runs
from analysis.report.table import ranked
from introvae.data import image_set
from introvae.data.datasets import Split, orl_faces
from introvae.runs.record import best_run
from sweeps.run import run_study


def study_of(out: Path) -> tuple[list[Any], list[dict[str, Any]], list[Any]]:
    """Train a study; return its trials, the scores of its runs but for the test, and those of the test."""
    study = run_study(study_config(out, trials=2, workers=1, study="faces", optimize="sharpness=1,diversity=2"))
    trials = [(t.state, t.value, t.params, t.intermediate_values, t.constraints) for t in study.get_trials()]
    scores = [read_scores(out / "faces" / f"trial-00{number}") for number in range(2)]
    return trials, scores, [record.pop("test", None) for record in scores]


@pytest.mark.slow
def test_a_study_is_the_same_whatever_its_test_images_are(
    tmp_path: Path, forgiving: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.run.summarize", lambda *_: None)
    trials, scores, tests = study_of(tmp_path / "one")

    def spoilt(image_size: int, channels: int) -> Split:
        train, validation, test = orl_faces(image_size, channels)
        noise = torch.randint(256, tuple(test.shape), generator=torch.Generator().manual_seed(0)).byte()
        return train, validation, noise

    monkeypatch.setitem(image_set.SHIPPED, "orl-faces", spoilt)
    again, same_scores, other_tests = study_of(tmp_path / "other")
    assert again == trials and same_scores == scores
    assert any(tests) and [test is None for test in tests] == [test is None for test in other_tests]
    assert all(test != other for test, other in zip(tests, other_tests, strict=True) if test)


def test_runs_are_ranked_and_chosen_by_validation(tmp_path: Path) -> None:
    for name in "abc":
        make_run(tmp_path / name)
    for tests in ((0.9, 0.1, 0.8), (0.2, 0.3, 0.4)):
        for name, score, test in zip("abc", (0.5, 0.7, 0.6), tests, strict=True):
            write_scores(tmp_path / name, read_scores(tmp_path / name) | {"score": score, "test": {"score": test}})
        assert best_run(tmp_path) == tmp_path / "b"
        assert [run.name for run in ranked(read_runs(tmp_path))] == ["b", "c", "a"]
