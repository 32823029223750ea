"""Messages of workers to the process that shows them, and the time that each phase of their work takes."""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import optuna

from introvae.training.progress import describe
from introvae.training.trainer import OnLog, Trainer

SHOW_EVERY = 0.1  # seconds between two rows that are shown
SECONDS = "seconds"  # the attribute of a trial: seconds that its worker spent on each phase since the trial before
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


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of a training."""

    label: str
    step: int
    steps: int
    text: str


@dataclass(frozen=True)
class Finished:
    """End of a trial: a line on it and one on the study, of which `done` slots are filled."""

    trial: str
    study: str
    done: int


@dataclass(frozen=True)
class Said:
    """Line for stderr."""

    text: str


Message = Progress | Finished | Said
Show = Callable[[Message], None]


def to_nobody(message: Message) -> None:  # a function with a name, as processes receive it
    pass


class Watch:
    """Stopwatch of a worker's phases since time.monotonic() was `began`, by default now; hands on what is to show."""

    def __init__(self, show: Show = to_nobody, began: float | None = None) -> None:
        self.show = show
        self.phase, self.since = "start", time.monotonic() if began is None else began
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def enter(self, phase: str) -> None:
        """End the current phase and begin another one of PHASES."""
        now = time.monotonic()
        self.seconds[self.phase] += now - self.since
        self.phase, self.since = phase, now

    def take(self) -> dict[str, float]:
        """Return the seconds of each phase since the last call, and begin the phase of the study."""
        self.enter("study")
        taken = {name: round(seconds, 4) for name, seconds in self.seconds.items()}
        self.seconds.clear()
        return taken

    def follow(self, label: str, trainer: Trainer, phase: str = "training") -> OnLog:
        """Return a function that shows rows of metrics.csv now and then, and counts their steps' time as `phase`."""
        config, before, shown = trainer.config, trainer.step, 0.0

        def on_log(row: dict[str, float]) -> None:
            nonlocal before, shown
            now, step = time.monotonic(), int(row["step"])
            took = (step - before) * config.batch_size / row["images_per_second"]
            self.seconds[phase] += took
            self.seconds[self.phase] -= took
            before = step
            if now - shown >= SHOW_EVERY or step == config.steps:
                self.show(Progress(label=label, step=step, steps=config.steps, text=describe(row)))
                shown = now

        return on_log


def breakdown(study: optuna.Study) -> str:
    """Return one line on where the workers of all machines spent their time; "" for a study that kept none."""
    total: defaultdict[str, float] = defaultdict(float)
    for trial in study.get_trials(deepcopy=False):
        for phase, seconds in trial.user_attrs.get(SECONDS, {}).items():
            total[phase] += seconds
    if not total:
        return ""
    whole = sum(total.values())
    parts = (f"{name} {total[phase]:.1f} s ({total[phase] / whole:.1%})" for phase, name in PHASES.items())
    return f"time of the workers: {whole:.0f} s; {', '.join(parts)}"
