"""Studies whose trials are judged by their alpha and end at a rung, all by `Counting`, which trains nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from driven import Drawing, alpha_of, complete, drawn_study
from optuna.trial import TrialState

from introvae.runs.folder import CHECKPOINT, MetricsLog
from introvae.runs.record import RunState
from introvae.training.metrics import COLUMNS
from sweeps.engines.local import InlineEngine
from sweeps.search.space import Space
from sweeps.tasks.task import Result, Task

SPACE = Space(alpha=(0.1, 1.0), beta=(1.0, 100.0), margin_ratio=(4.0, 4.0))
RUNGS = (1, 4, 7, 14)


class Killed(BaseException):
    """End of a driver's process."""


class Counting:
    """Judge by alpha, that notes each task and ends the process at one of them; `kl` is a trial's, by its number."""

    def __init__(
        self, killed_at: int = 0, failing: float = 2.0, at: int = 14, kl: Callable[[int], float] | None = None
    ) -> None:
        self.killed_at, self.failing, self.at, self.kl = killed_at, failing, at, kl
        self.tasks: list[tuple[int, int, bool]] = []

    def __call__(self, task: Task) -> Result:
        self.tasks.append((int(task.plan.folder.name[-3:]), task.until, bool(task.pruned)))
        if len(self.tasks) == self.killed_at:
            raise Killed
        score = alpha_of(task)
        if task.pruned:
            return complete(task, score, RunState.PRUNED)
        if task.until >= self.at and score > self.failing:
            return complete(task, 0.0, RunState.COLLAPSED)
        if task.until == 27:
            return complete(task, score)
        kl = self.kl(self.tasks[-1][0]) * task.until if self.kl else None  # the first one counts
        return Result(step=task.until, score=score, kl=kl)


def fill(folder: Path, trials: int, judge: Callable[[Task], Result], **limits: Any) -> optuna.Study:
    engine = InlineEngine(Drawing(judge))
    return drawn_study(folder, SPACE, trials, engine, sampler="sobol", limits=limits, steps=27, log_every=1)


def ends(study: optuna.Study) -> list[tuple[float, TrialState, list[int]]]:
    """Return score, state and steps of scores of each trial."""
    return [(t.params["alpha"], t.state, list(t.intermediate_values)) for t in study.trials]


def steps(study: optuna.Study) -> int:
    return sum(max(trial.intermediate_values) for trial in study.trials)


def fill_warm(folder: Path, judge: Callable[[Task], Result]) -> optuna.Study:
    """Fill a study of three trials with a warm-up of 8 steps."""

    def with_warmup(task: Task) -> Result:
        if task.plan.vae_kl is None:
            MetricsLog(task.plan.folder, COLUMNS, [dict.fromkeys(COLUMNS, 10.0) | {"step": 8}])
            (task.plan.folder / CHECKPOINT).touch()
            return Result(step=8)
        return judge(task)

    engine = InlineEngine(Drawing(with_warmup))
    return drawn_study(folder, SPACE, 3, engine, steps=27, warmup_steps=8, log_every=1)
