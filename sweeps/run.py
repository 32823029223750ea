"""A study from its configuration to its report."""

import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import optuna
import torch

from analysis.measures.score import weights_of
from analysis.measures.spectrum import eigenvalues
from analysis.report.runs import read_runs
from analysis.report.table import ranked, text_table
from analysis.report.write import CSV, GRID, write_report
from introvae.data.image_set import ImageSet, load_images
from introvae.files import lock
from introvae.runs.folder import CHECKPOINT
from introvae.training.device import find_device
from sweeps.config import SET_BY_STUDY, StudyConfig
from sweeps.plan import Setup
from sweeps.pool import Job, Supervisor, work
from sweeps.search.space import data_space, warmup_beta
from sweeps.seeds import repeats_of, write_spread
from sweeps.study import best_trial, fingerprint
from sweeps.view import View
from sweeps.workers.slots import Stop, missing_slots
from sweeps.workers.watch import Watch, breakdown

BEST_SHOWN = 5


def run_study(config: StudyConfig, stop: Stop = lambda: False, began: float | None = None) -> optuna.Study:
    """Begin a study, or continue one, and write its report once its trials are done, as introvae-sweep does.

    The best setting is then repeated in a second study beside it if `config.seeds` asks for that.

    Args:
        config: What to search, with how many trials, and where.
        stop: Called now and then; once it returns true, running trials write a checkpoint and the call returns. The
            same call continues the study.
        began: time.monotonic() from which the study's time is counted, by default now.

    Returns:
        The study; `trial.user_attrs["slot"]` numbers the run folders of its trials.

    Raises:
        UserError: If the study cannot be run, for example because one of this name has other settings.
        StoppedError: If the database or the disk does not come back, or workers die again and again.

    Example:
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
    watch = Watch(began=began)
    setup = prepare(config)
    with ExitStack() as held:
        if config.storage is None:
            held.enter_context(lock(setup.folder))
        workers = worker_count(config, setup)
        job = Job(setup=setup, config=config, settings=settings(setup, config), workers=workers, watch=watch)
        study = job.study()
        say = partial(print, flush=True) if not config.quiet else lambda line: None
        say(f"study {setup.folder}: {opening(setup, config.total)}")
        if missing := missing_slots(study, config.total):
            if study.trials:
                where = ", from its last checkpoint" if has_checkpoint(setup, missing[0]) else ""
                say(f"continuing with trial {missing[0]}{where}")
            with View(config.total, config.total - len(missing), workers, config.quiet) as view:
                _fill(job, study, stop, view)
        if missing := missing_slots(study, config.total):
            print(f"introvae-sweep: {stopped(setup, config.total, missing)}", file=sys.stderr)
        else:
            summarize(setup, study)
    if config.seeds and not missing:
        _repeat_best(config, setup, study, stop)
    return study


def _repeat_best(config: StudyConfig, setup: Setup, study: optuna.Study, stop: Stop) -> None:
    best = best_trial(study.trials)
    if best is None:
        print("no trial is complete, so there is no best setting to repeat")
        return
    repeats = repeats_of(config, setup, best)
    if not missing_slots(run_study(repeats, stop), repeats.total):
        print(f"\n{write_spread(config.out / str(repeats.study))}")


def prepare(config: StudyConfig) -> Setup:
    """Load the images and settle everything that the trials share."""
    train = config.train
    device = find_device(config.device)
    images = load_images(train.data, train.image_size, train.channels, train.images_seed)
    spectrum = eigenvalues(images.train)
    ranges = {name: getattr(config, name) for name in ("alpha", "beta", "m")}
    ranges |= {name: (value, value) for name, value in config.fix.items()}
    space = data_space(spectrum, train.latent, **ranges, search=config.search)
    latent = int(config.search.get("latent", (train.latent,))[0])
    beta = warmup_beta(space, spectrum, latent) if train.warmup_beta is None else train.warmup_beta
    train = replace(train, channels=images.channels, warmup_beta=beta)
    name = config.study or f"{images.name}-{train.image_size}px"
    points = tuple(point.values(images.channels, train.image_size) for point in config.points)
    return Setup(
        config=train, space=space, images=images, spectrum=spectrum, folder=config.out / name, device=device,
        weights=weights_of(config.optimize), prune=config.pruned_by != "none", points=points,
    )  # fmt: skip


def settings(setup: Setup, config: StudyConfig) -> dict[str, Any]:
    """Return the settings that a study can be continued with, by name."""
    fixed = {name: value for name, value in setup.config.to_dict().items() if name not in SET_BY_STUDY}
    searched = {f"search.{name}": bounds for name, bounds in setup.space.to_dict().items()}
    points = {f"points.{slot}": values for slot, values in enumerate(setup.points)}
    chosen = {"sampler": config.sampler, "pruner": config.pruned_by, "optimize": dict(setup.weights)}
    versions = {"version.torch": torch.__version__.split("+")[0], "version.optuna": optuna.__version__}
    return fixed | searched | points | chosen | versions | {"images": fingerprint(setup.images)}


def worker_count(config: StudyConfig, setup: Setup) -> int:
    """Return the number of workers: as configured, or one for each GPU or CPU thread, but no more than trials."""
    if config.workers:
        return config.workers
    if setup.device.type == "cpu":
        return min(torch.get_num_threads(), config.total)
    every_gpu = setup.device.type == "cuda" and config.device in ("auto", "cuda")
    return min(torch.cuda.device_count(), config.total) if every_gpu else 1


def _fill(job: Job, study: optuna.Study, stop: Stop, view: View) -> None:
    """Train in this process if one is enough: CUDA's errors, a hung trial and --isolate need another one."""
    setup, config = job.setup, job.config
    cpu = setup.device.type != "cuda"
    if job.workers == 1 and cpu and not config.isolate and config.trial_timeout is None:
        job = replace(job, setup=replace(setup, images=setup.images.to(setup.device)))
        job.watch.show = partial(view.show, 0)
        job.filler(stop).fill(job.on_trial)
        return
    if job.workers > 1 and cpu:
        os.environ["OMP_NUM_THREADS"] = "1"  # of the workers
    images = ImageSet(setup.images.name, setup.images.train[:0], setup.images.validation[:0])
    job = replace(job, setup=replace(setup, images=images))
    Supervisor(partial(work, job), study, stop, config.trial_timeout, view.show).supervise(job.workers)


