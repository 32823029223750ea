"""Charts over all runs of one data set, as plain data that the page's scripts draw."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.measures.spectrum import predicted_active_units, predicted_kl
from analysis.report.runs import Run
from introvae.runs.record import RUNGS, RunState

FADED = 0.1  # share of the runs that have the lowest color of the map
FEW_TRIALS = 50  # Optuna's PedAnovaImportanceEvaluator asks for 5 trials among the best 10 %
BETAS = 100  # points of a predicted curve
NEAR = 2.0  # factor beyond the smallest and largest beta within which the predicted collapse is still drawn
PARAMETERS = {"alpha": "alpha, amount of GAN", "beta": "beta, weight of the reconstruction", "ratio": "m/KL",
              "predictedRatio": "m/predicted KL"}  # fmt: skip
SCORE = "validation score, 1 is best"
COMPLETE, OTHERS = "#3b8fd0", "#8c8c8c"  # colors of lines, on white and on black

Panel = dict[str, Any]
Points = Sequence[tuple[Run, Mapping[str, float]]]  # runs, and the numbers that are known of each


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart of the page.

    Attributes:
        name: Its kind; a data set has one chart of each kind at most.
        title: Its heading.
        caption: An explanation to read below it.
        warning: Why not to trust it, or "".
        panels: For each of its panels the argument of `panel` in assets/chart.js: plain values, as JSON holds them.
    """

    name: str
    title: str
    caption: str
    warning: str = ""
    panels: Sequence[Panel]


def data_set(run: Run) -> str:
    """Return the name and size of the images that a run was trained on; charts compare runs of the same images."""
    return f"{run.config.data}, {run.config.image_size} px" if run.config else "unknown data"


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


def charts(runs: Sequence[Run]) -> list[Chart]:
    """Return the charts that the runs of one data set have the numbers for.

    The first of the runs are drawn on top of the others.
    """
    points = [(run, numbers(run)) for run in runs]
    found = [
        _sweep_map(points),
        _rungs(runs),
        *(_score_against(points, name) for name in PARAMETERS),
        _importance(points),
        _predicted_against_measured(points),
        _prediction(points),
    ]
    return [chart for chart in found if chart]


def _sweep_map(points: Points) -> Chart | None:
    """Chart beta against m/KL, or the predicted one where no warm-up has measured any, colored by score."""
    ratio = "ratio" if any("ratio" in known for _, known in points) else "predictedRatio"
    shown = _known(points, log=["beta", ratio], linear=["score"])
    if not shown:
        return None
    scores = [known["score"] for _, known in shown]
    lowest = float(np.quantile(scores, FADED))  # a few failed runs would take most of the colors
    panel: Panel = {
        "x": PARAMETERS["beta"], "y": f"{PARAMETERS[ratio]}, margin over the KL of a VAE",
        "xLog": True, "yLog": True, "large": True,
        "points": [_series(shown, "beta", ratio, value="score")],
        "colors": {"label": SCORE, "low": lowest, "high": max(scores)},
    }  # fmt: skip
    caption = f"Each point is a run; select one to open it. {len(shown)} of {len(points)} runs have both numbers."
    limit = next((known["collapse_beta"] for _, known in shown if "collapse_beta" in known), None)
    if limit:
        betas = [known["beta"] for _, known in shown]
        caption += (
            f" Below beta {limit:.3g}, 1 over the largest eigenvalue of the data, every run is predicted to collapse"
        )
        if min(betas) / NEAR <= limit <= max(betas) * NEAR:
            panel["levels"] = [_collapse(limit)]
            caption += " (dashed line)."
        else:
            caption += f"; that is {'left' if limit < min(betas) else 'right'} of this chart."
    return Chart(name="map", title="Map of the sweep", caption=caption, panels=[panel])


def _rungs(runs: Sequence[Run]) -> Chart | None:
    """Chart the scores at rungs of a study's trials, as far as these were trained."""
    lines, ends = [], dict[str, tuple[float, float]]()
    for run in reversed(runs):  # the best on top
        if known := _scores_by_step(run):
            x, y = zip(*known, strict=True)
            color = COMPLETE if run.state is RunState.COMPLETE else OTHERS
            lines.append({"label": run.name, "x": x, "y": y, "color": color})
            ends[run.name] = known[-1]
    if not lines:
        return None
    points = {"label": "", "run": list(ends), "x": [x for x, _ in ends.values()], "y": [y for _, y in ends.values()]}
    panel = {
        "x": "steps after the warm-up", "y": SCORE, "xLog": True, "yLog": False, "lines": lines, "points": [points],
        "legend": False,
    }  # fmt: skip
    caption = (
        f"Each line is one of {len(lines)} trials, which rests where it ends or has been trained on from there; those "
        "that came to the last step are blue. Scores at rungs are of fewer images."
    )
    return Chart(name="rungs", title="Scores at rungs", caption=caption, panels=[panel])


def _scores_by_step(run: Run) -> list[tuple[float, float]]:
    """Return the scores of a run by its steps after the warm-up, the last one that of its end; none without rungs."""
    rungs, warmup = run.measures.get(RUNGS), run.config.warmup_steps if run.config else 0
    if not isinstance(rungs, list) or not rungs:
        return []
    known = [tuple(pair) for pair in rungs if isinstance(pair, list) and len(pair) == 2 and all(map(is_finite, pair))]
    if run.state is RunState.COMPLETE and is_finite(run.scores.score):
        known.append((run.step, run.scores.score))
    return sorted((step - warmup, score) for step, score in known if step > warmup)


