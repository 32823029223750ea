"""Studies whose processes are killed, on each engine: exactly N trials, none twice, none lost, each as if undisturbed.

Draws depend on no score and nothing is pruned, so that the whole study does not hang on the order in which trials end.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import optuna
import pytest
from cluster import two_nodes
from helpers import tiny_flags
from optuna.trial import TrialState
from PIL import Image
from waiting import wait_until
from worker_processes import is_amid, processes, worker_pids

from introvae.data.image_set import ImageSet
from introvae.runs.folder import read_metrics
from sweeps.cli import main

FLAGS = [
    *tiny_flags("steps", "warmup_steps", "beta", "m", "checkpoint_every", "log_every", "picture_every"),
    *("--steps=60", "--warmup-steps=20", "--log-every=5", "--checkpoint-every=5", "--picture-every=60"),
    *("--lr=3e-3", "--sampler=sobol", "--pruner=none", "--keep=all", "--device=cpu"),
]  # fmt: skip
TRIALS, FEW = 40, 6
STUDY = "faces-16px"

pytestmark = pytest.mark.slow


def results(out: Path, trials: int) -> list[Any]:
    """Return how each trial of a study ended, and its log but for speed."""
    storage = f"sqlite:///{out / STUDY / 'study.db'}"
    study = optuna.load_study(study_name=STUDY, storage=storage)
    assert [trial.number for trial in study.trials] == list(range(trials))
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in study.trials)
    rows = [read_metrics(out / STUDY / f"trial-{number:03d}") for number in range(trials)]
    logs = [[str(dict(row, images_per_second=0)) for row in log] for log in rows]
    ended = [(t.params, t.value, t.state, t.intermediate_values, t.user_attrs["outcome"]) for t in study.trials]
    return list(zip(ended, logs, strict=True))


@pytest.fixture(scope="module")
def faces(small_faces: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 80 images, of which scoring the few that are held out takes little of a trial's time."""
    folder = tmp_path_factory.mktemp("data") / "faces"
    folder.mkdir()
    for index, face in enumerate(small_faces.train[::3]):
        Image.fromarray(face[0].numpy()).save(folder / f"{index:02d}.png")
    return folder


