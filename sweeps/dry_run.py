"""Dry run: what a study would search, train and cost, without beginning it."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

from analysis.measures.spectrum import predicted_active_units, vae_kl, warmup_correction
from introvae.commands.dry_run import in_column, setting_lines
from introvae.config import TrainConfig, differences
from introvae.data.image_set import ImageSet
from introvae.errors import UserError
from introvae.training.cost import epochs, measure, picture_count
from introvae.training.device import find_device, tune_process
from introvae.training.progress import duration
from sweeps.config import FIELDS, StudyConfig
from sweeps.plan import Setup, run_config, trained_warmup
from sweeps.points import Point
from sweeps.run import prepare, settings, worker_count
from sweeps.search.dimensions import Range, is_words, middle, searched, shown
from sweeps.search.promotion import SHARE, Promotion, rungs_of
from sweeps.study import DATABASE, database_errors, missing_trials, open_study, quiet_optuna

DIGITS = 5  # of the number of latent dimensions, at most 65,536
SHOWN_ELSEWHERE = ("train", "trials", "study", "alpha", "beta", "m", "margin_ratio", "fix", "search", "points")


def describe(config: StudyConfig) -> str:
    """Describe space, warm-up, rungs, settings and estimates, a line each; a few steps train in a temporary folder.

    Raises:
        UserError: If the study would raise it.
        DivergedError: If a few steps diverge.
        OutOfMemoryError: If a few steps need more memory than there is.
    """
    setup, images = prepare(config)
    lines = [("study", str(setup.folder)), ("trials", str(config.total)), *_begun(config, setup, images)]
    lines += [*_space(config, setup), *_points(config, setup), *_earlier(setup)]
    lines += [*_training(config, setup), *_cost(config, setup, images)]
    return in_column(lines)


def _begun(config: StudyConfig, setup: Setup, images: ImageSet) -> Iterator[tuple[str, str]]:
    """Tell how far the study has come that would be continued, or why it cannot be."""
    database = setup.folder / DATABASE
    if not database.exists() or not database.stat().st_size:
        return
    with database_errors(setup.folder), quiet_optuna():
        try:
            study = open_study(setup.folder, settings(setup, config, images))
            yield "", f"{config.total - len(missing_trials(study, config.total))} of them done"
        except UserError as error:
            yield "", f"but {error}"


def _space(config: StudyConfig, setup: Setup) -> Iterator[tuple[str, str]]:
    """Show bounds and where they come from, and what follows from the spectrum at both ends of beta."""
    dimensions = setup.searched(config.total)
    ends = [{name: one[end] for name, one in setup.space.dimensions.items()} for end in (0, -1)]
    kind, kls = _kl(setup, min(len(setup.points), config.total - 1), *ends)
    for name, dimension in dimensions.items():
        yield name, f"{shown(dimension, 4)} ({_source(config, name)})"
        if name == "margin_ratio" and "beta" in dimensions:
            low, high = setup.space.margin_ratio
            yield "", f"{kind}m {shown((low * kls[0], high * kls[1]), 3)} nats"
        if name == "beta":
            latents = _latents(setup)
            pairs = zip(setup.space.beta, latents, strict=True)
            few, many = (predicted_active_units(setup.spectrum, beta, latent) for beta, latent in pairs)
            yield "", f"{kind}KL {shown(kls, 3)} nats"
            yield "", f"predicted active units {shown((few, many), DIGITS)} of {shown(latents, DIGITS)}"
            collapse = f"below {1 / setup.spectrum[0].item():.3g}" if len(setup.spectrum) else "at any beta"
            yield "", f"predicted collapse {collapse}"


def _points(config: StudyConfig, setup: Setup) -> Iterator[tuple[str, str]]:
    """Show listed settings, also as they are at 256x256x3, with a VAE's KL and the m that follows from it."""
    for number, values in enumerate(setup.points[: config.total]):
        point = config.points[number] if number < len(config.points) else Point()
        published = {"beta": point.beta_256, "m": point.m_256}
        unscaled = _list({name: value for name, value in published.items() if value is not None})
        text = (_list(values) or "all drawn") + (f" (at 256x256x3: {unscaled})" if unscaled else "")
        if "beta" in values:
            kind, kls = _kl(setup, number, values)
            text += f", {kind}KL {shown(kls, 3)} nats"
            if "margin_ratio" in values:
                low, high = (values["margin_ratio"] * kl for kl in kls)
                text += f", {kind}m {shown((low, high), 3)} nats"
        yield f"trial {number}", text


def _earlier(setup: Setup) -> Iterator[tuple[str, str]]:
    """Show what the sampler knows before the first trial."""
    if setup.earlier:
        yield "known", f"{len(setup.earlier)} trials of the earlier study"


def _kl(setup: Setup, number: int, *settings: Mapping[str, Any]) -> tuple[str, Range]:
    """Return the KLs in nats by which margins of a trial with these settings, and any words, are measured.

    Returns:
        "" if the study's warm-ups have measured all of them, or "predicted ", and the lowest and the highest KL.
    """
    given = {"alpha": 1.0, "latent": _latents(setup)[0]}  # no KL depends on alpha
    configs = [run_config(setup, number, given | dict(one) | words) for one in settings for words in _words(setup)]
    logs = [trained_warmup(setup, config) for config in configs]
    pairs = list(zip(configs, logs, strict=True))
    if all(warmup_correction(config, setup.spectrum, log) is not None for config, log in pairs):
        kind, kls = "", [vae_kl(config, setup.spectrum, log) for config, log in pairs]
    else:
        kind, kls = "predicted ", [vae_kl(config, setup.spectrum, []) for config in configs]
    return kind, (min(kls), max(kls))


