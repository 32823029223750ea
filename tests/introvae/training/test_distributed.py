"""Two processes on one global batch against one process with the whole of it."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.run
from forks import Command
from helpers import CPU, ROOT, script, tiny_config, tiny_flags
from processes import CASES, PROCESSES, first_gradients, train
from steps import INTROVAE
from torch import Tensor

from introvae.data.image_set import ImageSet
from introvae.errors import UserError
from introvae.runs.folder import load_checkpoint, read_metrics
from introvae.training.distributed import share
from introvae.training.trainer import Trainer


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the processes' results and the names of the threads that they ended with."""
    folder = tmp_path_factory.mktemp("gloo")
    done = script(str(ROOT / "tests/support/processes.py"), str(folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def in_parallel(worked: Path) -> list[list[dict[str, Tensor]]]:
    """For each process: the end states of CASES, then the first gradients with norm group and none."""
    return [torch.load(worked / f"{rank}.pt", weights_only=True) for rank in range(PROCESSES)]


@pytest.mark.slow
def test_no_thread_of_a_group_outlives_it(worked: Path) -> None:
    for rank in range(PROCESSES):
        names = (worked / f"{rank}.threads").read_text().split()
        assert names and not [name for name in names if "gloo" in name]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_equal_one_after_20_steps(case: str, in_parallel: list[list[dict[str, Tensor]]]) -> None:
    norm, weights = CASES[case]
    whole = train(norm, weights, 20, torch.float64)
    for rank in range(PROCESSES):
        found = in_parallel[rank][list(CASES).index(case)]
        for name, value in whole.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=1e-10, msg=f"{name} of process {rank}")


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["group", "none"])
def test_first_gradients_of_two_processes_equal_those_of_one(
    norm: str, in_parallel: list[list[dict[str, Tensor]]]
) -> None:
    whole = first_gradients(norm, INTROVAE)
    assert max(value.abs().max() for value in whole.values()) > 0.1
    for rank in range(PROCESSES):
        found = in_parallel[rank][len(CASES) + ["group", "none"].index(norm)]
        for name, value in whole.items():
            torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-5, msg=name)


def test_without_torchrun_a_batch_is_whole() -> None:
    batch = torch.arange(6.0)
    assert torch.equal(share(batch), batch)


COMMAND = str(Path(sys.executable).with_name("introvae-train"))


def torchrun(folder: Path, *flags: str) -> list[str]:
    """Train on batches of 8, so 4 images a process; without the -- torchrun takes --m for one of its own flags."""
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(PROCESSES)]
    return [*run, "--no-python", COMMAND, "--", *tiny_flags("steps"), "--out", str(folder), *flags]


def finish(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_torchrun_trains_one_model_and_only_the_first_process_writes(
    trained_once: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder where others of the packages' names stand."""
    monkeypatch.chdir(tmp_path)
    for name in ("analysis", "introvae"):
        Path(name).mkdir()
        Path(name, "__init__.py").write_text("raise SystemExit('not ours')")
    _, _, _, *words = torchrun(tmp_path / "run", "--steps", "20")
    done = Command(torch.distributed.run.main, words).wait()  # without importing PyTorch once more
    assert done.code == 0, done.stderr
    assert done.stdout.count(", score ") == 1 and "Warning" not in done.stderr
    state = load_checkpoint(tmp_path / "run")
    assert state is not None
    for name, value in trained_once.model.state_dict().items():
        torch.testing.assert_close(state["model"][name], value, rtol=0, atol=2e-3, msg=name)  # float32, Adam at 1e-3
    rows, expected = read_metrics(tmp_path / "run"), read_metrics(trained_once.folder)
    assert [row["step"] for row in rows] == [row["step"] for row in expected]
    for name in ("kl_real", "kl_real_p95", "mu_lowest", "sigma_highest", "loss_encoder"):  # over the global batch
        assert rows[0][name] == pytest.approx(expected[0][name], rel=1e-3)


@pytest.mark.slow
def test_a_killed_process_ends_the_run_and_the_same_command_continues_it(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert finish(torchrun(whole, "--steps", "120")).returncode == 0
    with subprocess.Popen(torchrun(cut, "--steps", "120"), stderr=subprocess.PIPE, text=True) as running:
        while not (cut / "checkpoint.pt").exists():
            assert running.poll() is None
            time.sleep(0.01)
        workers = subprocess.run(
            ["pgrep", "-f", f"introvae-train.*{cut}"], capture_output=True, text=True
        ).stdout.split()
        victim = next(int(pid) for pid in reversed(workers) if int(pid) != running.pid)
        subprocess.run(["kill", f"-{signal.SIGKILL.value}", str(victim)], check=True)
        assert running.wait(60) != 0
    state = load_checkpoint(cut)
    assert state is not None and state["step"] < 120
    assert finish(torchrun(cut, "--steps", "120")).returncode == 0
    ends = [load_checkpoint(folder) for folder in (whole, cut)]
    assert ends[0] and ends[1] and ends[0]["step"] == ends[1]["step"] == 120
    assert all(torch.equal(value, ends[1]["model"][name]) for name, value in ends[0]["model"].items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"batch_size": 9}, "batch_size is 9; allowed with 2"), ({"norm": "batch"}, "norm is 'batch'; allowed with 2")],
)
def test_what_two_processes_cannot_do_is_refused(
    settings: dict[str, Any], message: str, small_faces: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("introvae.training.trainer.world_size", lambda: PROCESSES)
    with pytest.raises(UserError, match=message):
        Trainer(tiny_config(**settings), small_faces, tmp_path, CPU)
