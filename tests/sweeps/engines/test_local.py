"""Worker processes: replaced when they die, ended when they hang, stopped when asked."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import optuna
import pytest
from cluster import two_nodes
from helpers import tiny_flags
from optuna.trial import TrialState
from studies import read_scores, study_config
from waiting import wait_until
from worker_processes import beside, is_alive, is_amid, send_amid, worker_pids

from introvae.errors import StoppedError
from introvae.runs.folder import load_checkpoint, read_metrics
from sweeps.engines.local import LocalEngine
from sweeps.interrupt import Interrupt
from sweeps.plan import plan_trial
from sweeps.run import prepare, run_study
from sweeps.tasks.fence import Superseded
from sweeps.tasks.task import Task

LENGTH: dict[str, Any] = {"steps": 160, "warmup_steps": 40, "checkpoint_every": 20}
STUDY = "orl-faces-16px"


def sweep(
    out: Path,
    stop: Any = lambda: False,
    steps: int | None = None,
    checkpoint_every: int = LENGTH["checkpoint_every"],
    **values: Any,
) -> optuna.Study:
    """Run a study of two trials with one worker, in a process of its own, as it may have to be killed.

    Trials are of `LENGTH`, or else of so many steps without a warm-up.
    """
    given: dict[str, Any] = {"trials": 2, "workers": 1, "trial_timeout": 600, "pruner": "none", "quiet": True}
    length = (
        LENGTH
        | {"checkpoint_every": checkpoint_every, "picture_every": checkpoint_every}
        | ({"steps": steps, "warmup_steps": 0} if steps else {})
    )
    return run_study(study_config(out, length, **given | values), stop)


def results(study: optuna.Study) -> list[Any]:
    return [(trial.params, trial.value, trial.state, trial.intermediate_values) for trial in study.trials]


def outcomes(study: optuna.Study) -> list[str]:
    return [trial.user_attrs["outcome"].split(":")[-1].strip() for trial in study.trials]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Results of the study, trained in one process without any."""
    return results(sweep(tmp_path_factory.mktemp("whole"), trial_timeout=None))


@pytest.mark.slow
def test_a_worker_that_is_killed_or_hangs_is_replaced_and_its_trial_continued(tmp_path: Path, whole: list[Any]) -> None:
    run = tmp_path / STUDY / "trial-000"

    def disturb() -> None:
        send_amid(run, 62, signal.SIGKILL)
        send_amid(run, 110, signal.SIGSTOP)

    with beside(disturb):
        study = sweep(tmp_path, trials=1, silence=20)
    assert results(study) == whole[:1]
    assert len(read_metrics(run)) == len({row["step"] for row in read_metrics(run)})


@pytest.mark.slow
def test_a_trial_that_crashes_its_process_fails_and_the_study_goes_on(tmp_path: Path) -> None:
    with beside(lambda: send_amid(tmp_path / STUDY / "trial-000", 4, signal.SIGSEGV)):
        study = sweep(tmp_path, steps=40)
    assert outcomes(study)[0] == "its process died (SIGSEGV)" and max(study.trials[1].intermediate_values) == 40
    assert study.trials[0].state == TrialState.PRUNED and study.trials[0].constraints == {"failed": 1.0}
    scores = read_scores(tmp_path / STUDY / "trial-000")
    assert scores["state"] == "failed" and scores["optimized"] == scores["score"] == 0


@pytest.mark.slow
def test_a_trial_whose_processes_are_killed_again_and_again_fails(tmp_path: Path) -> None:
    def kill() -> None:
        for step in (122, 130, 140):  # past the last rung
            send_amid(tmp_path / STUDY / "trial-000", step, signal.SIGKILL)

    with beside(kill):
        study = sweep(tmp_path, trials=1, checkpoint_every=160)
    assert outcomes(study) == ["its process died (SIGKILL, out of memory?)"]


@pytest.mark.slow
def test_a_trial_that_hangs_for_too_long_fails(tmp_path: Path) -> None:
    with beside(lambda: send_amid(tmp_path / STUDY / "trial-000", 110, signal.SIGSTOP)):
        study = sweep(tmp_path, trial_timeout=40)
    assert outcomes(study)[0] == "not done after 40 s" and max(study.trials[1].intermediate_values) == LENGTH["steps"]


@pytest.mark.slow
def test_workers_that_cannot_begin_end_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.engines.local._leave_with_parent", os.abort)
    with pytest.raises(StoppedError, match=r"workers die before they have a task \(SIGABRT\)"):
        sweep(tmp_path)


