"""A study from its configuration to its report."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import optuna
import torch

from analysis.measures.score import weights_of
from analysis.measures.spectrum import eigenvalues
from analysis.report.card import card
from analysis.report.repeats import repeats, repeats_text
from analysis.report.runs import Run, read_runs
from analysis.report.table import ranked, text_table
from analysis.report.write import CSV, GRID, write_report
from introvae.data.image_set import ImageSet, check_apart, load_images
from introvae.errors import UserError
from introvae.files import folder_name, lock
from introvae.runs.folder import CHECKPOINT
from introvae.training.device import find_device
from sweeps.config import SET_BY_STUDY, StudyConfig
from sweeps.driver import Callback, Driver, Stop
from sweeps.earlier import BEST, comparable_trials, points_of, ranges_around, repeats_of, runs_of
from sweeps.engines.base import Engine
from sweeps.engines.clusters import RayEngine, SlurmEngine
from sweeps.engines.local import InlineEngine, LocalEngine
from sweeps.plan import Setup
from sweeps.search.dimensions import shown
from sweeps.search.samplers import NumberedSampler
from sweeps.search.space import data_space, warmup_beta
from sweeps.study import best_trial, database_errors, missing_trials, open_study, quiet_optuna
from sweeps.tasks.outcome import FINISHED
from sweeps.tasks.task import Worker
from sweeps.view import View

BEST_SHOWN = 5


def run_study(config: StudyConfig, stop: Stop = lambda: False, callbacks: Sequence[Callback] = ()) -> optuna.Study:
    """Begin a study, or continue one, and write its report once its trials are done, as introvae-sweep does.

    The best setting is then repeated in a second study beside it if `config.seeds` asks for that.

    Args:
        config: What to search, with how many trials, and where.
        stop: Called now and then; once it returns true, running trials write a checkpoint and the call returns. The
            same call continues the study.
        callbacks: Called in this process with the study and each trial when it has ended. An error in one ends the
            study, which the same call continues; what is to end it in order is `stop`, not `study.stop()`.

    Returns:
        The study; the run folder of its trial 0 is trial-000, and so on.

    Raises:
        TypeError: If one of `callbacks` cannot be called.
        UserError: If the study cannot be run, for example because one of this name has other settings.
        StoppedError: If the study's database cannot be used, or workers die again and again.

    Examples:
        >>> from introvae import TrainConfig
        >>> from sweeps import StudyConfig, run_study
        >>> train = TrainConfig(
        ...     image_size=16, latent=8, widths=(8, 8), steps=20, warmup_steps=8, batch_size=8, log_every=2,
        ...     checkpoint_every=4, picture_every=20,
        ... )
        >>> config = StudyConfig(train=train, trials=2, workers=1, quiet=True, device="cpu", out="predictions")
        >>> study = run_study(config)  # prints its best runs
        <BLANKLINE>
        run ...
        >>> len(study.trials)
        2
    """
    if not all(map(callable, callbacks)):
        raise TypeError("callbacks are functions of a study and a trial")
    study, setup, done = _fill(config, stop, callbacks)
    if not done:
        return study
    best, seeds = best_trial(study.trials), list[Run]()
    if config.seeds and best is None:
        print("no trial is complete, so there is no best setting to repeat")
    elif config.seeds and best:
        _, again, done = _fill(repeats_of(config, setup, best), stop, callbacks)
        seeds = read_runs(again.folder)
    if done and (winner := card(setup.folder, read_runs(setup.folder), seeds, searched=list(config.search))):
        print(f"\n{winner}")
    return study


def _fill(config: StudyConfig, stop: Stop, callbacks: Sequence[Callback]) -> tuple[optuna.Study, Setup, bool]:
    """Run the trials of a study, and write its report if all have ended; return whether they have."""
    setup, images = prepare(config)
    with lock(setup.folder), database_errors(setup.folder), quiet_optuna():
        space = setup.space.distributions
        sampler = NumberedSampler(setup.config.seed, config.sampler, space, setup.points, setup.earlier)
        study = open_study(setup.folder, settings(setup, config, images), sampler)
        say = partial(print, flush=True) if not config.quiet else lambda line: None
        say(f"study {setup.folder}: {opening(setup, config.total)}")
        check_folders(setup, study)
        done = True
        if missing := missing_trials(study, config.total):
            if study.trials:
                where = ", from its last checkpoint" if has_checkpoint(setup, missing[0]) else ""
                say(f"continuing with trial {missing[0]}{where}")
            engine = make_engine(config, setup, images)
            with View(engine.capacity, config.quiet) as view:
                done = Driver(setup, config, study, view, engine, stop, callbacks).fill()
            missing = missing_trials(study, config.total)
        if missing and done:
            say(f"ended after {config.total - len(missing)} of {config.total} trials, by {limits(config)}")
        if done or not missing:
            summarize(setup)
        else:
            print(f"introvae-sweep: {stopped(setup, config.total, missing)}", file=sys.stderr)
    return study, setup, done or not missing


def prepare(config: StudyConfig) -> tuple[Setup, ImageSet]:
    """Settle everything that the trials share, and load their images."""
    train = config.train
    images = load_images(**train.images)
    spectrum = eigenvalues(images.train)
    runs = runs_of(config.like) if config.like else []
    ranges = {name: getattr(config, name) for name in ("alpha", "beta", "m", "margin_ratio")}
    ranges |= {name: (value, value) for name, value in config.fix.items()}
    around = ranges_around(runs, images.channels, train.image_size) if runs else {}
    ranges |= {name: found for name, found in around.items() if not ranges[name]}
    space = data_space(spectrum, train.latent, **ranges, search=config.search)
    latent = int(config.search.get("latent", (train.latent,))[0])
    beta = warmup_beta(space, spectrum, latent) if train.warmup_beta is None else train.warmup_beta
    train = replace(train, channels=images.channels, warmup_beta=beta)
    name = config.study or f"{folder_name(images.name)}-{train.image_size}px"
    if config.like and not config.study and (config.out / name).resolve() == config.like.resolve():
        name += "-again"
    check_apart(config.out / name, train.images)
    setup = Setup(
        config=train, space=space, spectrum=spectrum, folder=config.out / name, weights=weights_of(config.optimize),
        prune=config.pruned_by != "none", images=images.fingerprint,
    )  # fmt: skip
    earlier = comparable_trials(runs, setup, images.facts) if config.sampler == "tpe" else []
    points = [*config.points, *(() if earlier else points_of(runs)[:BEST])]
    values = tuple(point.values(images.channels, train.image_size) for point in points)
    return replace(setup, points=values, earlier=earlier), images


def settings(setup: Setup, config: StudyConfig, images: ImageSet) -> dict[str, Any]:
    """Return the settings that a study can be continued with, by name."""
    fixed = {name: value for name, value in setup.config.to_dict().items() if name not in SET_BY_STUDY}
    searched = {f"search.{name}": bounds for name, bounds in setup.space.to_dict().items()}
    points = {f"points.{number}": values for number, values in enumerate(setup.points)}
    chosen: dict[str, Any] = {"sampler": config.sampler, "pruner": config.pruned_by, "optimize": dict(setup.weights)}
    versions = {"version.torch": torch.__version__.split("+")[0], "version.optuna": optuna.__version__}
    if config.like:
        chosen["known"] = len(setup.earlier)
    return fixed | searched | points | chosen | versions | {"images": images.fingerprint}


def worker_count(config: StudyConfig, device: torch.device) -> int:
    """Return the number of workers here: as configured, or one for each GPU or CPU thread, but no more than trials."""
    if config.workers or config.processes_per_trial > 1:
        return config.workers or 1
    if device.type == "cpu":
        return min(torch.get_num_threads(), config.total)
    every_gpu = device.type == "cuda" and config.device in ("auto", "cuda")
    return min(torch.cuda.device_count(), config.total) if every_gpu else 1


def make_engine(config: StudyConfig, setup: Setup, images: ImageSet) -> Engine:
    """Return the engine that a study asks for; one worker on a CPU mostly needs no process."""
    if config.engine == "ray":
        return RayEngine(config.address or "auto", config.workers, config.gpus_per_trial)
    if config.engine == "slurm":
        return SlurmEngine(setup.folder / ".slurm", config.workers or 1, config.slurm)
    device = find_device(config.device)
    workers = worker_count(config, device)
    apart = config.isolate or config.trial_timeout is not None or config.processes_per_trial > 1
    if workers == 1 and device.type != "cuda" and not apart:
        return InlineEngine(Worker(images=images.to(device)))
    names = [str(device)] * workers
    if device.type == "cuda" and config.processes_per_trial > 1:
        names = ["cuda"]  # torchrun gives each of its processes one
    elif device.type == "cuda" and config.device in ("auto", "cuda"):
        names = [f"cuda:{worker % torch.cuda.device_count()}" for worker in range(workers)]
    return LocalEngine(names, 1 if workers > 1 and device.type == "cpu" else None)


def opening(setup: Setup, trials: int) -> str:
    """Describe the dimensions that `trials` trials search, and how many settings are listed."""
    said = [f"{name} {shown(dimension, 3)}" for name, dimension in setup.searched(trials).items()]
    if listed := min(len(setup.points), trials):
        said.append("1 listed setting" if listed == 1 else f"{listed} listed settings")
    if setup.earlier:
        said.append(f"{len(setup.earlier)} trials known from the earlier study")
    return ", ".join(said)


def limits(config: StudyConfig) -> str:
    """Describe what may end a study before all trials are done."""
    limited = {name: getattr(config, name) for name in ("budget", "hours", "patience")}
    return ", ".join(f"--{name} {value:.15g}" for name, value in limited.items() if value is not None)


def check_folders(setup: Setup, study: optuna.Study) -> None:
    """Say which trials that have ended lack their folders.

    Raises:
        UserError: If all do.
    """
    ended = study.get_trials(deepcopy=False, states=FINISHED)
    gone = [trial.number for trial in ended if not setup.run_folder(trial.number).exists()]
    if gone and len(gone) == len(ended):
        raise UserError(f"the folders of all trials of {setup.folder} are gone; --study NEW begins another study")
    if gone:
        numbers = ", ".join(map(str, gone))
        print(f"the folders of trials {numbers} are gone: the report goes without them", file=sys.stderr)


def has_checkpoint(setup: Setup, number: int) -> bool:
    return (setup.run_folder(number) / CHECKPOINT).exists()


def stopped(setup: Setup, trials: int, missing: list[int]) -> str:
    """Describe how far a study has come, and how to resume it."""
    begun = ", ".join(str(number) for number in missing if has_checkpoint(setup, number))
    where = f", from the checkpoint of trial {begun}" if begun else ""
    return f"stopped; {trials - len(missing)} of {trials} trials are done; rerun the same command to resume{where}"


def summarize(setup: Setup) -> None:
    """Write the report; print the best trials, where their pictures are, and what to do next."""
    folder = setup.folder
    runs = ranked(read_runs(folder))
    write_report(folder, runs)
    print(f"\n{text_table(runs[:BEST_SHOWN])}\n")
    if found := repeats(runs):
        print(f"{repeats_text(found)}\n")
    print(f"all {len(runs)} runs: {folder / CSV}; pictures of the best and the worst: {folder / GRID}")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"on disk: {size / 2**20:.0f} MB in {folder}")
    print(f"next: introvae-report {folder.parent}")
