"""What a worker tells of its work: how far it is, and where its time goes."""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import optuna

from introvae.training.progress import describe
from introvae.training.trainer import OnLog, Trainer

SHOW_EVERY = 0.1  # seconds between two rows that are shown
SECONDS = "seconds"  # the attribute of a trial: what its worker spent on each phase since the trial before
PHASES = {
    "training": "steps",
    "warm-up": "warm-up",
    "scoring": "rungs",  # their scores
    "results": "results",  # measures and pictures of ended runs
    "keeping": "log and checkpoints",
    "study": "study",  # database, sampler, pruner
    "start": "start",  # imports, images, networks
    "waiting": "waiting",  # for another worker's warm-up
}
ONCE = ("warm-up", "start", "waiting")  # phases of a worker more than of a trial


@dataclass(frozen=True)
class Progress:
    """How far a training is."""

    label: str
    step: int
    steps: int
    text: str


@dataclass(frozen=True)
class Finished:
    """A trial has ended: what came of it, and where the study is, `done` trials of it."""

    trial: str
    study: str
    done: int


@dataclass(frozen=True)
class Said:
    """A line for stderr."""

    text: str


Message = Progress | Finished | Said
Show = Callable[[Message], None]


def to_nobody(message: Message) -> None:
    pass


class Watch:
    """Sums the seconds of each phase by the monotonic clock, and hands on what there is to show."""

    def __init__(self, show: Show = to_nobody, began: float | None = None) -> None:
        """`began` is the time.monotonic() of the worker's start, now by default."""
        self.show = show
        self.phase, self.since = "start", time.monotonic() if began is None else began
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def enter(self, phase: str) -> None:
        """One of PHASES begins and the one before it ends."""
        now = time.monotonic()
        self.seconds[self.phase] += now - self.since
        self.phase, self.since = phase, now

    def take(self) -> dict[str, float]:
        """The seconds of each phase since the last call; then begins what belongs to the study."""
        self.enter("study")
        taken = {name: round(seconds, 4) for name, seconds in self.seconds.items()}
        self.seconds.clear()
        return taken

    def follow(self, label: str, trainer: Trainer, phase: str = "training") -> OnLog:
        """Shows rows of metrics.csv now and then. What their steps took, by images/s, counts as `phase`."""
        config, before, shown = trainer.config, trainer.step, 0.0

        def on_log(row: dict[str, float]) -> None:
            nonlocal before, shown
            now, step = time.monotonic(), int(row["step"])
            took = (step - before) * config.batch_size / row["images_per_second"]
            self.seconds[phase] += took
            self.seconds[self.phase] -= took
            before = step
            if now - shown >= SHOW_EVERY or step == config.steps:
                self.show(Progress(label, step, config.steps, describe(row)))
                shown = now

        return on_log


def breakdown(study: optuna.Study) -> str:
    """Where the time of the study's workers went, on all machines, in one line; "" for a study that kept none."""
    total: defaultdict[str, float] = defaultdict(float)
    for trial in study.get_trials(deepcopy=False):
        for phase, seconds in trial.user_attrs.get(SECONDS, {}).items():
            total[phase] += seconds
    if not total:
        return ""
    whole = sum(total.values())
    parts = (f"{name} {total[phase]:.1f} s ({total[phase] / whole:.1%})" for phase, name in PHASES.items())
    return f"time of the workers: {whole:.0f} s; {', '.join(parts)}"