def _score_against(points: Points, name: str) -> Chart | None:
    """Chart the score, with its standard error where that is known, against one of PARAMETERS."""
    shown = _known(points, log=[name], linear=["score"])
    if not shown:
        return None
    label = PARAMETERS[name]
    series = _series(shown, name, "score", error="stderr")
    caption = "Bars: standard error of the score." if any("stderr" in known for _, known in shown) else ""
    panel = {"x": label, "y": SCORE, "xLog": True, "yLog": False, "points": [series]}
    return Chart(name=f"score-{name}", title=f"Score against {label.split(',')[0]}", caption=caption, panels=[panel])


def _importance(points: Points) -> Chart | None:
    """Chart the importance of alpha, beta and m for reaching the best tenth (PED-ANOVA, Watanabe et al. 2023)."""
    names = ("alpha", "beta", "m")
    used = [known for run, known in _known(points, log=names, linear=["score"]) if run.state.final]
    if len(used) < 2:
        return None
    shares = _importances(used, names)
    caption = (
        f"How much each parameter decides which of {len(used)} runs are the best tenth (PED-ANOVA). Pruned runs are "
        "left out, as their scores are early ones. The shares add up to 1 even if nothing matters."
    )
    warning = (
        f"{len(used)} runs are few. The method needs 5 in the best tenth, that is {FEW_TRIALS} in all; with fewer, "
        "these shares are mostly chance."
    )
    panel = {
        "x": "share of the importance",
        "bars": [{"label": name, "value": shares[name]} for name in names],
    }
    few = len(used) < FEW_TRIALS
    return Chart(
        name="importance",
        title="Importance of the parameters",
        caption=caption,
        warning=warning if few else "",
        panels=[panel],
    )


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
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Target and region quantiles")  # the chart warns of too few runs itself
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return optuna.importance.get_param_importances(study, evaluator=evaluator)


def _predicted_against_measured(points: Points) -> Chart | None:
    """Chart the KL predicted of a VAE, from the data alone and corrected by the warm-up, against the measured KL."""
    kinds = {"vae_kl": "corrected by the warm-up", "predicted_kl": "linear VAE"}
    drawn = [
        _series(shown, name, "kl", label)
        for name, label in kinds.items()
        if (shown := _known(points, log=[name, "kl"]))
    ]
    if not drawn:
        return None
    panel = {"x": "predicted KL [nats]", "y": "measured KL [nats]", "xLog": True, "yLog": True, "points": drawn,
             "diagonal": "equal"}  # fmt: skip
    caption = "On the dashed line, a run's code holds as much of its images as a plain VAE's with the same beta."
    return Chart(name="kl", title="Predicted and measured KL", caption=caption, panels=[panel])


def _prediction(points: Points) -> Chart | None:
    """Chart KL and active units: those of runs, and those that the training images predict of a VAE at any beta."""
    known = next(((run.config, run.lists["spectrum"]) for run, _ in points if run.lists.get("spectrum")), None)
    shown = _known(points, log=["beta"], linear=["kl"])
    if not known or known[0] is None or not shown:
        return None
    latent, spectrum = known[0].latent, known[1]
    limit = 1 / spectrum[0]
    ends = [limit, *(values["beta"] for _, values in shown)]
    betas = np.geomspace(min(ends) / 2, max(ends) * 2, BETAS).tolist()
    curves = {
        "kl": ("KL [nats]", [predicted_kl(spectrum, beta, latent) for beta in betas]),
        "active_units": ("active units", [predicted_active_units(spectrum, beta, latent) for beta in betas]),
    }
    panels = [
        {"x": PARAMETERS["beta"], "y": label, "xLog": True, "yLog": False, "levels": [_collapse(limit)],
         "lines": [{"label": "linear VAE", "x": betas, "y": curve}],
         "points": [_series(_known(shown, linear=[name]), "beta", name)], "legend": name == "kl"}
        for name, (label, curve) in curves.items()
    ]  # fmt: skip
    caption = (
        f"Lines: a linear VAE with {latent} latent dimensions, predicted from the covariance of the training images "
        "alone. It collapses left of the dashed line. Points: the runs, which the adversarial game moves away from it. "
        "Their active units are the latent dimensions whose mean varies by more than 0.01."
    )
    return Chart(name="prediction", title="What the data predict", caption=caption, panels=panels)


def _known(points: Points, log: Sequence[str] = (), linear: Sequence[str] = ()) -> Points:
    """Return the points that have the numbers for these axes, those for logarithmic ones above 0."""
    return [
        (run, known)
        for run, known in points
        if all(known.get(name, 0) > 0 for name in log) and all(name in known for name in linear)
    ]


def _series(points: Points, x: str, y: str, label: str = "", **further: str) -> dict[str, Any]:
    """Return the columns of points that chart.js draws, by the names of their numbers; None where one is unknown."""
    columns = {column: [known.get(name) for _, known in points] for column, name in {"x": x, "y": y, **further}.items()}
    return {"label": label, "run": [run.name for run, _ in points], **columns}


def _collapse(beta: float) -> dict[str, Any]:
    return {"label": "predicted collapse", "x": beta}
