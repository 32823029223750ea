"""How much of a setting's score is luck: the best setting of a study again, from the first step, with other seeds."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

from optuna.trial import FrozenTrial

from analysis.report.runs import Run, read_runs
from introvae.files import write_atomically
from introvae.runs.record import PARTS
from sweeps.config import StudyConfig, searched
from sweeps.plan import Setup
from sweeps.points import Point

TEXT = "seeds.txt"


def repeats_of(config: StudyConfig, setup: Setup, best: FrozenTrial) -> StudyConfig:
    """The study of the best trial's setting with the seeds from the study's own on, beside the study.

    A margin ratio stays one: m follows from the warm-up of each seed.
    """
    values = best.params | best.user_attrs.get("point", {})
    given = {name: values.get(name) for name in ("alpha", "beta", "m", "margin_ratio")}
    points = tuple(Point(**given, seed=setup.config.seed + index) for index in range(config.seeds or 0))
    return replace(
        config, train=replace(setup.config, **searched(values)), points=points, trials=None, pruner="none", seeds=None,
        study=f"{setup.folder.name}-best-{best.user_attrs['slot']}", alpha=None, beta=None, m=None, fix={}, search={},
    )  # fmt: skip


def write_spread(folder: Path) -> str:
    """Mean and standard deviation over the runs of a study of repeats, a line each; also kept in its seeds.txt."""
    runs = read_runs(folder)
    rows = {
        name: [value for run in runs if math.isfinite(value := getattr(run.scores, name))] for name in ("score", *PARTS)
    }
    rows["KL in nats"] = [run.numbers["kl"] for run in runs if "kl" in run.numbers]
    text = "\n".join([_states(folder, runs), *(_line(name, values) for name, values in rows.items())])
    write_atomically(folder / TEXT, f"{text}\n".encode())
    return text


def _states(folder: Path, runs: Sequence[Run]) -> str:
    states = [run.state for run in runs]
    return f"{folder.name}, {len(runs)} seeds: " + ", ".join(f"{states.count(s)} {s}" for s in sorted(set(states)))


def _line(name: str, values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{name:16} in {len(values)} of the runs only"
    return f"{name:16} {mean(values):8.4g}  sd {stdev(values):.2g}"
