"""Charts over all runs of one data set."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import optuna
import pandas as pd
import seaborn as sns
from matplotlib.colors import Normalize
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.importance import PedAnovaImportanceEvaluator

from analysis.measures.spectrum import predicted_active_units, predicted_kl
from analysis.report.runs import Run
from analysis.report.svg import ACCENT, FAINT, INK, STYLE, Points, by_state, log_scales, new_axes, scatter, shapes, svg

COLOURS = "viridis"  # perceptually uniform, and read alike by colour-blind people
FADED = 0.1  # of the runs share the lowest colour of the map
FEW_TRIALS = 50  # Optuna's PedAnovaImportanceEvaluator asks for 5 trials among the best 10 %
BETAS = 100  # of a curve that is predicted
PARAMETERS = {"alpha": "alpha, amount of GAN", "beta": "beta, weight of the reconstruction", "ratio": "m/KL"}


@dataclass(frozen=True)
class Chart:
    name: str
    title: str
    caption: str
    svg: str
    warning: str = ""


def data_set(run: Run) -> str:
    """The images that a run was trained on: within these, runs are compared."""
    return f"{run.config.data}, {run.config.image_size} px" if run.config else "unknown data"


def numbers(run: Run) -> dict[str, float]:
    """What is known of score, stderr, alpha, beta, m, ratio (m/KL), active_units and KLs, named as in scores.json."""
    values: dict[str, Any] = {"score": run.scores.score, "stderr": run.scores.stderr}
    values |= {name: run.numbers.get(name) for name in ("kl", "predicted_kl", "vae_kl", "collapse_beta")}
    values["active_units"] = run.numbers.get("active_units_0.01")
    values |= run.parameters | {"ratio": run.margin_ratio}
    return {name: float(value) for name, value in values.items() if is_finite(value)}


def is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def charts(runs: Sequence[Run], salt: str = "") -> list[Chart]:
    """The charts that the runs of one data set have the numbers for.

    `salt` keeps identifiers inside the SVGs apart where several data sets share a page.
    """
    points = [(run, numbers(run)) for run in runs]
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": salt}):
        drawn = [
            sweep_map(points),
            *(score_against(points, name) for name in PARAMETERS),
            importance(points),
            prediction(points),
            predicted_against_measured(points),
        ]
    return [chart for chart in drawn if chart]


def sweep_map(points: Points) -> Chart | None:
    """beta against m/KL, coloured by score, a shape for each state."""
    shown = with_numbers(points, "beta", "ratio")
    if not shown:
        return None
    figure, axes = new_axes(5.6, 4.4, "beta, weight of the reconstruction", "m/KL, margin over the KL of a plain VAE")
    scores = [known["score"] for _, known in shown if "score" in known]
    lowest = float(np.quantile(scores, FADED)) if scores else 0.0  # one that failed would take all the colours
    norm = Normalize(lowest, max(scores, default=1.0))
    for same in by_state(shown):
        colours = [
            matplotlib.colormaps[COLOURS](norm(known["score"])) if "score" in known else "none" for _, known in same
        ]
        scatter(axes, same, "beta", "ratio", color=colours, edgecolor=INK, linewidth=0.7, s=52)
    log_scales(axes, "xy")
    if scores:
        bar = figure.colorbar(
            matplotlib.cm.ScalarMappable(norm, COLOURS), ax=axes, label="score, 1 is best", pad=0.02, extend="min"
        )
        if bar.solids:
            bar.solids.set_rasterized(True)
        bar.outline.set_visible(False)
    handles = shapes(shown)
    caption = f"Each point is a run; choose one to open it. {len(shown)} of {len(points)} runs have both numbers."
    beta = next((known["collapse_beta"] for _, known in shown if "collapse_beta" in known), None)
    if beta:
        low, high = axes.get_xlim()
        text = f"Below beta {beta:.2g} everything is predicted to collapse (1 over the largest eigenvalue of the data)"
        if low < beta < high:
            line = axes.axvline(beta, color=INK, linestyle="--", linewidth=1, label="predicted collapse")
            handles.append(line)
            caption += f" {text}: the dashed line."
        else:
            caption += f" {text}, which is {'left' if beta <= low else 'right'} of what is drawn."
    figure.legend(handles=handles, loc="outside lower center", ncols=3, handletextpad=0.4, columnspacing=1.2)
    return Chart("map", "Map of the sweep", caption, svg(figure))


def score_against(points: Points, name: str) -> Chart | None:
    """The score, with its standard error where it is known, against one of PARAMETERS."""
    shown = with_numbers(points, name, "score")
    if not shown:
        return None
    figure, axes = new_axes(4.2, 3.2, PARAMETERS[name], "score, 1 is best")
    bars = [known for _, known in shown if "stderr" in known]
    x, y, error = ([known[key] for known in bars] for key in (name, "score", "stderr"))
    axes.errorbar(x, y, error, fmt="none", ecolor=FAINT, elinewidth=1.2, zorder=1)
    for same in by_state(shown):
        scatter(axes, same, name, "score", color=ACCENT, alpha=0.8, s=26, linewidth=0)
    log_scales(axes, "x")
    figure.legend(handles=shapes(shown), loc="outside lower center", ncols=3, handletextpad=0.4, columnspacing=1.2)
    caption = "Bars: standard error of the score." if bars else ""
    return Chart(f"score-{name}", f"Score against {PARAMETERS[name].split(',')[0]}", caption, svg(figure))


def importance(points: Points) -> Chart | None:
    """The share of alpha, beta and m in reaching the best tenth (PED-ANOVA, Watanabe et al. 2023, arXiv 2304.10255)."""
    names = ("alpha", "beta", "m")
    used = [(run, known) for run, known in with_numbers(points, *names, "score") if run.state.final]
    if len(used) < 2:
        return None
    shares = _importances([known for _, known in used], names)
    figure, axes = new_axes(4.2, 2.4, "share of the importance, sum 1", "")
    bars = axes.barh(names[::-1], [shares[name] for name in names[::-1]], color=ACCENT, height=0.6)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set_xlim(0, 1.12)
    axes.grid(False, axis="y")
    caption = (
        f"What being in the best tenth of {len(used)} runs depends on (PED-ANOVA; without pruned runs, whose scores "
        "are early ones). Shares add to 1 even where nothing matters."
    )
    warning = (
        f"{len(used)} runs are few: the method wants 5 in the best tenth, which takes {FEW_TRIALS}. With fewer runs "
        "these shares are mostly chance."
    )
    few = len(used) < FEW_TRIALS
    return Chart("importance", "Importance of the parameters", caption, svg(figure), warning if few else "")


def _importances(rows: Sequence[Mapping[str, float]], names: Sequence[str]) -> dict[str, float]:
    """Optuna's own, from a study of these rows in memory; every parameter on the log scale that sweeps draw from."""
    usual = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    optuna.logging.set_verbosity(usual)
    columns = {name: [row[name] for row in rows] for name in names}
    ranges: dict[str, BaseDistribution] = {
        name: FloatDistribution(min(values), max(values), log=min(values) > 0) for name, values in columns.items()
    }
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={name: row[name] for name in names}, distributions=ranges, value=row["score"]
            )
            for row in rows
        ]
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Target and region quantiles")  # of too few trials the caption warns
        return optuna.importance.get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())


