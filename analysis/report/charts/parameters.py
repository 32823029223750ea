"""Charts of the score over alpha, beta, m and what else was searched."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.report.charts.chart import (
    PARAMETERS,
    SCORE,
    Chart,
    Panel,
    Points,
    collapse_level,
    is_finite,
    series_of,
    with_numbers,
)
from analysis.report.runs import Run
from introvae.runs.record import RunState

FADED = 0.1  # share of the runs that have the lowest color
FEW_TRIALS = 50  # Optuna's PedAnovaImportanceEvaluator asks for 5 trials among the best 10 %
NEAR = 2.0  # factor beyond the smallest and largest beta within which the predicted collapse is still drawn
MOST_FURTHER = 5  # axes of settings beside alpha, beta and m
IMPORTANCE = "Importance of the parameters"


def _ratio(points: Points) -> str:
    """Return the name of m over the measured KL, or over the predicted one where no warm-up has measured any."""
    return "ratio" if any("ratio" in known for _, known in points) else "predictedRatio"


def _colors(points: Points) -> dict[str, Any]:
    """Return the scale of colors by score, of which a few failed runs would take most."""
    scores = [known["score"] for _, known in points]
    return {"label": SCORE, "low": float(np.quantile(scores, FADED)), "high": max(scores)}


def sweep_map(points: Points) -> Chart | None:
    """Chart beta against m/KL, or the predicted one where no warm-up has measured any, colored by score."""
    ratio = _ratio(points)
    shown = with_numbers(points, log=["beta", ratio], linear=["score"])
    if not shown:
        return None
    panel: Panel = {
        "x": PARAMETERS["beta"], "y": f"{PARAMETERS[ratio]}, margin over the KL of a VAE",
        "xLog": True, "yLog": True, "large": True,
        "points": [series_of(shown, "beta", ratio, value="score")],
        "colors": _colors(shown),
    }  # fmt: skip
    caption = f"Each point is a run; select one to open it. {len(shown)} of {len(points)} runs have both numbers."
    limit = next((known["collapse_beta"] for _, known in shown if "collapse_beta" in known), None)
    if limit:
        betas = [known["beta"] for _, known in shown]
        caption += (
            f" Below beta {limit:.3g}, 1 over the largest eigenvalue of the data, every run is predicted to collapse"
        )
        if min(betas) / NEAR <= limit <= max(betas) * NEAR:
            panel["levels"] = [collapse_level(limit)]
            caption += " (dashed line)."
        else:
            caption += f"; that is {'left' if limit < min(betas) else 'right'} of this chart."
    return Chart(name="map", title="Map of the sweep", caption=caption, panels=[panel])


def score_against(points: Points, name: str) -> Chart | None:
    """Chart the score, with its standard error where that is known, against one of PARAMETERS."""
    shown = with_numbers(points, log=[name], linear=["score"])
    if not shown:
        return None
    label = PARAMETERS[name]
    series = series_of(shown, name, "score", error="stderr")
    caption = "Bars: standard error of the score." if any("stderr" in known for _, known in shown) else ""
    panel = {"x": label, "y": SCORE, "xLog": True, "yLog": False, "points": [series]}
    return Chart(name=f"score-{name}", title=f"Score against {label.split(',')[0]}", caption=caption, panels=[panel])


def parallel(points: Points) -> Chart | None:
    """Chart all that differs between runs as axes side by side, with a line for each run, colored by score."""
    ratio = _ratio(points)
    names = {"alpha": "alpha", "beta": "beta", ratio: PARAMETERS[ratio]}
    shown = with_numbers(points, log=list(names), linear=["score"])
    if len(shown) < 2:
        return None
    axes = [
        {"label": label, "log": True, "values": [known[name] for _, known in shown]} for name, label in names.items()
    ]
    axes += _further_settings([run for run, _ in shown])
    axes.append({"label": "score", "log": False, "values": [known["score"] for _, known in shown]})
    panel = {
        "axes": axes, "run": [run.name for run, _ in shown],
        "bold": [run.state is RunState.COMPLETE for run, _ in shown],
        "colors": _colors(shown),
    }  # fmt: skip
    caption = "Each line is a run; select one to open it. Those that came to their end are thicker, the best on top."
    return Chart(name="parallel", title="Settings and score side by side", caption=caption, panels=[panel])


def _further_settings(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return axes of the further numbers among the settings that differ between runs, but for seeds."""
    settings = [run.config.to_dict() if run.config else {} for run in runs]
    found = []
    for name in settings[0].keys() - {"alpha", "beta", "m"}:
        values = [one[name] for one in settings if is_finite(one.get(name))]
        if len(values) == len(runs) and len(set(values)) > 1 and "seed" not in name:
            found.append({"label": name, "log": min(values) > 0, "values": values})
    return sorted(found, key=lambda axis: axis["label"])[:MOST_FURTHER]


def importance(points: Points) -> Chart | None:
    """Chart the importance of alpha, beta and m for reaching the best tenth (PED-ANOVA, Watanabe et al. 2023)."""
    names = ("alpha", "beta", "m")
    used = [known for run, known in with_numbers(points, log=names, linear=["score"]) if run.state.final]
    if len(used) < 2:
        return None
    if len(used) < FEW_TRIALS:
        caption = (
            f"Left out: shares of {len(used)} final scores would be mostly chance. The method (PED-ANOVA) needs 5 in "
            f"the best tenth, that is {FEW_TRIALS} in all; pruned runs do not count, as their scores are early ones."
        )
        return Chart(name="importance", title=IMPORTANCE, caption=caption, panels=[])
    shares = _importances(used, names)
    caption = (
        f"How much each parameter decides which of {len(used)} runs are the best tenth (PED-ANOVA). Pruned runs are "
        "left out, as their scores are early ones. The shares add up to 1 even if nothing matters."
    )
    bars = [{"label": name, "value": shares[name]} for name in names]
    panel = {"x": "share of the importance", "bars": bars}
    return Chart(name="importance", title=IMPORTANCE, caption=caption, panels=[panel])


def _importances(rows: Sequence[Mapping[str, float]], names: Sequence[str]) -> dict[str, float]:
    """Compute Optuna's importances from a study in memory, all parameters on the log scale that sweeps draw from."""
    import optuna  # with its importances, a second that reports without this chart save
    from optuna.distributions import BaseDistribution, FloatDistribution

    usual = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    optuna.logging.set_verbosity(usual)
    columns = {name: [row[name] for row in rows] for name in names}
    ranges: dict[str, BaseDistribution] = {
        name: FloatDistribution(min(values), max(values), log=min(values) > 0) for name, values in columns.items()
    }
    for row in rows:
        params = {name: row[name] for name in names}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=ranges, value=row["score"]))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return optuna.importance.get_param_importances(study, evaluator=evaluator)
