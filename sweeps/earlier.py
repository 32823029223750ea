"""Studies that follow an earlier one: around the best of its settings, or repeats of the best with other seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from analysis.report.runs import Run, read_runs
from introvae.commands.translate import inherited
from introvae.config import NUMBERS_AT_256, TrainConfig
from introvae.errors import UserError
from introvae.runs.folder import read_machine
from introvae.runs.record import RUNGS, RunState, read_record
from sweeps.config import SET_BY_STUDY, SETTINGS, StudyConfig
from sweeps.plan import Setup
from sweeps.points import Point
from sweeps.search.dimensions import Range, searched

BEST = 3  # settings at least, or a tenth of them, that a narrower space is drawn around
WIDER = 1.5  # times beyond them at either end
STATES = {RunState.COMPLETE: TrialState.COMPLETE, RunState.PRUNED: TrialState.PRUNED}


def runs_of(folder: Path) -> list[Run]:
    """Return the runs of an earlier study that are worth comparing, best first: those that came furthest, by score.

    Raises:
        UserError: If the folder holds none.
    """
    runs = [run for run in read_runs(folder) if run.config and run.state in STATES and run.parameters["alpha"] > 0]
    if not runs:
        raise UserError(f"{folder} holds no run with a score; give the folder of a study")
    return sorted(runs, key=lambda run: (run.state is not RunState.COMPLETE, -run.step, -run.scores.score))


def base_of(folder: Path, image_size: int | None) -> dict[str, Any]:
    """Return the settings of an earlier study's training that another one can take over, all but its seed.

    For another image size those that belong to a size are left out as well.

    Args:
        folder: The study's folder.
        image_size: The image size that is asked for, if any.

    Raises:
        UserError: If the folder holds no run that has a score.
    """
    config = runs_of(folder)[0].config
    assert config
    values = config.to_dict() if image_size in (None, config.image_size) else inherited(config)
    return {name: value for name, value in values.items() if name not in (*SET_BY_STUDY, "seed")}


def points_of(runs: Iterable[Run]) -> tuple[Point, ...]:
    """Return the settings of runs, each once: alpha, beta for each number of an image, and m over a VAE's KL.

    Where no VAE's KL has been measured, m is in nats.
    """
    points = []
    for run in runs:
        margin: dict[str, Any] = (
            {"m": run.parameters["m"]} if run.margin_ratio is None else {"margin_ratio": run.margin_ratio}
        )
        points.append(Point(alpha=run.parameters["alpha"], beta_256=run.beta_256, **margin))
    return tuple(dict.fromkeys(points))


def ranges_around(runs: Sequence[Run], channels: int, image_size: int) -> dict[str, Range]:
    """Return ranges of alpha, beta and the margin ratio around the best of some runs, for images of a size."""
    scale = NUMBERS_AT_256 / (channels * image_size**2)
    best = points_of(runs)[: max(BEST, len(runs) // 10)]
    values: dict[str, list[float]] = {
        "alpha": [point.alpha for point in best if point.alpha],
        "beta": [point.beta_256 * scale for point in best if point.beta_256],
        "margin_ratio": [point.margin_ratio for point in best if point.margin_ratio],
    }
    return {name: (min(found) / WIDER, max(found) * WIDER) for name, found in values.items() if found}


def settings_shared(config: TrainConfig, searched: Iterable[str]) -> dict[str, Any]:
    """Return the settings by which runs of two studies can be compared."""
    own = {*SET_BY_STUDY, *searched, "seed"}
    return {name: value for name, value in config.to_dict().items() if name not in own}


def comparable_trials(runs: Iterable[Run], setup: Setup, facts: Mapping[str, int | str]) -> list[FrozenTrial]:
    """Return those of the runs as trials that were trained and valued as the study's, and lie within its space.

    `facts` are those of the study's images: runs that record others were trained on others.
    """
    distributions = setup.space.distributions
    shared = settings_shared(setup.config, distributions)
    trials = []
    for run in runs:
        record = read_record(run.folder)
        assert run.config and record
        values = vars(run.config) | run.parameters | {"margin_ratio": run.margin_ratio}
        params = {name: values[name] for name in distributions}
        within = all(value is not None and _holds(distributions[name], value) for name, value in params.items())
        recorded = read_machine(run.folder)
        same = all(recorded.get(name, fact) == fact for name, fact in facts.items())
        same &= record.weights == setup.weights and settings_shared(run.config, distributions) == shared
        if within and same:
            at_rungs = {int(step): float(score) for step, score in record.measures.get(RUNGS, ())}
            trials.append(create_trial(
                state=STATES[run.state], value=record.optimized, params=params, distributions=distributions,
                intermediate_values=at_rungs,
            ))  # fmt: skip
    return trials


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    return distribution._contains(value)


def repeats_of(config: StudyConfig, setup: Setup, best: FrozenTrial) -> StudyConfig:
    """Return a study beside this one that repeats the setting of its best trial, with seeds from the study's own on.

    A margin ratio stays one: m follows from the warm-up of each seed.
    """
    values = best.params | best.user_attrs.get("point", {})
    given = {name: values.get(name) for name in SETTINGS}
    points = tuple(Point(**given, seed=setup.config.seed + index) for index in range(config.seeds or 0))
    return replace(
        config, train=replace(setup.config, **searched(values)), points=points, trials=None, pruner="none", seeds=None,
        budget=None, hours=None, patience=None,
        study=f"{setup.folder.name}-best-{best.number}", alpha=None, beta=None, m=None, margin_ratio=None,
        fix={}, search={}, like=None,
    )  # fmt: skip
