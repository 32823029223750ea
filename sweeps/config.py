"""What a study is asked for; imports nothing that is slow, so that --help is quick."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from introvae.config import TrainConfig
from introvae.errors import UserError
from introvae.options import PREDICTIONS

Range = tuple[float, float]
AT_LEAST_1 = ("trials", "workers", "grace", "keep", "trial_timeout")


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """One study: a field for each flag of introvae-sweep.

    `train` holds what is not searched. `alpha`, `beta` and `m` are ranges (low, high) in place of the default ones.
    Raises UserError on a value out of range, naming it and what is allowed.
    """

    train: TrainConfig = field(default_factory=TrainConfig)
    trials: int = 50  # of the whole study, pruned ones included
    study: str | None = None  # the name; by default that of the data and the image size
    alpha: Range | None = None
    beta: Range | None = None
    m: Range | None = None
    optimize: str = "score"  # or a part of it, or weights PART=X,PART=Y
    out: Path = PREDICTIONS  # the folder that holds studies
    device: str = "auto"
    workers: int | None = None  # processes on this machine
    storage: str | None = None  # URL of a database that many machines share; None for SQLite in the study's folder
    grace: int = 300  # seconds of silence after which a trial on another machine counts as dead
    keep: int | None = 5  # checkpoints of so many best trials; None for all
    isolate: bool = False  # a process of its own for each trial
    trial_timeout: float | None = None  # seconds
    quiet: bool = False  # shows only the result, and what goes wrong

    def __post_init__(self) -> None:
        for name in AT_LEAST_1:
            value = getattr(self, name)
            if value is not None and not value >= 1:
                raise UserError(f"--{name.replace('_', '-')} is {value}; allowed: 1 or more")
        if self.study is not None and (Path(self.study).name != self.study or self.study.startswith(".")):
            raise UserError(f"--study is {self.study!r}; it takes a name for a folder below --out")
        if self.train.objective == "soft":
            raise UserError(
                "--objective is soft, which has no m; the sweep searches alpha, beta and m of --objective intro"
            )


FIELDS = tuple(f.name for f in dataclasses.fields(StudyConfig))
