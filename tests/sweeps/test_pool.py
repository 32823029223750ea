"""Worker processes: replaced when they die, ended when they hang, stopped when asked. Their trials only count."""

import multiprocessing
import os
import signal
import threading
from pathlib import Path

import pytest
from fillers import Counting, kill_amid_a_trial, supervise, supervisor
from waiting import wait_until

from introvae.errors import StoppedError
from sweeps.config import StudyConfig
from sweeps.search.pruning import FINISHED
from sweeps.study import open_study
from sweeps.workers.interrupt import Interrupt
from sweeps.workers.slots import OWNER, RETRY
from sweeps.workers.watch import Message, Said


def results(folder: Path) -> dict[int, str]:
    """Return what each slot ended with."""
    done = open_study(folder, {}).get_trials(states=FINISHED)
    assert len({trial.user_attrs["slot"] for trial in done}) == len(done)
    return {t.user_attrs["slot"]: t.user_attrs.get("outcome", "counted") for t in done}


def test_a_trial_that_breaks_its_process_ends_with_a_reason(tmp_path: Path) -> None:
    faults = {1: "hangs", 2: "crashes", 3: "is killed", 4: "CUDA"}
    supervisor(Counting(tmp_path / "s", 6, faults=faults), timeout=2).supervise(2)
    assert results(tmp_path / "s") == {
        0: "counted", 1: "not done after 2 s", 2: "its process died (SIGSEGV)",
        3: "its process died (SIGKILL, out of memory?)", 4: "RuntimeError: CUDA error: device-side assert triggered",
        5: "counted",
    }  # fmt: skip


def test_workers_that_cannot_begin_are_given_up(tmp_path: Path) -> None:
    with pytest.raises(StoppedError, match=r"workers die before they have a trial \(SIGKILL\)"):
        supervisor(Counting(tmp_path / "s", 1, starts=False)).supervise(1)


def test_an_error_that_ends_one_worker_stops_all_and_is_raised(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left on device"):
        supervisor(Counting(tmp_path / "s", 4, faults={1: "no space"})).supervise(2)
    supervisor(Counting(tmp_path / "s", 4)).supervise(2)
    assert set(results(tmp_path / "s")) == {0, 1, 2, 3}


def test_a_killed_worker_is_replaced_and_its_slot_continued(tmp_path: Path) -> None:
    job = Counting(tmp_path / "s", 3, steps=20)
    watch = open_study(job.folder, {})
    killer = threading.Thread(target=kill_amid_a_trial, args=(watch, job.folder, job.steps))
    killer.start()
    supervisor(job).supervise(2)
    killer.join()
    assert set(results(job.folder)) == {0, 1, 2}
    (retry,) = [trial for trial in watch.trials if RETRY in trial.user_attrs]
    before = watch.trials[retry.user_attrs[RETRY]]
    assert retry.user_attrs["first_step"] >= 2 and retry.params == before.params
    assert retry.user_attrs[OWNER]["pid"] != before.user_attrs[OWNER]["pid"]


def test_what_a_worker_writes_to_stderr_is_shown_by_its_parent(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shown: list[tuple[int, Message | None]] = []
    watched = supervisor(Counting(tmp_path / "s", 2, faults={1: "complains"}))
    watched.show = lambda worker, message: shown.append((worker, message))
    watched.supervise(1)
    assert shown == [(0, Said("the database does not answer")), (0, None)]
    assert capfd.readouterr().err == ""


def test_each_isolated_trial_has_a_process_of_its_own(tmp_path: Path) -> None:
    supervisor(Counting(tmp_path / "s", 3, steps=2, config=StudyConfig(isolate=True))).supervise(1)
    assert len({trial.user_attrs[OWNER]["pid"] for trial in open_study(tmp_path / "s", {}).trials}) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_workers_with_checkpoints(number: signal.Signals, tmp_path: Path) -> None:
    job = Counting(tmp_path / "s", 4, steps=1000)
    checkpoints = [job.run_folder(slot) / "step" for slot in (0, 1)]
    with Interrupt() as stop:
        interrupt = threading.Thread(target=interrupt_once_there, args=(checkpoints, number))
        interrupt.start()
        supervisor(job, stop).supervise(2)
        interrupt.join()
    assert stop.received == number
    assert [trial.state.name for trial in open_study(job.folder, {}).trials] == ["FAIL", "FAIL"]
    assert all(int(path.read_text()) < 1000 for path in checkpoints)


def test_a_second_signal_ends_them_now(tmp_path: Path) -> None:
    job = Counting(tmp_path / "s", 1, faults={0: "hangs"})
    lock = job.run_folder(0) / ".lock"

    def interrupt() -> None:
        interrupt_once_there([lock], signal.SIGINT)
        wait_until(lambda: stop.received)
        os.kill(os.getpid(), signal.SIGINT)

    with Interrupt() as stop, pytest.raises(KeyboardInterrupt):
        threading.Thread(target=interrupt).start()
        supervisor(job, stop).supervise(1)


def interrupt_once_there(paths: list[Path], number: signal.Signals) -> None:
    wait_until(lambda: all(path.exists() for path in paths))
    os.kill(os.getpid(), number)


def test_workers_leave_when_their_parent_is_gone(tmp_path: Path) -> None:
    """They write their checkpoints first."""
    job = Counting(tmp_path / "s", 2, steps=1000)
    parent = multiprocessing.get_context("forkserver").Process(target=supervise, args=(job, 2))
    parent.start()
    wait_until(lambda: all((job.run_folder(slot) / "step").exists() for slot in (0, 1)))
    parent.kill()
    parent.join()
    study = open_study(job.folder, {})
    wait_until(lambda: [trial.state.name for trial in study.trials] == ["FAIL", "FAIL"])