def prediction(points: Points) -> Chart | None:
    """What the eigenvalues of the training images predict of a VAE at any beta, with what runs have reached."""
    known = next(((run, run.lists["spectrum"]) for run, _ in points if run.lists.get("spectrum")), None)
    shown = with_numbers(points, "beta", "kl")
    if not known or not shown:
        return None
    spectrum, latent = known[1], known[0].config.latent if known[0].config else 0
    ends = [beta for _, values in shown if (beta := values["beta"])] + [1 / known[1][0]]
    betas = np.geomspace(min(ends) / 2, max(ends) * 2, BETAS)
    curves = pd.DataFrame({
        "beta": betas,
        "kl": [predicted_kl(spectrum, beta, latent) for beta in betas],
        "active_units": [predicted_active_units(spectrum, beta, latent) for beta in betas],
    })  # fmt: skip
    figure, both = new_axes(4.2, 4.4, "beta, weight of the reconstruction", "", rows=2)
    for axes, name, label in zip(both, ("kl", "active_units"), ("KL [nats]", "active units"), strict=True):
        sns.lineplot(curves, x="beta", y=name, ax=axes, color=INK, linewidth=1)
        dots = with_numbers(shown, name)
        if dots:
            scatter(axes, dots, "beta", name, marker="o", color=ACCENT, alpha=0.7, s=18, linewidth=0)
        axes.axvline(1 / known[1][0], color=INK, linestyle="--", linewidth=1)
        axes.set_ylabel(label)
        log_scales(axes, "x")
    both[0].set_xlabel("")
    caption = (
        f"Lines: a linear VAE with {latent} latent dimensions, from the covariance of the training images alone. Left "
        "of the dashed line it collapses. Dots: the runs, which the adversarial game takes away from it; their active "
        "units are those whose mean varies by more than 0.01."
    )
    return Chart("prediction", "What the data predict", caption, svg(figure))


def predicted_against_measured(points: Points) -> Chart | None:
    """KL in nats that the data's covariance predicts of a VAE, raw and corrected, against the KL measured."""
    figure, axes = new_axes(4.2, 3.6, "predicted KL [nats]", "measured KL [nats]")
    kinds = {"predicted_kl": ("linear VAE", "none"), "vae_kl": ("corrected by the warm-up", ACCENT)}
    drawn = {name: shown for name in kinds if (shown := with_numbers(points, name, "kl"))}
    if not drawn:
        return None
    for name, shown in drawn.items():
        label, fill = kinds[name]
        scatter(axes, shown, name, "kl", marker="o", color=fill, edgecolor=ACCENT, s=26, label=label)
    log_scales(axes, "xy")
    low, high = (pick(*axes.get_xlim(), *axes.get_ylim()) for pick in (min, max))
    axes.plot([low, high], [low, high], color=INK, linestyle="--", linewidth=1, label="equal", zorder=0)
    axes.set(xlim=(low, high), ylim=(low, high))
    figure.legend(loc="outside lower center", ncols=3, handletextpad=0.4, columnspacing=1.2)
    caption = "On the dashed line a run keeps as much of its images in the code as a plain VAE of the same beta would."
    return Chart("kl", "KL predicted and measured", caption, svg(figure))


def with_numbers(points: Points, *names: str) -> list[tuple[Run, Mapping[str, float]]]:
    """The points that know all of these; those on a log axis must be above 0."""
    return [
        point for point in points if all(name in point[1] and (point[1][name] > 0 or name == "score") for name in names)
    ]
