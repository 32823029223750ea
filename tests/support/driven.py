"""Studies that a driver fills in this process, with or without training."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import torch
from helpers import tiny_config

from introvae.data.image_set import ImageSet
from introvae.runs.record import RunRecord, RunState, Scores
from sweeps.config import StudyConfig
from sweeps.driver import Callback, Driver, Stop
from sweeps.engines.base import Engine
from sweeps.engines.local import InlineEngine
from sweeps.plan import Setup
from sweeps.run import prepare
from sweeps.search.samplers import NumberedSampler
from sweeps.search.space import Space
from sweeps.study import open_study
from sweeps.tasks.task import Result, Task, Worker
from sweeps.view import View


def drive(
    setup: Setup,
    config: StudyConfig,
    study: optuna.Study,
    engine: Engine,
    stop: Stop = lambda: False,
    callbacks: Sequence[Callback] = (),
) -> None:
    """Fill a study, without a word."""
    with View(engine.capacity, quiet=True) as view:
        Driver(setup, config, study, view, engine, stop, callbacks).fill()


def study_of(setup: Setup, config: StudyConfig) -> optuna.Study:
    """Return a new study in memory."""
    sampler = NumberedSampler(setup.config.seed, config.sampler, setup.space.distributions, setup.points)
    return optuna.create_study(direction="maximize", sampler=sampler)


def run_trials(config: StudyConfig) -> tuple[Setup, ImageSet, optuna.Study]:
    """Run a study as `run_study` does with one worker, but in memory and without its report."""
    setup, images = prepare(config)
    study = study_of(setup, config)
    drive(setup, config, study, InlineEngine(Worker(images=images)))
    return setup, images, study


class Drawing(Worker):
    """Worker that trains nothing: `judge` gives the result of a task, by default a complete run worth its alpha."""

    def __init__(self, judge: Callable[[Task], Result] | None = None) -> None:
        super().__init__()
        self.judge = judge or (lambda task: complete(task, alpha_of(task)))

    def run(self, task: Task) -> Result:
        return self.judge(task)


def alpha_of(task: Task) -> float:
    alpha = task.plan.config.alpha
    assert isinstance(alpha, float)
    return alpha


def complete(task: Task, score: float, state: RunState = RunState.COMPLETE) -> Result:
    """Return the result of a task with which its run ends."""
    record = RunRecord(state=state, scores=Scores(score=score), weights=task.setup.weights, optimized=score)
    return Result(step=task.until, record=record)


def drawn_study(
    folder: Path,
    space: Space,
    trials: int,
    engine: Engine,
    points: Sequence[Mapping[str, float]] = (),
    sampler: str = "tpe",
    seed: int = 0,
    stop: Stop = lambda: False,
    limits: Mapping[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
    **train: Any,
) -> optuna.Study:
    """Begin or continue a study, by default of trials without a warm-up and with one task each; return it."""
    setup = Setup(
        config=tiny_config(**{"seed": seed, "warmup_steps": 0, "steps": 1} | train), space=space,
        spectrum=torch.ones(8), folder=folder, weights={"score": 1.0}, points=points,
    )  # fmt: skip
    study = open_study(folder, {}, NumberedSampler(seed, sampler, space.distributions, points))
    config = StudyConfig(
        train=setup.config, trials=trials, sampler=sampler, out=folder.parent, device="cpu", **dict(limits or {})
    )
    drive(setup, config, study, engine, stop, callbacks)
    return study