@pytest.fixture(scope="module")
def whole(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The study, trained in one process that nobody disturbs."""
    out = tmp_path_factory.mktemp("whole")
    words = ["--workers=1", "--quiet", f"--trials={TRIALS}", f"--data={faces}", f"--out={out}"]
    assert main([*FLAGS, *words]) == 0
    return results(out, TRIALS)


@pytest.fixture
def sweep(faces: Path, tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Function that starts the command, which is killed if the test fails."""
    with ExitStack() as stack:

        def sweep(*words: str) -> "subprocess.Popen[bytes]":
            given = ["--quiet", f"--data={faces}", f"--out={tmp_path}", *words]
            command = [sys.executable, "-m", "sweeps.cli", *FLAGS, *given]
            process = stack.enter_context(subprocess.Popen(command, start_new_session=True))
            stack.callback(process.kill)
            return process

        yield sweep


def wait_for(out: Path, ended: int) -> None:
    """Wait until some trials have ended, and another is amid its steps."""
    wait_until(lambda: len(list(out.glob(f"{STUDY}/trial-*/scores.json"))) >= ended, 600)
    wait_until(lambda: any(is_amid(run, 30) for run in out.glob(f"{STUDY}/trial-*")), 300)


def begun(out: Path) -> dict[Path, str]:
    """Return the rows, speeds and all, that trials amid their steps do not lose when they are killed."""
    logs = {log: log.read_text() for log in out.glob(f"{STUDY}/trial-*/metrics.csv")}
    kept = {log: "".join(text.splitlines(keepends=True)[:-2]) for log, text in logs.items()}  # the last may be cut off,
    return {log: rows for log, rows in kept.items() if not log.with_name("scores.json").exists()}  # one unsaved


def assert_continued(kept: list[dict[Path, str]]) -> None:
    """Assert that no row that was logged before is logged again: its speed would be another."""
    for rows in kept:
        assert any(text.count("\n") > 3 for text in rows.values())
        assert all(log.read_text().startswith(text) for log, text in rows.items())


def test_on_this_machine_two_workers_and_the_driver_are_killed(tmp_path: Path, whole: list[Any], sweep: Any) -> None:
    words = ["--engine=local", "--workers=4", f"--trials={TRIALS}"]
    process = sweep(*words)
    kept = []
    for ended in (2, 10):
        wait_for(tmp_path, ended)
        kept.append(begun(tmp_path))
        os.kill(worker_pids(process.pid)[0], signal.SIGKILL)
    wait_for(tmp_path, 20)
    kept.append(begun(tmp_path))
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert sweep(*words).wait() == 0
    assert results(tmp_path, TRIALS) == whole
    assert_continued(kept)


def test_on_ray_a_node_is_killed(tmp_path: Path, whole: list[Any], sweep: Any) -> None:
    with two_nodes() as (address, second):
        process = sweep("--engine=ray", f"--address={address}", f"--trials={TRIALS}")
        wait_for(tmp_path, 5)
        kept = begun(tmp_path)
        second.kill()
        assert process.wait() == 0
    assert results(tmp_path, TRIALS) == whole
    assert_continued([kept])


def test_ray_runs_many_tasks_in_one_process_though_each_has_a_share_of_a_gpu(tmp_path: Path, sweep: Any) -> None:
    """Two trials share the only GPU that the cluster says it has."""
    with two_nodes(gpus=1) as (address, _):
        words = ["--engine=ray", f"--address={address}", "--gpus-per-trial=0.5", f"--trials={FEW}"]
        process = sweep(*words)
        seen: set[int] = set()

        def is_done() -> bool:
            seen.update(processes("ray::_run_in"))
            return process.poll() is not None

        wait_until(is_done, 600)
        assert process.wait() == 0
    results(tmp_path, FEW)
    assert 0 < len(seen) <= 3  # of 3 tasks for each trial; one process more may have been started in advance


def test_on_ray_a_process_whose_task_fails_gets_no_other(tmp_path: Path, sweep: Any) -> None:
    """The task fails as processes that it has started are killed."""
    run = tmp_path / STUDY / "trial-000"
    with two_nodes() as (address, _):
        words = ["--workers=1", "--processes-per-trial=2", "--warmup-steps=0", "--trials=2"]
        process = sweep("--engine=ray", f"--address={address}", *words)
        wait_until(lambda: processes(str(run)), 120)
        (worker,) = processes("ray::_run_in")
        for pid in processes(str(run)):
            with suppress(ProcessLookupError):  # as the first to die takes others along
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{worker}").exists(), 120)
        assert process.wait() == 0
    failed, whole = (ended[-1] for ended, _ in results(tmp_path, 2))
    assert failed.startswith("failed: its process died (RuntimeError: 2 processes that train together failed")
    assert not whole.startswith("failed")


def test_on_ray_the_driver_is_interrupted_and_killed(tmp_path: Path, whole: list[Any], sweep: Any) -> None:
    with two_nodes() as (address, _):
        words = ["--engine=ray", f"--address={address}", f"--trials={FEW}"]
        process = sweep(*words)
        wait_for(tmp_path, 1)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 128 + signal.SIGINT
        interrupted = begun(tmp_path)
        process = sweep(*words)
        wait_for(tmp_path, 3)
        killed = begun(tmp_path)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert sweep(*words).wait() == 0
    assert results(tmp_path, FEW) == whole[:FEW]
    assert_continued([interrupted, killed])


def test_on_slurm_two_jobs_and_the_driver_are_killed(tmp_path: Path, whole: list[Any], sweep: Any) -> None:
    """Jobs of submitit's own cluster on this machine; few, as each imports PyTorch: 40 trials are 200 jobs."""
    words = ["--engine=slurm", "--slurm=cluster=local,timeout_min=10", "--workers=2", f"--trials={FEW}"]
    process = sweep(*words)
    kept = []
    for ended in (0, 1):
        wait_for(tmp_path, ended)
        kept.append(begun(tmp_path))
        os.kill(processes("submitit.core._submit")[-1], signal.SIGKILL)
    wait_for(tmp_path, 2)
    kept.append(begun(tmp_path))
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert sweep(*words).wait() == 0
    assert results(tmp_path, FEW) == whole[:FEW]
    assert_continued(kept)
