"""The supervisor: tasks that hang are tried again, and those that wait for their turn are not."""

from concurrent.futures import Future
from pathlib import Path

import pytest
from driven import Drawing, alpha_of, complete, drawn_study
from optuna.trial import FrozenTrial, TrialState

from introvae.runs.folder import CHECKPOINT
from introvae.runs.record import RunState
from sweeps.engines.base import Engine
from sweeps.engines.local import InlineEngine
from sweeps.search.space import Space
from sweeps.tasks.fence import Fence
from sweeps.tasks.task import Result, Task

SPACE = Space(alpha=(0.1, 1.0), beta=(1.0, 100.0), margin_ratio=(1.0, 4.0))
SILENCE, BEGINS = 20.0, 500.0


class Frozen(Engine):
    """Engine whose first task begins late, and hangs before its first log; a second attempt is done at once."""

    capacity, queues = 1, True

    def __init__(self) -> None:
        self.now = 0.0
        self.attempts: list[Fence] = []
        self.killed: list[float] = []

    def monotonic(self) -> float:
        """Return a time that passes with each look."""
        self.now += 1.0
        if self.now == BEGINS:
            self.attempts[0].begin()
        return self.now

    def submit(self, worker: int, task: Task) -> "Future[Result]":
        self.attempts.append(Fence(task.plan.folder, task.attempt))
        future: Future[Result] = Future()
        if len(self.attempts) > 1:
            future.set_result(complete(task, 0.5))
        return future

    def kill(self, worker: int) -> None:
        self.killed.append(self.now)

    def died(self, worker: int, error: BaseException) -> tuple[str, bool]:
        raise error

    def close(self) -> None:
        pass


def supervised(engine: Frozen, folder: Path, patch: pytest.MonkeyPatch, **limits: float) -> FrozenTrial:
    """Run a study of one trial by the engine's clock."""
    patch.setattr("sweeps.supervisor.time", engine)
    patch.setattr("sweeps.supervisor.LOOK_EVERY", 0.001)
    (trial,) = drawn_study(folder / "study", SPACE, 1, engine, limits=limits).trials
    return trial


def test_a_task_that_begins_late_is_waited_for_and_one_that_then_hangs_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Frozen()
    trial = supervised(engine, tmp_path, monkeypatch, silence=SILENCE)
    assert trial.state == TrialState.COMPLETE
    assert len(engine.attempts) == 2 and engine.attempts[0].attempt != engine.attempts[1].attempt
    (killed,) = engine.killed
    assert BEGINS + SILENCE <= killed <= BEGINS + 2 * SILENCE


