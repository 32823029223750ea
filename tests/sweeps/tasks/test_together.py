"""Trials that two processes train together."""

import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch._dynamo  # noqa: F401  which Adam imports: here once, not in every process
from forks import ended, forked
from helpers import tiny_config, tiny_flags
from studies import study_config
from waiting import wait_until
from worker_processes import is_alive, is_amid

from introvae.runs.folder import load_checkpoint, read_metrics
from sweeps.run import run_study
from sweeps.tasks.fence import Fence
from sweeps.tasks.together import main

LENGTH = {"steps": 40, "warmup_steps": 20, "checkpoint_every": 10}


@pytest.mark.slow
def test_two_processes_train_the_run_that_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to rounding, since they add gradients in another order. Beside them stand folders of the packages' names."""
    monkeypatch.chdir(tmp_path)
    for name in ("sweeps", "analysis", "introvae"):
        Path(name).mkdir()
        Path(name, "__init__.py").write_text("raise SystemExit('not ours')")
    studies = {
        processes: run_study(
            study_config(tmp_path / str(processes), LENGTH, trials=1, workers=1, processes_per_trial=processes)
        )
        for processes in (1, 2)
    }
    run = Path("orl-faces-16px", "trial-000")
    machine = tomllib.loads((tmp_path / "2" / run / "params.toml").read_text())["machine"]
    assert machine["processes"] == 2
    one, two = (read_metrics(tmp_path / str(processes) / run) for processes in studies)
    assert [row["step"] for row in one] == [row["step"] for row in two]
    for name in ("loss_encoder", "loss_decoder", "kl_real"):
        assert [row[name] for row in two] == pytest.approx([row[name] for row in one], rel=1e-3)
    trials = [study.trials[0] for study in studies.values()]
    assert trials[1].intermediate_values == pytest.approx(trials[0].intermediate_values, abs=0.01)


@pytest.mark.slow
def test_a_run_that_diverges_among_two_processes_says_so(tmp_path: Path) -> None:
    config = study_config(
        tmp_path, {**LENGTH, "warmup_steps": 0, "lr": 1e30}, trials=1, workers=1, processes_per_trial=2
    )
    (trial,) = run_study(config).trials
    assert "diverged: step " in trial.user_attrs["outcome"] and trial.constraints == {"failed": 1.0}


@pytest.mark.slow
def test_ctrl_c_reaches_the_processes_as_a_request_to_stop(tmp_path: Path) -> None:
    """A terminal sends the signal to all of its processes."""
    flags = [*tiny_flags("beta", "m", "steps"), "--steps=100000", "--lr=3e-3", "--device=cpu", f"--out={tmp_path}"]
    words = ["--trials=1", "--workers=1", "--processes-per-trial=2", "--pruner=none"]
    run = tmp_path / "orl-faces-16px" / "trial-000"
    process = subprocess.Popen([sys.executable, "-m", "sweeps.cli", *words, *flags], start_new_session=True)
    wait_until(lambda: is_amid(run, 20), 120)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait() == 128 + signal.SIGINT
    checkpoint = load_checkpoint(run)
    assert checkpoint and checkpoint["step"] == read_metrics(run)[-1]["step"] and is_amid(run, 20)


def begin(run: Path, attempt: str) -> tuple[int, int]:
    """Start a process that trains a long run by itself, with no checkpoint of its own accord.

    Returns:
        The id of the process, and the file descriptor that it has for its parent: open while the parent is there.
    """
    config = tiny_config(steps=10**6, warmup_steps=0, checkpoint_every=10**6, picture_every=10**6)
    reader, writer = os.pipe()

    def train() -> None:
        os.close(writer)
        sys.stdin = os.fdopen(reader)
        os.environ.update(RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="0")
        main(json.dumps(config.to_dict()), str(run), "", str(config.steps), attempt, "cpu")

    child = forked(train)
    os.close(reader)
    wait_until(lambda: is_amid(run, 4))
    return child, writer


def test_processes_of_a_superseded_attempt_leave_without_a_checkpoint(tmp_path: Path) -> None:
    child, parent = begin(tmp_path, Fence.claim(tmp_path).attempt)
    Fence.claim(tmp_path)
    assert ended(child) == 0 and load_checkpoint(tmp_path) is None
    os.close(parent)


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    child, parent = begin(tmp_path, Fence.claim(tmp_path).attempt)
    os.close(parent)
    try:
        wait_until(lambda: not is_alive(child))
    finally:
        os.kill(child, signal.SIGKILL)
    assert ended(child) == 1
