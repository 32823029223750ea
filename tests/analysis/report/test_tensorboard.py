"""Runs in TensorBoard's event files: columns, pictures, settings and scores."""

import sys
from pathlib import Path

import pytest
from helpers import exit_code
from studies import make_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from analysis.cli import main
from introvae.runs.folder import read_metrics


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def test_a_report_for_tensorboard(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs" / "study" / "trial-000", score=0.5, alpha=0.25)
    make_run(tmp_path / "runs" / "study" / "trial-001", "diverged", 0.0)
    for _ in range(2):  # the second time in place of the first
        assert exit_code(main, [str(tmp_path / "runs"), "--tensorboard", str(tmp_path / "logs")]) == 0
    found = events(tmp_path / "logs" / "study" / "trial-000")
    rows = read_metrics(run)
    losses = [(event.step, event.value) for event in found.Scalars("loss_encoder")]
    assert losses == [(row["step"], row["loss_encoder"]) for row in rows]
    assert [event.value for event in found.Scalars("score/validation")] == [0.5]
    assert [event.step for event in found.Images("pictures")] == [20]
    assert "_hparams_/session_start_info" in found.PluginTagToContent("hparams")
    assert len(list((tmp_path / "logs" / "study" / "trial-000").iterdir())) == 1


def test_what_cannot_be_read_is_passed_over_and_nothing_of_others_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("bad", "good"):
        make_run(tmp_path / "runs" / name)
    (picture,) = (tmp_path / "runs" / "bad" / "images").glob("step-*.png")
    picture.write_bytes(picture.read_bytes()[:20])
    others = tmp_path / "logs" / "good" / "events.out.tfevents.1.host"
    others.parent.mkdir(parents=True)
    others.write_bytes(b"of another program")
    assert exit_code(main, [str(tmp_path / "runs"), "--tensorboard", str(tmp_path / "logs")]) == 0
    assert "skipped bad for TensorBoard: " in capsys.readouterr().err
    assert (tmp_path / "runs" / "report.html").exists() and others.read_bytes() == b"of another program"
    assert len(list(others.parent.iterdir())) == 2


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "runs" / "good")
    (tmp_path / "logs").write_text("no folder")
    assert exit_code(main, [str(tmp_path / "runs"), "--tensorboard", str(tmp_path / "logs")]) == 2
    assert "logs" in capsys.readouterr().err and (tmp_path / "runs" / "report.html").exists()


def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "run")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert exit_code(main, [str(tmp_path), "--tensorboard", "logs"]) == 2
    assert "pip install 'introvae[tensorboard]'" in capsys.readouterr().err
