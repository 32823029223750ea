"""Repeats of a study's best setting with other seeds, which tell how much of its score is luck."""

from dataclasses import replace

from optuna.trial import FrozenTrial

from sweeps.config import SETTINGS, StudyConfig
from sweeps.plan import Setup
from sweeps.points import Point
from sweeps.search.dimensions import searched


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
        study=f"{setup.folder.name}-best-{best.number}", alpha=None, beta=None, m=None, fix={}, search={},
    )  # fmt: skip