def _words(setup: Setup) -> list[dict[str, str]]:
    """Return all combinations of the words that are searched; an empty one where none are."""
    searched = {name: one for name, one in setup.space.search.items() if is_words(one)}
    return [dict(zip(searched, words, strict=True)) for words in product(*searched.values())]


def _list(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def _source(config: StudyConfig, name: str) -> str:
    if name in config.fix:
        return "--fix"
    if name in config.search:
        return "--search"
    if getattr(config, name, None) is not None:
        return f"--{name.replace('_', '-')}"
    if config.like:
        return "--like: around the best of its settings"
    if name != "beta":
        return "default"
    both = " at either end of latent" if "latent" in config.search else ""
    return f"spectrum: low activates a quarter of the units, high is 10 times what activates all{both}"


def _latents(setup: Setup) -> tuple[int, int]:
    latent = setup.config.latent
    low, high = setup.space.search.get("latent", (latent, latent))
    return int(low), int(high)


def _training(config: StudyConfig, setup: Setup) -> Iterator[tuple[str, str]]:
    train = setup.config
    beta = train.warmup_beta or 0.0
    kind, kls = _kl(setup, min(len(setup.points), config.total - 1), {"beta": beta})
    source = "middle of beta's range, at least 10 nats" if config.train.warmup_beta is None else "--warmup-beta"
    steps = f"{train.warmup_steps} steps at beta {beta:.4g} ({source}), {kind}KL {shown(kls, 3)} nats"
    yield "warm-up", steps if train.warmup_steps else "none"
    if train.warmup_steps and kind:
        yield "", "the study corrects predicted KL and m by the KL that its warm-up measures"
    steps = ", ".join(map(str, rungs_of(train)))
    goes = (
        f"{SHARE:.0%} of all steps go to those that promise most"
        if setup.prune
        else "all trials are trained to the end"
    )
    yield "rungs", f"at steps {steps}; {goes}" if steps else "none"
    yield from setting_lines(config.train, differences(_choices(StudyConfig()), _choices(config)))


def _choices(config: StudyConfig) -> Mapping[str, Any]:
    values = {name: getattr(config, name) for name in FIELDS if name not in SHOWN_ELSEWHERE}
    return {name: str(value) for name, value in values.items() if value is not None}


def _cost(config: StudyConfig, setup: Setup, images: ImageSet) -> Iterator[tuple[str, str]]:
    """Show steps, images, time and disk: at most, and if all that are promoted past a rung reach the next."""
    train, device, repeats = _middle(setup), find_device(config.device), config.seeds or 0
    workers = worker_count(config, device)
    tune_process(device)  # as workers do
    cost = measure(train, images, device, 1 if workers > 1 and device.type == "cpu" else None, config.quiet)
    whole = train.steps - train.warmup_steps
    passed = rungs_of(train) if setup.prune else ()
    expected = Promotion(train.warmup_steps, passed, train.steps).steps(config.total)
    own = _warmups(setup, config.total)
    warmups = own + (repeats if own else 0)
    limit = config.budget or math.inf
    steps = [round(min(after, limit) + repeats * whole) for after in (config.total * whole, expected)]
    before = warmups * train.warmup_steps
    of = "1 warm-up" if warmups == 1 else f"{warmups} warm-ups"
    yield "steps", f"{before + steps[0]:,} at most, {before + steps[1]:,} expected, {before:,} of them in {of}"
    seen = [(before + after) * train.batch_size for after in steps]
    run = epochs(train.steps, train.batch_size, len(images.train))
    yield "images", f"{seen[0]:,} at most, {seen[1]:,} expected; a whole run sees {run}"
    seconds = [before * cost.warmup_step / min(own or 1, workers) + after * cost.step / workers for after in steps]
    times = f"{duration(seconds[0])} at most, {duration(seconds[1])} expected, scores aside"
    yield "time", f"{times}; {cost.speed(before > 0)}, workers: {workers}"
    trials = config.total + repeats
    kept = trials if config.keep is None else min(config.keep, config.total) + min(config.keep, repeats)
    yield "disk", cost.disk(2 * (kept + warmups), trials * picture_count(train, train.warmup_steps))


def _warmups(setup: Setup, trials: int) -> int:
    """Count the warm-ups of a study at most: for each seed one for all words that share it.

    There is one for each trial where a searched range changes it.
    """
    config = setup.config
    if not config.warmup_steps:
        return 0

    def different(values: Iterable[Mapping[str, Any]]) -> int:
        return len({setup.warmup_folder(replace(config, **searched(one))) for one in values})

    ranges = [(name, one) for name, one in setup.space.search.items() if not is_words(one)]
    if any(different({name: end} for end in one) > 1 for name, one in ranges):
        return trials
    kinds = different(_words(setup))
    seeds = Counter(point.get("seed", config.seed) for point in setup.points[:trials])
    seeds[config.seed] += max(0, trials - len(setup.points))
    return sum(min(count, kinds) for count in seeds.values())


def _middle(setup: Setup) -> TrainConfig:
    """Return the settings of a run in the middle of the space, with the first of words."""
    dimensions = setup.space.dimensions.items()
    values: dict[str, Any] = {name: one[0] if is_words(one) else middle(one) for name, one in dimensions}
    given = {name: values[name] for name in ("alpha", "beta", "m") if name in values}
    return replace(setup.config, **given, **searched(values))
