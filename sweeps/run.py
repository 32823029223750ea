"""A study from its configuration to its report: what introvae-sweep does, as a function."""

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
from sweeps.config import StudyConfig
from sweeps.disk import megabytes
from sweeps.plan import Setup
from sweeps.pool import Job, Supervisor, work
from sweeps.search.space import data_space, rounded, warmup_beta
from sweeps.seeds import repeats_of, write_spread
from sweeps.study import best_trial, fingerprint
from sweeps.view import View
from sweeps.workers.slots import Stop, missing_slots
from sweeps.workers.watch import Watch, breakdown

SEARCHED = ("alpha", "beta", "m", "warmup_seed", "split_seed", "start_weights")  # which a study sets for its runs
BEST_SHOWN = 5


def run_study(config: StudyConfig, stop: Stop = lambda: False, began: float | None = None) -> optuna.Study:
    """Begin a study or continue it until its trials are done, and write its report: what introvae-sweep does.

    With `seeds` a second study beside it then repeats the best setting.

    `stop` is asked again and again; once it is true, running trials write a checkpoint and the study returns as it
    is. The same call continues it. `began` is the time.monotonic() from which its time is counted. Raises UserError
    for what cannot be, StoppedError for a database or disk that does not come back.
    """
    watch = Watch(began=began)
    setup = prepare(config)
    with ExitStack() as held:
        if config.storage is None:
            held.enter_context(lock(setup.folder))
        job = Job(
            setup=setup, settings=settings(setup, config), trials=config.total,
            keep=config.keep, url=config.storage, grace=config.grace, workers=worker_count(config, setup),
            isolate=config.isolate, watch=watch,
        )  # fmt: skip
        study = job.study()
        say = partial(print, flush=True) if not config.quiet else lambda line: None
        say(f"study {setup.folder}: {opening(setup, config.total)}")
        if missing := missing_slots(study, config.total):
            if study.trials:
                where = ", from its last checkpoint" if has_checkpoint(setup, missing[0]) else ""
                say(f"continuing with trial {missing[0]}{where}")
            with View(config.total, config.total - len(missing), job.workers, config.quiet) as view:
                _fill(job, study, stop, config.trial_timeout, view)
        if missing := missing_slots(study, config.total):
            print(f"introvae-sweep: {stopped(setup, config.total, missing)}", file=sys.stderr)
        else:
            summarize(setup, config, study)
    if config.seeds and not missing:
        _repeat_best(config, setup, study, stop)
    return study


def _repeat_best(config: StudyConfig, setup: Setup, study: optuna.Study, stop: Stop) -> None:
    best = best_trial(study.trials)
    if best is None:
        print("no trial is complete, so that there is no best setting to repeat")
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
    space = replace(space, beta=(rounded(space.beta[0]), rounded(space.beta[1])))
    latent = int(config.search.get("latent", (train.latent,))[0])
    beta = rounded(warmup_beta(space, spectrum, latent)) if train.warmup_beta is None else train.warmup_beta
    train = replace(train, channels=images.channels, warmup_beta=beta)
    name = config.study or f"{images.name}-{train.image_size}px"
    points = tuple(point.values(images.channels, train.image_size) for point in config.points)
    return Setup(
        config=train, space=space, images=images, spectrum=spectrum, folder=config.out / name, device=device,
        weights=weights_of(config.optimize), prune=config.pruned_by != "none", points=points,
    )  # fmt: skip


def settings(setup: Setup, config: StudyConfig) -> dict[str, Any]:
    """What a study is asked to be continued with."""
    fixed = {name: value for name, value in setup.config.to_dict().items() if name not in SEARCHED}
    searched = {f"search.{name}": bounds for name, bounds in setup.space.to_dict().items()}
    points = {f"points.{slot}": values for slot, values in enumerate(setup.points)}
    chosen = {"sampler": config.sampler, "pruner": config.pruned_by, "optimize": dict(setup.weights)}
    versions = {"version.torch": torch.__version__.split("+")[0], "version.optuna": optuna.__version__}
    return fixed | searched | points | chosen | versions | {"images": fingerprint(setup.images)}


def worker_count(config: StudyConfig, setup: Setup) -> int:
    """As asked for; else one for each GPU, or for each thread that PyTorch would use on a CPU, at most one a trial."""
    if config.workers:
        return config.workers
    if setup.device.type == "cpu":
        return min(torch.get_num_threads(), config.total)
    every_gpu = setup.device.type == "cuda" and config.device in ("auto", "cuda")
    return min(torch.cuda.device_count(), config.total) if every_gpu else 1


def _fill(job: Job, study: optuna.Study, stop: Stop, timeout: float | None, view: View) -> None:
    """Train in this process if one is enough: CUDA's errors, a hung trial and --isolate take another one."""
    setup = job.setup
    cpu = setup.device.type != "cuda"
    if job.workers == 1 and cpu and not job.isolate and timeout is None:
        job = replace(job, setup=replace(setup, images=setup.images.to(setup.device)))
        job.watch.show = partial(view.show, 0)
        job.filler(stop).fill(job.on_trial)
        return
    if job.workers > 1 and cpu:
        os.environ["OMP_NUM_THREADS"] = "1"  # of the workers
    images = ImageSet(setup.images.name, setup.images.train[:0], setup.images.validation[:0])
    job = replace(job, setup=replace(setup, images=images))
    Supervisor(partial(work, job), study, stop, timeout, view.show).supervise(job.workers)


def opening(setup: Setup, trials: int) -> str:
    """What so many trials search, and how many settings are listed."""
    shown = [(name, [f"{end:.3g}" for end in ends]) for name, ends in setup.searched(trials).items()]
    ranges = [f"{name} {low}" if low == high else f"{name} {low} to {high}" for name, (low, high) in shown]
    if listed := min(len(setup.points), trials):
        ranges.append("1 listed setting" if listed == 1 else f"{listed} listed settings")
    return ", ".join(ranges)


def has_checkpoint(setup: Setup, slot: int) -> bool:
    return (setup.run_folder(slot) / CHECKPOINT).exists()


def stopped(setup: Setup, trials: int, missing: list[int]) -> str:
    """How far a study has come, and how it goes on."""
    begun = ", ".join(str(slot) for slot in missing if has_checkpoint(setup, slot))
    where = f", from the checkpoint of trial {begun}" if begun else ""
    return f"stopped; {trials - len(missing)} of {trials} trials are done; rerun the same command to resume{where}"


def summarize(setup: Setup, config: StudyConfig, study: optuna.Study) -> None:
    """The best trials, where the pictures are, where the time went, and what to type next."""
    folder = setup.folder
    runs = ranked(read_runs(folder))
    write_report(folder, runs)
    print(f"\n{text_table(runs[:BEST_SHOWN])}\n")
    print(f"all {len(runs)} runs: {folder / CSV}; pictures of the best and the worst: {folder / GRID}")
    if seconds := breakdown(study):
        print(seconds)
    print(f"on disk: {megabytes(folder):.0f} MB in {folder}")
    print(f"next: introvae-report {config.out}")
