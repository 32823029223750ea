"""What a study is asked for; imports nothing that is slow, so that --help is quick."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from introvae.commands.options import PREDICTIONS
from introvae.config import TrainConfig
from introvae.errors import UserError
from sweeps.points import Point

Range = tuple[float, float]
TRIALS = 50
AT_LEAST_1 = ("trials", "workers", "grace", "keep", "trial_timeout")
SAMPLERS = ("tpe", "random")
PRUNERS = ("halving", "none")
SETTINGS = ("alpha", "beta", "m", "margin_ratio")  # what a study is about
NOT_SEARCHED = (
    *SETTINGS, "image_size", "channels", "seed", "warmup_seed", "split_seed", "steps", "warmup_steps", "warmup_beta",
    "log_every", "checkpoint_every", "picture_every", "beta_neg", "gamma_r",
)  # fmt: skip
SEARCHABLE = {  # each with its type
    name: float if float in (hint, *get_args(hint)) else int
    for name, hint in get_type_hints(TrainConfig).items()
    if {int, float} & {hint, *get_args(hint)} and hint != tuple[int, ...] and name not in NOT_SEARCHED
}


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """One study: a field for each flag of introvae-sweep.

    `train` holds what is not searched. `alpha`, `beta` and `m` are ranges (low, high) in place of the default ones,
    `fix` holds values of alpha, beta, m or margin_ratio, and `search` ranges of further fields of `train`.
    Raises UserError on a value out of range, naming it and what is allowed.
    """

    train: TrainConfig = field(default_factory=TrainConfig)
    trials: int | None = None  # of the whole study, pruned ones included; by default 50, or as many as points
    study: str | None = None  # the name; by default that of the data and the image size
    alpha: Range | None = None
    beta: Range | None = None
    m: Range | None = None
    fix: Mapping[str, float] = field(default_factory=dict)
    search: Mapping[str, Range] = field(default_factory=dict)
    points: Sequence[Point] = ()  # settings that fill the first slots
    sampler: str = "tpe"  # of SAMPLERS
    pruner: str | None = None  # of PRUNERS; by default halving, or none in a study of points only
    optimize: str = "score"  # or a part of it, or weights PART=X,PART=Y
    seeds: int | None = None  # repeat the best setting with so many
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
        object.__setattr__(self, "out", Path(self.out))
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
        if self.seeds is not None and self.seeds < 2:
            raise UserError(f"--seeds is {self.seeds}; allowed: 2 or more")
        for name, choices in (("sampler", SAMPLERS), ("pruner", (*PRUNERS, None))):
            if getattr(self, name) not in choices:
                allowed = ", ".join(filter(None, choices))
                raise UserError(f"--{name} is {getattr(self, name)!r}; allowed: {allowed}")
        _check_fixed(self)
        _check_searched(self)

    @property
    def total(self) -> int:
        """Trials of the whole study."""
        return self.trials or len(self.points) or TRIALS

    @property
    def pruned_by(self) -> str:
        """The name of the pruner."""
        return self.pruner or ("none" if self.points and self.trials is None else "halving")


def _check_fixed(config: StudyConfig) -> None:
    for name, value in config.fix.items():
        if name not in SETTINGS:
            raise UserError(f"--fix has no {name!r}; it takes {', '.join(SETTINGS)}")
        if not 0 < value < math.inf:
            raise UserError(f"--fix {name} is {value}; allowed: a finite number, more than 0")
        if getattr(config, name, None) is not None:
            raise UserError(f"--fix {name} is {value}, and --{name} gives a range; give one of them")
    if "margin_ratio" in config.fix and ("m" in config.fix or config.m is not None):
        raise UserError("--fix margin_ratio has no effect where m is given; give one of them")


def _check_searched(config: StudyConfig) -> None:
    for name, (low, high) in config.search.items():
        if name not in SEARCHABLE:
            raise UserError(f"--search has no {name!r}; it takes {', '.join(SEARCHABLE)}")
        if not 0 < low <= high < math.inf:
            raise UserError(f"--search {name} is {low}:{high}; LO must be more than 0 and HI no less than LO")
        for end in (low, high):
            if SEARCHABLE[name] is int and end != round(end):
                raise UserError(f"--search {name} is {low}:{high}; {name} takes whole numbers")
            replace(config.train, **searched({name: end}))


def searched(values: Mapping[str, float]) -> dict[str, Any]:
    """Those among the values that are fields of TrainConfig which can be searched, in their types."""
    return {name: SEARCHABLE[name](value) for name, value in values.items() if name in SEARCHABLE}


FIELDS = tuple(f.name for f in dataclasses.fields(StudyConfig))
