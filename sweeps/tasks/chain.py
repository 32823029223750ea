"""Chains: what the driver knows of a trial, which is a task for each rung."""

import math
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Self

import optuna
from optuna.trial import FrozenTrial

from introvae.runs.folder import last_row, log_stamp
from sweeps.plan import Plan, Setup
from sweeps.tasks.fence import Fence
from sweeps.tasks.task import Result, Task

INFLATION = "KL over a VAE's"  # the attribute of a trial
TRAINED = "trained"  # the attribute of a trial: steps after its warm-up by the driver that ended it, and their seconds


def inflation_of(trial: optuna.Trial | FrozenTrial) -> float:
    """Return the logarithm of the KL of real images over a VAE's at a trial's first rung; NaN if it has none."""
    return math.log(trial.user_attrs.get(INFLATION, math.nan))


@dataclass(eq=False, kw_only=True)
class Chain:
    """A trial that has begun: under way on one of the engine's workers, or at rest.

    Attributes:
        trial: The trial.
        reported: Scores that the study knows, by step.
        constraints: Constraints that it knows from an earlier driver.
        values: The values that are searched.
        worker: The worker that runs it, or ran it last.
        plan: What it trains; None until its warm-up is trained.
        task: Its last task.
        future: The result of that task.
        fence: The fence of the current attempt.
        reached: The step of the current attempt.
        deaths: How often a process that ran it has died since its last checkpoint.
        saved: When that checkpoint was written.
        submitted: When its task was submitted, by the monotonic clock in seconds.
        start: The step from which that task trains.
        steps: Steps after its warm-up that its tasks have trained.
        seconds: Seconds that these took.
        begun: The task is known to run.
        lasted: Seconds for which its tasks have run.
        silent: Seconds for which its log has not grown.
        log: Size and time of its log.
        sign: The last sign of life at its fence.
    """

    trial: optuna.Trial
    reported: dict[int, float]
    constraints: Mapping[str, float]
    values: Mapping[str, Any]
    worker: int
    plan: Plan | None = None
    task: Task | None = None
    future: Future[Result] | None = None
    fence: Fence | None = None
    reached: int = 0
    deaths: int = 0
    saved: int = 0
    submitted: float = 0.0
    start: int = 0
    steps: int = 0
    seconds: float = 0.0
    begun: bool = False
    lasted: float = 0.0
    silent: float = 0.0
    log: tuple[int, float] | None = None
    sign: int = 0

    @classmethod
    def begin(cls, study: optuna.Study, setup: Setup, worker: int, resumed: FrozenTrial | None) -> Self:
        """Ask for a trial and draw its values, or resume one that an earlier driver has begun."""
        trial = optuna.Trial(study, resumed._trial_id) if resumed else study.ask()  # no public call resumes a trial
        point = setup.point(trial.number)
        values = setup.space.suggest(trial, point)
        if point:
            trial.set_user_attr("point", dict(point))
        reported, constraints = (dict(resumed.intermediate_values), resumed.constraints) if resumed else ({}, {})
        return cls(trial=trial, reported=reported, constraints=constraints, values=values, worker=worker)

    @property
    def number(self) -> int:
        """Number of the trial."""
        return self.trial.number

    @property
    def training(self) -> bool:
        """True if its task trains it, rather than ends it as pruned."""
        return self.task is not None and not self.task.pruned

    def report(self, step: int, score: float, kl: float | None) -> None:
        """Tell the study a score, and with the first one how far the KL of real images, in nats, has left a VAE's."""
        if kl and not self.reported and self.plan and self.plan.vae_kl:
            self.trial.set_user_attr(INFLATION, kl / self.plan.vae_kl)
        self.trial.report(score, step)
        self.reported[step] = score

    def trained(self, step: int, seconds: float) -> tuple[int, float]:
        """Note how far its task has trained it, and how long that took; return the steps and the seconds."""
        steps = max(0, step - self.start)
        self.steps, self.seconds = self.steps + steps, self.seconds + seconds
        return steps, seconds

    def look(self, elapsed: float) -> dict[str, float] | None:
        """Look for signs of life of its run after some seconds; return the last row of the log if that is new."""
        assert self.task and self.fence
        log, sign = log_stamp(self.task.plan.folder), self.fence.sign()
        grown = log != self.log
        if grown or sign != self.sign:
            self.log, self.sign, self.silent, self.begun = log, sign, 0.0, True
        elif self.begun:
            self.silent += elapsed
        self.lasted += elapsed * self.begun
        return last_row(self.task.plan.folder) if grown else None
