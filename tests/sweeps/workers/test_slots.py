"""Every slot is filled once, by workers in one process that take turns, then by many processes."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from fillers import fill_and_kill
from forks import ended, forked
from optuna.trial import FrozenTrial, TrialState
from postgresql import PostgreSQL
from waiting import wait_until

from introvae.files import lock
from sweeps.search.pruning import FINISHED
from sweeps.study import open_study
from sweeps.workers.slots import DRAWN, OWNER, RETRY, CutOff, Filler, by_slot, finished_slots


def draw(trial: optuna.Trial, slot: int, reported: dict[int, float]) -> float:
    x = trial.suggest_float("x", 0, 1)
    trial.set_user_attr(DRAWN, x)
    return x


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.workers.slots.LOOK_EVERY", 0.05)


class Worker(Filler):
    """Worker on the study in `path`, opened as another process would."""

    def __init__(
        self, path: Path, total: int, run: Callable[..., float] = draw, one_machine: bool = True, grace: int = 300
    ) -> None:
        study = open_study(path, {}, grace=grace)
        super().__init__(study, total, lambda slot: path / f"trial-{slot:03d}", run, one_machine=one_machine)
        self.seen: list[int] = []

    def note(self, trial: FrozenTrial, trials: list[FrozenTrial]) -> None:
        self.seen.append(trial.user_attrs["slot"])

    def go(self) -> list[int]:
        self.fill(self.note)
        return self.seen


def cut(trial: optuna.Trial, slot: int, reported: dict[int, float]) -> float:
    draw(trial, slot, reported)
    trial.report(0.25, 1)
    raise CutOff


def hang(trial: optuna.Trial, slot: int, reported: dict[int, float]) -> float:
    time.sleep(600)
    return 0.0


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def test_a_cut_off_slot_is_filled_first_with_its_parameters_and_reports(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = Worker(path, 3, cut)
    first.take_one(first.note)
    (failed,) = first.study.trials
    given: list[dict[int, float]] = []

    def run(trial: optuna.Trial, slot: int, reported: dict[int, float]) -> float:
        given.append(reported)
        return draw(trial, slot, reported)

    second = Worker(path, 3, run)
    assert second.go() == [0, 1, 2]
    assert given == [{1: 0.25}, {}, {}]
    retry = second.study.trials[1]
    assert retry.params == failed.params and retry.user_attrs[RETRY] == 0
    assert states(second.study) == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]


def test_parameters_that_were_drawn_in_part_are_drawn_again(tmp_path: Path) -> None:
    def run(trial: optuna.Trial, slot: int, reported: dict[int, float]) -> float:
        trial.suggest_float("a", 0, 1)
        if slot == 1 and RETRY not in trial.user_attrs:
            raise CutOff
        return draw(trial, slot, reported)

    def whole(trial: optuna.Trial, slot: int, reported: dict[int, float]) -> float:
        trial.suggest_float("a", 0, 1)
        return draw(trial, slot, reported)

    found = []
    for name, function in (("cut", run), ("whole", whole)):
        worker = Worker(tmp_path / name, 3, function)
        assert worker.go() == [0, 1, 2]
        found.append([trial.params for trial in worker.study.get_trials(states=FINISHED)])
    assert found[0] == found[1]


def test_draws_follow_from_the_slot_and_the_finished_trials(tmp_path: Path) -> None:
    whole = Worker(tmp_path / "whole", 14)
    whole.go()
    for total in (4, 11, 14):
        parts = Worker(tmp_path / "parts", total)
        parts.go()
    assert [t.params for t in parts.study.trials] == [t.params for t in whole.study.trials]


def test_a_slot_beyond_the_total_waits_for_a_larger_one(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "s", 2)
    worker.study.add_trial(optuna.create_trial(state=TrialState.WAITING))
    for _ in range(3):  # as if four workers had asked at once
        worker.study.enqueue_trial({})
    assert worker.go() == [0, 1]
    assert finished_slots(worker.study.trials) == {0, 1}
    more = Worker(tmp_path / "s", 5)
    assert sorted(more.go()) == [2, 3, 4]
    assert set(by_slot(more.study.trials)) == set(range(5))


def test_of_two_retries_the_older_one_fills_the_slot(tmp_path: Path) -> None:
    first = Worker(tmp_path / "s", 1, cut)
    first.take_one(first.note)
    for _ in range(2):  # two machines at once
        first.study.enqueue_trial({"x": 0.5}, {"slot": 0, RETRY: 0})
    inner = Worker(tmp_path / "s", 1, cut, one_machine=False)

    def run(trial: optuna.Trial, slot: int, reported: dict[int, float]) -> float:
        inner.study.optimize(inner._objective, n_trials=1, catch=(CutOff,))  # another takes the second meanwhile
        return draw(trial, slot, reported)

    outer = Worker(tmp_path / "s", 1, run)
    assert outer.go() == [0]
    assert states(outer.study) == ["FAIL", "COMPLETE", "FAIL"]
    assert OWNER not in outer.study.trials[2].user_attrs


def test_the_lock_of_the_folder_tells_the_living_from_the_dead(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "s", 2)
    folder = tmp_path / "s" / "trial-000"
    running = optuna.create_trial(
        state=TrialState.RUNNING, user_attrs={"slot": 0, OWNER: {"host": "elsewhere", "pid": 1}}
    )
    worker.study.add_trial(running)
    with lock(folder):
        worker.take_one(worker.note)
        assert worker.seen == [1]
        assert states(worker.study) == ["RUNNING", "COMPLETE"]
    assert worker.go() == [1, 0]
    assert states(worker.study) == ["FAIL", "COMPLETE", "COMPLETE"]


def test_on_another_machine_only_silence_proves_death(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "s", 2, one_machine=False)
    running = optuna.create_trial(
        state=TrialState.RUNNING, user_attrs={"slot": 0, OWNER: {"host": "elsewhere", "pid": 1}}
    )
    worker.study.add_trial(running)
    for _ in range(2):
        worker.take_one(worker.note)
    assert worker.seen == [1] and states(worker.study) == ["RUNNING", "COMPLETE"]


def test_silence_on_another_machine_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s"
    open_study(path, {})
    with monkeypatch.context() as patch:
        patch.setattr("socket.gethostname", lambda: "elsewhere")
        child = forked(lambda: Worker(path, 1, hang, grace=1).go())
    watch = open_study(path, {})
    wait_until(lambda: any(OWNER in trial.user_attrs for trial in watch.trials))
    os.kill(child, signal.SIGKILL)
    assert ended(child) == -signal.SIGKILL
    assert Worker(path, 1, one_machine=False, grace=1).go() == [0]
    found = [(trial.state.name, trial.user_attrs[OWNER]["host"] == "elsewhere") for trial in watch.trials]
    assert found == [("FAIL", True), ("COMPLETE", False)]


def test_a_trial_taken_for_dead_does_not_count_twice(tmp_path: Path) -> None:
    path = tmp_path / "s"

    def run(trial: optuna.Trial, slot: int, reported: dict[int, float]) -> float:
        if RETRY not in trial.user_attrs:
            open_study(path, {}).tell(trial.number, state=TrialState.FAIL)  # as heartbeats that were late
            Worker(path, 1).take_one(lambda *_: None)  # does not take it: the folder's lock is held
            assert len(trial.study.trials) == 1
        return 0.5

    worker = Worker(path, 1, run)
    assert worker.go() == [0]
    assert states(worker.study) == ["FAIL", "COMPLETE"]


@pytest.mark.parametrize(("workers", "total", "kills"), [(3, 12, 0), (2, 6, 1)])
def test_the_total_is_exact(workers: int, total: int, kills: int, tmp_path: Path) -> None:
    assert_filled(tmp_path / "s", f"sqlite:///{tmp_path / 's.db'}", workers, total, kills)


@pytest.mark.parametrize(("workers", "total", "kills"), [
    (2, 6, 1), pytest.param(4, 40, 2, marks=pytest.mark.slow),
])  # fmt: skip
def test_the_total_is_exact_on_postgresql(
    workers: int, total: int, kills: int, tmp_path: Path, postgres: PostgreSQL
) -> None:
    assert_filled(tmp_path / "s", postgres.url(f"total{total}"), workers, total, kills)


def assert_filled(folder: Path, url: str, workers: int, total: int, kills: int) -> None:
    """Check that every slot is filled once, and that killed trials resumed from checkpoints in other processes."""
    fill_and_kill(folder, url, workers, total, kills, 8)
    study = open_study(folder, {}, url=url)
    done = study.get_trials(states=FINISHED)
    assert sorted(trial.user_attrs["slot"] for trial in done) == list(range(total))
    retries = [trial for trial in done if RETRY in trial.user_attrs]
    assert len([t for t in retries if t.user_attrs["first_step"] >= 2]) == kills
    for retry in retries:
        before = study.trials[retry.user_attrs[RETRY]]
        if OWNER in before.user_attrs:  # else it was one beyond the total
            assert before.params == retry.params and before.user_attrs[OWNER]["pid"] != retry.user_attrs[OWNER]["pid"]
    assert all(set(trial.intermediate_values) == {2, 8} for trial in done)