@pytest.mark.slow
def test_a_worker_that_dies_between_two_tasks_is_replaced(tmp_path: Path) -> None:
    setup, _ = prepare(study_config(tmp_path, {"warmup_steps": 0}))
    task = Task(
        setup=setup, plan=plan_trial(setup, 0, {"alpha": 1, "beta": 1, "m": 1}), until=1, attempt="none", device=""
    )
    engine = LocalEngine(["cpu"], 1)
    environment = dict(os.environ)
    try:
        assert isinstance(engine.submit(0, task).result().error, Superseded)
        (pid,) = worker_pids()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: all(type(thread).__name__ != "_ExecutorManagerThread" for thread in threading.enumerate()))
        assert isinstance(engine.submit(0, task).result().error, Superseded)
        assert dict(os.environ) == environment
    finally:
        engine.close()


@pytest.mark.slow
def test_each_isolated_trial_has_a_process_of_its_own(tmp_path: Path) -> None:
    seen: set[int] = set()

    def is_done() -> bool:
        seen.update(worker_pids())
        return (tmp_path / STUDY / "trial-001" / "scores.json").exists()

    def watch() -> None:
        wait_until(is_done, 120)

    with beside(watch):
        sweep(tmp_path, isolate=True)
    assert len(seen) == 2
    assert not worker_pids()


@pytest.mark.slow
def test_a_second_signal_ends_them_now(tmp_path: Path) -> None:
    def interrupt() -> None:
        send_amid(tmp_path / STUDY / "trial-000", 4, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGINT)
        wait_until(lambda: stop.received)
        os.kill(os.getpid(), signal.SIGINT)

    with Interrupt() as stop, pytest.raises(KeyboardInterrupt), beside(interrupt):
        sweep(tmp_path, stop, steps=100_000)
    wait_until(lambda: not worker_pids())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_leave_with_a_driver_that_is_killed_and_with_checkpoints_if_it_gets_a_signal(
    number: signal.Signals, tmp_path: Path, whole: list[Any]
) -> None:
    """The same study then continues at once."""
    runs = [tmp_path / STUDY / f"trial-00{index}" for index in (0, 1)]
    words = [
        *tiny_flags(*LENGTH, "beta", "m"),
        *(f"--{name.replace('_', '-')}={value}" for name, value in LENGTH.items()),
    ]
    flags = ["--lr=3e-3", "--trials=2", "--workers=2", "--pruner=none", "--device=cpu", f"--out={tmp_path}"]
    driver = subprocess.Popen([sys.executable, "-m", "sweeps.cli", *words, *flags])
    wait_until(lambda: is_amid(runs[0], 62), 120)
    pids = worker_pids(driver.pid)
    assert len(pids) == 2
    driver.kill()
    driver.wait()
    wait_until(lambda: not any(map(is_alive, pids)), 60)

    def interrupt() -> None:
        wait_until(lambda: all(is_amid(run, 90) for run in runs), 120)
        os.kill(os.getpid(), number)

    with Interrupt() as stop, beside(interrupt):
        study = sweep(tmp_path, stop, workers=2)
    assert stop.received == number
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING] * 2
    for run in runs:
        checkpoint = load_checkpoint(run)
        assert checkpoint and 90 < checkpoint["step"] == read_metrics(run)[-1]["step"] < 160
    assert results(sweep(tmp_path, workers=2)) == whole


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "slurm", "ray"])
def test_folders_of_the_packages_names_where_the_user_is_are_not_imported(engine: str, tmp_path: Path) -> None:
    for name in ("sweeps", "analysis", "introvae"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('not ours')")
    command = tmp_path / "bin" / "introvae-sweep"
    command.parent.mkdir()
    command.write_text("from sweeps.cli import main; raise SystemExit(main())")
    words = [*tiny_flags("beta", "m"), f"--engine={engine}", "--workers=2", "--trials=1", "--device=cpu"]
    with ExitStack() as stack:
        if engine == "slurm":
            words.append("--slurm=cluster=local,timeout_min=10")
        if engine == "ray":
            address, _ = stack.enter_context(two_nodes())
            words.append(f"--address={address}")
        done = subprocess.run([sys.executable, command, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert read_scores(tmp_path / "predictions" / STUDY / "trial-000")["state"] != "failed", done.stdout
