"""Trials side by side in one driver, whose workers train nothing."""

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from driven import Drawing, complete, drawn_study
from optuna.trial import TrialState

from introvae.runs.record import RunState
from sweeps.engines.local import InlineEngine
from sweeps.search.space import Space
from sweeps.tasks.task import Result, Task

SPACE = Space(alpha=(0.1, 1.0), beta=(1.0, 100.0), margin_ratio=(1.0, 4.0))


class TwoWorkers(InlineEngine):
    """Engine whose tasks end at once, so that two trials take turns."""

    capacity = 2


def test_the_best_at_a_rung_goes_on_whoever_runs_beside_it(tmp_path: Path) -> None:
    scores = [0.4, 0.2, 0.9, 0.3]

    def judge(task: Task) -> Result:
        if task.pruned:
            return complete(task, 0.1, RunState.PRUNED)
        if task.until == task.plan.config.steps:
            return complete(task, 0.6)
        return Result(step=task.until, score=scores[int(task.plan.folder.name[-1])])

    study = drawn_study(tmp_path / "study", SPACE, 4, TwoWorkers(Drawing(judge)), sampler="sobol", steps=7)
    pruned, complete_ = TrialState.PRUNED, TrialState.COMPLETE
    assert [trial.state for trial in study.trials] == [pruned, pruned, complete_, pruned]
    assert [list(trial.intermediate_values) for trial in study.trials] == [[2], [2], [2, 4, 7], [2]]


class Crashing(TwoWorkers):
    """Engine whose processes all crash."""

    def __init__(self) -> None:
        super().__init__(Drawing())
        self.submitted: list[Task] = []
        self.crashes = 0

    def submit(self, worker: int, task: Task) -> "Future[Result]":
        self.submitted.append(task)
        future: Future[Result] = Future()
        future.set_exception(EOFError())
        return future

    def died(self, worker: int, error: BaseException) -> tuple[str, bool]:
        self.crashes += 1
        return "SIGSEGV", True


@pytest.mark.parametrize("stops", [True, False])
def test_a_trial_that_waits_for_a_warm_up_begins_unless_the_study_is_to_stop(stops: bool, tmp_path: Path) -> None:
    """The trial that trains the warm-up fails, so that the other one would train it."""
    engine = Crashing()
    train: dict[str, Any] = {"warmup_steps": 8, "warmup_beta": 10.0, "steps": 20}
    study = drawn_study(tmp_path / "study", SPACE, 2, engine, stop=lambda: stops and engine.crashes > 0, **train)
    ended, waited = (trial.state for trial in study.trials)
    assert ended == TrialState.PRUNED
    assert waited == (TrialState.RUNNING if stops else TrialState.PRUNED)
    assert len(engine.submitted) == (1 if stops else 2)
    assert all(task.plan.vae_kl is None for task in engine.submitted)  # warm-ups