def test_time_in_a_queue_does_not_count_for_the_limit_of_a_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task hangs once it has begun, for longer than a trial may take."""
    engine = Frozen()
    trial = supervised(engine, tmp_path, monkeypatch, trial_timeout=SILENCE)
    assert trial.user_attrs["outcome"] == f"failed: not done after {SILENCE:g} s"
    (killed,) = engine.killed
    assert BEGINS + SILENCE <= killed <= BEGINS + 2 * SILENCE


class Paused(Frozen):
    """Engine whose driver is suspended for an hour while its task, which has begun, runs on; the task then ends."""

    def monotonic(self) -> float:
        self.now += 3600.0 if self.now == 5.0 else 1.0
        if self.now > 3610.0 and not self.future.done():
            self.future.set_result(complete(self.task, 0.5))
        return self.now

    def submit(self, worker: int, task: Task) -> "Future[Result]":
        Fence(task.plan.folder, task.attempt).begin()
        self.task, self.future = task, Future[Result]()
        return self.future


def test_a_driver_that_was_suspended_does_not_take_its_tasks_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Paused()
    trial = supervised(engine, tmp_path, monkeypatch, silence=SILENCE)
    assert trial.state == TrialState.COMPLETE and not engine.killed


def test_a_trial_that_fails_while_the_study_is_stopped_is_tried_by_the_next_driver(tmp_path: Path) -> None:
    """A request to stop, as Ctrl-C, may have ended processes that the trial needs."""
    stopped: list[bool] = []

    def fail(task: Task) -> Result:
        stopped.append(True)
        return Result(reason="its processes failed")

    study = drawn_study(tmp_path / "study", SPACE, 1, InlineEngine(Drawing(fail)), stop=lambda: bool(stopped))
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING]
    study = drawn_study(tmp_path / "study", SPACE, 1, InlineEngine(Drawing()))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]


class Two(InlineEngine):
    """Engine of two workers, which notes what each is given."""

    capacity = 2

    def __init__(self) -> None:
        super().__init__(Drawing(at_rungs))
        self.given: dict[str, list[tuple[int, int, int]]] = {}

    def submit(self, worker: int, task: Task) -> "Future[Result]":
        self.given.setdefault(task.plan.folder.name, []).append((worker, task.reached, task.until))
        return super().submit(worker, task)


def at_rungs(task: Task) -> Result:
    """Score a trial at a rung by its alpha, and end it at its last step or where it is pruned."""
    if task.pruned:
        return complete(task, alpha_of(task), RunState.PRUNED)
    if task.until < task.plan.config.steps:
        return Result(step=task.until, score=alpha_of(task))
    return complete(task, alpha_of(task))


def test_a_trial_returns_to_the_worker_that_holds_it_at_the_step_that_it_has_reached(tmp_path: Path) -> None:
    """Both rest at a rung, and the second one, which is better, is promoted while both workers are idle."""
    engine = Two()
    points = [{"alpha": alpha, "beta": 10.0, "margin_ratio": 2.0} for alpha in (0.2, 0.9)]
    drawn_study(tmp_path / "study", SPACE, 2, engine, points, steps=64)
    tasks = engine.given["trial-001"]
    assert len(tasks) > 1 and {worker for worker, _, _ in tasks} == {1}
    assert [reached for _, reached, _ in tasks] == [0, *(until for _, _, until in tasks[:-1])]


class Dying(InlineEngine):
    """Engine whose processes die in some of its tasks, before or after they have saved a checkpoint."""

    capacity = 4

    def __init__(self, deaths: set[int], saves: bool = False) -> None:
        super().__init__(Drawing())
        self.deaths, self.saves, self.submitted, self.died_in = deaths, saves, 0, set[str]()

    def submit(self, worker: int, task: Task) -> "Future[Result]":
        self.submitted += 1
        if self.submitted not in self.deaths:
            return super().submit(worker, task)
        self.died_in.add(task.plan.folder.name)
        if self.saves:
            (task.plan.folder / CHECKPOINT).write_text(str(self.submitted))
        future: Future[Result] = Future()
        future.set_exception(ConnectionError())
        return future

    def died(self, worker: int, error: BaseException) -> tuple[str, bool]:
        return "SIGKILL", False


def test_trials_whose_processes_die_are_tried_again_none_twice_and_none_lost(tmp_path: Path) -> None:
    engine = Dying({2, 5, 6, 20})
    study = drawn_study(tmp_path / "study", SPACE, 40, engine, sampler="sobol")
    whole = drawn_study(tmp_path / "whole", SPACE, 40, Dying(set()), sampler="sobol")
    assert len(engine.died_in) > 1 and engine.submitted == 44
    assert [(trial.number, trial.params, trial.value, trial.state) for trial in study.trials] == [
        (trial.number, trial.params, trial.value, trial.state) for trial in whole.trials
    ]
    assert {trial.state for trial in whole.trials} == {TrialState.COMPLETE}


def test_a_trial_whose_processes_die_three_times_fails_with_the_reason(tmp_path: Path) -> None:
    study = drawn_study(tmp_path / "study", SPACE, 2, Dying({1, 3, 4}))
    assert [trial.user_attrs["outcome"] for trial in study.trials] == ["failed: its process died (SIGKILL)", "complete"]


def test_deaths_are_counted_from_the_last_checkpoint(tmp_path: Path) -> None:
    study = drawn_study(tmp_path / "study", SPACE, 2, Dying({1, 3, 4, 5}, saves=True))
    assert [trial.user_attrs["outcome"] for trial in study.trials] == ["complete", "complete"]
