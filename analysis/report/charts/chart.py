"""Charts as plain data that the page's scripts draw, and the numbers of the runs that they show."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.report.runs import Run
from introvae.runs.schema import LARGEST, LEAST

PARAMETERS = {
    "alpha": "alpha, weight of the adversarial terms",
    "beta": "beta, weight of the reconstruction",
    "ratio": "m/KL",
    "predictedRatio": "m/predicted KL",
}
SCORE = "validation score, 1 is best"

Panel = dict[str, Any]
Points = Sequence[tuple[Run, Mapping[str, float]]]  # runs, and the numbers that are known of each


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart of the page.

    Attributes:
        name: Its kind; a study has one chart of each kind at most.
        title: Its heading.
        caption: An explanation to read below it.
        panels: For each of its panels the argument of `panel` in assets/chart.js: plain values, as JSON holds them.
    """

    name: str
    title: str
    caption: str
    panels: Sequence[Panel]


def data_set(run: Run) -> str:
    """Return the name and size of the images that a run was trained on."""
    return f"{run.config.data}, {run.config.image_size} px" if run.config else "unknown data"


def study(run: Run) -> tuple[str, str]:
    """Return the data set of a run and the folder that it lies in: charts and repeats compare runs of the same."""
    return data_set(run), str(run.folder.parent)


def numbers(run: Run) -> dict[str, float]:
    """Return the finite ones of score, stderr, alpha, beta, m, the ratios, active_units and the KLs of a run.

    The ratios are those of m to the KL that a VAE reaches, "ratio", or to the predicted one, "predictedRatio".
    """
    values: dict[str, Any] = {"score": run.scores.score, "stderr": run.scores.stderr}
    values |= {name: run.numbers.get(name) for name in ("kl", "predicted_kl", "vae_kl", "collapse_beta")}
    values["active_units"] = run.numbers.get("active_units_0.01")
    values |= run.parameters | {"ratio": run.margin_ratio, "predictedRatio": run.predicted_margin_ratio}
    return {name: float(value) for name, value in values.items() if is_finite(value)}


def is_finite(value: Any) -> bool:
    """Tell whether a value is a finite number."""
    return type(value) in (int, float) and math.isfinite(value)


def with_numbers(points: Points, log: Sequence[str] = (), linear: Sequence[str] = ()) -> Points:
    """Return the points that have the numbers for these axes, those for logarithmic ones above 0 and of a size."""
    return [
        (run, known)
        for run, known in points
        if all(LEAST <= known.get(name, 0) <= LARGEST for name in log) and all(name in known for name in linear)
    ]


def series_of(points: Points, x: str, y: str, label: str = "", **further: str) -> dict[str, Any]:
    """Return the columns of points that chart.js draws, by the names of their numbers; None where one is unknown."""
    columns = {column: [known.get(name) for _, known in points] for column, name in {"x": x, "y": y, **further}.items()}
    return {"label": label, "run": [run.name for run, _ in points], **columns}


def collapse_level(beta: float) -> dict[str, Any]:
    return {"label": "predicted collapse", "x": beta}
