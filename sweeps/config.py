"""Configuration of a study; imports nothing slow, so that --help is quick."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

from introvae.commands.options import PREDICTIONS
from introvae.config import TrainConfig
from introvae.errors import UserError
from sweeps.points import Point
from sweeps.search.dimensions import SEARCHABLE, Dimension, Range, is_words, problem, searched, written

TRIALS = 50
AT_LEAST_1 = ("trials", "workers", "silence", "keep", "trial_timeout", "processes_per_trial", "budget", "patience")
ENGINES = ("local", "ray", "slurm")
SAMPLERS = ("sobol", "tpe")
PRUNERS = ("forecast", "none")
SETTINGS = ("alpha", "beta", "m", "margin_ratio")  # what a study is about
SET_BY_STUDY = ("alpha", "beta", "m", "warmup_seed", "split_seed", "start_weights")  # fields of each run's TrainConfig


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Settings of a study, checked on creation; introvae-sweep has a flag for each.

    Attributes:
        train: Settings of every run, but for those that are searched, fixed or given by points.
        trials: Number of trials of the whole study, 1 or more, pruned ones included; by default 50, or as many as there
            are points.
        study: Name of the study and its folder; by default that of the data and the image size.
        alpha: Range of alpha that replaces the default one: (low, high) with 0 < low <= high on a log scale, or
            `Linear(low, high)` with 0 <= low <= high and high above 0.
        beta: Range of beta that replaces the one derived from the images, in the form of alpha's.
        m: Range of m in nats, in the form of alpha's, searched in place of the margin ratio.
        margin_ratio: Range of the margin ratio, m over the KL that a VAE reaches, in the form of alpha's.
        fix: Fixed values of alpha, beta, m or margin_ratio, each finite and more than 0.
        search: Ranges of further fields of `train`, or words to choose from, such as {"lr": (1e-4, 1e-3)} or
            {"norm": ("group", "none")}.
        points: Listed settings, which the first trials train.
        like: Folder of an earlier study: ranges are drawn around the best of its settings. These are trained first; but
            TPE learns from its trials if it has trained as this study does.
        sampler: "sobol", for quasi-random settings, or "tpe", for Optuna's sampler that learns from scores.
        pruner: "forecast" or "none"; by default forecast, or none in a study of points only.
        optimize: What to maximize: "score", one of its parts, or weights such as "sharpness=1,diversity=2".
        budget: Steps that all trials together may train after their warm-ups, at least those of one trial; the best
            trial is finished within it.
        hours: Hours, more than 0, that these steps may take all workers, at the speed so far.
        patience: Number of trials, 1 or more, without a better one after which none is begun any more.
        seeds: Number of seeds, 2 or more, over which the best setting is repeated afterwards.
        out: Folder that holds studies.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        engine: "local", "ray" or "slurm": where trials run.
        workers: Number of trials at once, 1 or more; by default one for each core or GPU that there is, on Slurm it
            has to be given.
        address: Address of a Ray cluster, HOST:PORT or "auto".
        gpus_per_trial: GPUs of a Ray cluster for each trial, 0 or more, which may be a fraction.
        slurm: Parameters of submitit for each job, such as {"slurm_partition": "gpu", "gpus_per_node": 1}.
        processes_per_trial: Processes that train each trial together, one GPU each; a divisor of the batch size.
        silence: Seconds, 1 or more, for which a trial's log may not grow, until another attempt at the trial is made.
        keep: Number of best trials, 1 or more, whose checkpoints are kept; None keeps all.
        isolate: Give each trial a process of its own.
        trial_timeout: Seconds, 1 or more, after which a trial is ended as failed; None for no limit.
        quiet: Show only the result, and errors.

    Raises:
        UserError: If a value is out of range, with the value and what is allowed.

    Examples:
        >>> from sweeps import StudyConfig
        >>> StudyConfig(fix={"alpha": 0.25}, search={"lr": (1e-4, 1e-3)}).total
        50
        >>> StudyConfig(trials=0)
        Traceback (most recent call last):
        introvae.errors.UserError: --trials is 0; allowed: 1 or more
    """

    train: TrainConfig = field(default_factory=TrainConfig)
    trials: int | None = None
    study: str | None = None
    alpha: Range | None = None
    beta: Range | None = None
    m: Range | None = None
    margin_ratio: Range | None = None
    fix: Mapping[str, float] = field(default_factory=dict)
    search: Mapping[str, Dimension] = field(default_factory=dict)
    points: Sequence[Point] = ()
    like: Path | None = None
    sampler: str = "sobol"
    pruner: str | None = None
    optimize: str = "score"
    budget: int | None = None
    hours: float | None = None
    patience: int | None = None
    seeds: int | None = None
    out: Path = PREDICTIONS
    device: str = "auto"
    engine: str = "local"
    workers: int | None = None
    address: str | None = None
    gpus_per_trial: float = 0.0
    slurm: Mapping[str, str | int] = field(default_factory=dict)
    processes_per_trial: int = 1
    silence: float = 900.0
    keep: int | None = 5
    isolate: bool = False
    trial_timeout: float | None = None
    quiet: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out))
        object.__setattr__(self, "like", self.like and Path(self.like))
        for name in AT_LEAST_1:
            value = getattr(self, name)
            if value is not None and not value >= 1:
                raise UserError(f"--{name.replace('_', '-')} is {value}; allowed: 1 or more")
        if self.study is not None and (Path(self.study).name != self.study or self.study.startswith(".")):
            raise UserError(f"--study is {self.study!r}; it takes a name for a folder below --out")
        if self.train.objective == "soft":
            raise UserError("--objective is soft, which has no m; a study takes --objective intro")
        if self.seeds is not None and self.seeds < 2:
            raise UserError(f"--seeds is {self.seeds}; allowed: 2 or more")
        if self.hours is not None and not 0 < self.hours < math.inf:
            raise UserError(f"--hours is {self.hours}; allowed: more than 0")
        whole = self.train.steps - self.train.warmup_steps
        if self.budget is not None and self.budget < whole:
            raise UserError(f"--budget is {self.budget}; one trial takes {whole} steps after its warm-up")
        if self.sampler not in SAMPLERS:
            raise UserError(f"--sampler is {self.sampler!r}; allowed: {', '.join(SAMPLERS)}")
        if self.pruner not in (*PRUNERS, None):
            raise UserError(f"--pruner is {self.pruner!r}; allowed: {', '.join(PRUNERS)}")
        _check_engine(self)
        _check_fixed(self)
        _check_searched(self)

    @property
    def total(self) -> int:
        """Number of trials of the whole study."""
        return self.trials or len(self.points) or TRIALS

    @property
    def pruned_by(self) -> str:
        """Name of the pruner, one of PRUNERS."""
        return self.pruner or ("none" if self.points and self.trials is None else "forecast")


