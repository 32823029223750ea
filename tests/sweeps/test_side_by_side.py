"""Trials side by side in one driver, whose workers train nothing."""

from pathlib import Path

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


def test_a_trial_is_compared_at_the_same_step_with_those_that_have_ended(tmp_path: Path) -> None:
    """Those that run beside it do not count: the second would be pruned if the first, which is better, did."""
    scores = [{2: 0.5, 4: 0.1}, {2: 0.2, 4: 0.05}, {2: 0.6, 4: 0.2}, {2: 0.3, 4: 0.3}]

    def judge(task: Task) -> Result:
        if task.pruned:
            return complete(task, 0.1, RunState.PRUNED)
        if task.until == task.plan.config.steps:
            return complete(task, 0.1)
        return Result(step=task.until, score=scores[int(task.plan.folder.name[-1])][task.until])

    study = drawn_study(tmp_path / "study", SPACE, 4, TwoWorkers(Drawing(judge)), steps=7)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3 + [TrialState.PRUNED]
    assert study.trials[3].intermediate_values == {2: 0.3}
