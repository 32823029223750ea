"""Repeats of a study's best setting with other seeds, which tell how much of its score is luck."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from optuna.trial import FrozenTrial

from analysis.report.repeats import Spread
from analysis.report.runs import read_runs
from introvae.files import write_atomically
from introvae.runs.record import PARTS
from sweeps.config import SETTINGS, StudyConfig, searched
from sweeps.plan import Setup
from sweeps.points import Point

TEXT = "seeds.txt"


def repeats_of(config: StudyConfig, setup: Setup, best: FrozenTrial) -> StudyConfig:
    """Return a study beside this one that repeats the setting of its best trial, with seeds from the study's own on.

    A margin ratio stays one: m follows from the warm-up of each seed.
    """
    values = best.params | best.user_attrs.get("point", {})
    given = {name: values.get(name) for name in SETTINGS}
    points = tuple(Point(**given, seed=setup.config.seed + index) for index in range(config.seeds or 0))
    return replace(
        config, train=replace(setup.config, **searched(values)), points=points, trials=None, pruner="none", seeds=None,
        study=f"{setup.folder.name}-best-{best.number}", alpha=None, beta=None, m=None, fix={}, search={},
    )  # fmt: skip


def write_spread(folder: Path) -> str:
    """Write seeds.txt, with mean and standard deviation over the runs of a study of repeats, and return its text."""
    runs = read_runs(folder)
    states = Counter(run.state for run in runs)
    lines = [f"{folder.name}, {len(runs)} seeds: " + ", ".join(f"{states[state]} {state}" for state in sorted(states))]
    for name in ("score", *PARTS):
        lines.append(_line(name, [getattr(run.scores, name) for run in runs]))
    lines.append(_line("KL in nats", [run.numbers.get("kl", math.nan) for run in runs]))
    text = "\n".join(lines)
    write_atomically(folder / TEXT, f"{text}\n".encode())
    return text


def _line(name: str, values: Sequence[float]) -> str:
    known = [value for value in values if math.isfinite(value)]
    if len(known) < 2:
        return f"{name:16} in {len(known)} of the runs only"
    spread = Spread.of(known)
    return f"{name:16} {spread.mean:8.4g}  sd {spread.deviation:.2g}"