def opening(setup: Setup, trials: int) -> str:
    """Describe the ranges that `trials` trials search, and how many settings are listed."""
    shown = [(name, [f"{end:.3g}" for end in ends]) for name, ends in setup.searched(trials).items()]
    ranges = [f"{name} {low}" if low == high else f"{name} {low} to {high}" for name, (low, high) in shown]
    if listed := min(len(setup.points), trials):
        ranges.append("1 listed setting" if listed == 1 else f"{listed} listed settings")
    return ", ".join(ranges)


def has_checkpoint(setup: Setup, slot: int) -> bool:
    return (setup.run_folder(slot) / CHECKPOINT).exists()


def stopped(setup: Setup, trials: int, missing: list[int]) -> str:
    """Describe how far a study has come, and how to resume it."""
    begun = ", ".join(str(slot) for slot in missing if has_checkpoint(setup, slot))
    where = f", from the checkpoint of trial {begun}" if begun else ""
    return f"stopped; {trials - len(missing)} of {trials} trials are done; rerun the same command to resume{where}"


def summarize(setup: Setup, study: optuna.Study) -> None:
    """Write the report; print the best trials, where their pictures are, where the time went, and what to do next."""
    folder = setup.folder
    runs = ranked(read_runs(folder))
    write_report(folder, runs)
    print(f"\n{text_table(runs[:BEST_SHOWN])}\n")
    print(f"all {len(runs)} runs: {folder / CSV}; pictures of the best and the worst: {folder / GRID}")
    if seconds := breakdown(study):
        print(seconds)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"on disk: {size / 2**20:.0f} MB in {folder}")
    print(f"next: introvae-report {folder.parent}")