def _check_engine(config: StudyConfig) -> None:
    if config.engine not in ENGINES:
        raise UserError(f"--engine is {config.engine!r}; allowed: {', '.join(ENGINES)}")
    if not 0 <= config.gpus_per_trial < math.inf:
        raise UserError(f"--gpus-per-trial is {config.gpus_per_trial}; allowed: 0 or more")
    if config.engine == "ray" and config.address is None:
        raise UserError("--engine ray needs --address HOST:PORT of the cluster, or --address auto on one of its nodes")
    if config.engine == "slurm" and config.workers is None:
        raise UserError("--engine slurm needs --workers N, the number of jobs at once")
    together = config.processes_per_trial
    if together > 1 and (config.train.batch_size % together or config.train.norm == "batch"):
        raise UserError(f"--processes-per-trial is {together}; it takes a divisor of --batch-size, and no --norm batch")
    if together > 1 and ("batch_size" in config.search or "batch" in config.search.get("norm", ())):
        raise UserError(f"--processes-per-trial is {together}; it takes no --search of batch_size or norm batch")
    if together > 1 and config.engine == "local" and (config.workers or 1) > 1:
        raise UserError(f"--processes-per-trial is {together}; it takes --workers 1, or another engine")
    for name, engine in (("address", "ray"), ("gpus_per_trial", "ray"), ("slurm", "slurm")):
        if getattr(config, name) and config.engine != engine:
            raise UserError(f"--{name.replace('_', '-')} is given without --engine {engine}")


def _check_fixed(config: StudyConfig) -> None:
    for name, value in config.fix.items():
        if name not in SETTINGS:
            raise UserError(f"--fix has no {name!r}; it takes {', '.join(SETTINGS)}")
        if not 0 < value < math.inf:
            raise UserError(f"--fix {name} is {value}; allowed: a finite number, more than 0")
        if getattr(config, name, None) is not None:
            raise UserError(f"--fix {name} is {value}, and --{name.replace('_', '-')} gives a range; give one of them")
    ratio = "--fix margin_ratio" if "margin_ratio" in config.fix else config.margin_ratio and "--margin-ratio"
    if ratio and (config.m or "m" in config.fix):
        raise UserError(f"{ratio} has no effect where m is given; give one of them")


def _check_searched(config: StudyConfig) -> None:
    for name in SETTINGS:
        bounds = getattr(config, name)
        if bounds is not None and (wrong := problem(bounds)):
            raise UserError(f"--{name.replace('_', '-')} is {written(bounds)}; {wrong}")
    for name, dimension in config.search.items():
        if name not in SEARCHABLE:
            raise UserError(f"--search has no {name!r}; it takes {', '.join(SEARCHABLE)}")
        kind, given = SEARCHABLE[name], f"--search {name} is {written(dimension)}"
        if is_words(dimension) and kind is not str:
            raise UserError(f"{given}; {name} takes LO:HI or lin:LO:HI")
        if wrong := problem(dimension):
            raise UserError(f"{given}; {wrong}")
        if kind is int and not all(float(end).is_integer() for end in dimension):
            raise UserError(f"{given}; {name} takes whole numbers")
    for values in product(*config.search.values()):
        replace(config.train, **searched(dict(zip(config.search, values, strict=True))))  # which checks the values


FIELDS = tuple(f.name for f in dataclasses.fields(StudyConfig))
