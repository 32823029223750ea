"""introvae-export: what is given away is whole, small, and can be used for everything but going on."""

import shutil
from pathlib import Path

import pytest
import torch
from helpers import exit_code, forgive, tiny_flags
from studies import read_scores

import introvae
from analysis.cli import main as report
from analysis.train import main as train
from introvae.commands.export import main
from introvae.runs.folder import load_checkpoint, read_config, read_metrics

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "trial-000"
    with pytest.MonkeyPatch.context() as patch:
        forgive(patch)
        assert exit_code(train, [*tiny_flags("ema_decay"), "--ema-decay", "0.5", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def run(run_once: Path, tmp_path: Path, forgiving: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a run that has ended, in the working folder."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(run_once, Path("study/trial-000"))


def test_a_copy_holds_the_weights_that_are_evaluated_and_all_small_files(run: Path, capsys: Captured) -> None:
    assert main(["study", "--best", "--out", "given"]) == 0
    copy = Path("given/trial-000")
    assert f"{copy}: " in capsys.readouterr().out
    state = load_checkpoint(copy)
    assert state and state.keys() == {"step", "model"} and state["step"] == 20
    assert (copy / "checkpoint.pt").stat().st_size < 0.4 * (run / "checkpoint.pt").stat().st_size
    samples = [introvae.load_run(folder, "cpu").sample(3, 0) for folder in (run, copy)]
    assert torch.equal(*samples)
    left_out = {"checkpoint.pt", "checkpoint.previous.pt", ".lock"}
    files = {path.relative_to(run) for path in run.rglob("*") if path.name not in left_out}
    assert files == {path.relative_to(copy) for path in copy.rglob("*") if path.name not in left_out}
    assert str(read_metrics(copy)) == str(read_metrics(run))  # NaN and all


def test_a_copy_is_reported_and_scored_again(run: Path, capsys: Captured) -> None:
    assert main([str(run), "--out", "given"]) == 0
    before = read_scores(Path("given/trial-000"))
    assert before and exit_code(report, ["given", "--rescore"]) == 0
    after = read_scores(Path("given/trial-000"))
    assert after and after["score"] == pytest.approx(before["score"], rel=1e-9)
    assert "trial-000" in capsys.readouterr().out


@pytest.mark.slow
def test_training_starts_over_from_a_copy_s_weights(run: Path, capsys: Captured) -> None:
    assert main([str(run), "--out", "given"]) == 0
    assert exit_code(train, ["--from", "given/trial-000", "--steps", "4", "--out", "new"]) == 0
    assert "given/trial-000 holds weights alone; this is a new run from them" in capsys.readouterr().err
    config = read_config(Path("new"))
    assert (config.start_weights, config.steps, config.warmup_steps) == ("given/trial-000", 4, 0)
    assert exit_code(train, ["--config", "given/trial-000/params.toml", "--out", "given/trial-000"]) == 2
    assert "it holds weights alone, from which no training can continue" in capsys.readouterr().err


def test_a_run_without_a_checkpoint_is_copied_without_weights(run: Path) -> None:
    (run / "checkpoint.pt").unlink()
    (run / "checkpoint.previous.pt").unlink(missing_ok=True)
    assert main([str(run), "--out", "given"]) == 0
    assert sorted(path.name for path in Path("given").iterdir()) == ["trial-000"]
    assert not (Path("given/trial-000") / "checkpoint.pt").exists()


def test_what_cannot_be_copied_is_refused_before_anything_is_written(run: Path, capsys: Captured) -> None:
    shutil.copytree(run, "other/trial-000")
    shutil.copytree(run, "linked/trial-000")
    Path("secret").write_text("of somebody")
    Path("linked/trial-000/images/step-000099.png").symlink_to(Path("secret").resolve())
    for flags, message in (
        ([str(run), "study", "--out", "given"], "cannot read study/params.toml"),
        (["nowhere", "--best", "--out", "given"], "nowhere holds no complete run"),
        ([str(run), "--out", "other"], "other/trial-000 exists; remove it or choose another --out"),
        ([str(run), "other/trial-000", "--out", "given"], "given/trial-000 would be written twice"),
        ([str(run), "--out", f"{run}/images"], f"{run}/images lies in the run {run}; choose another --out"),
        (["linked/trial-000", "--out", "given"], "step-000099.png is a link, and only files are copied"),
    ):
        capsys.readouterr()
        assert exit_code(main, flags) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert not Path("given").exists()
