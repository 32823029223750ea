"""Charts over all runs of one data set, as SVG that stands inside a page in light and in dark."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import matplotlib
import numpy as np
import optuna
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import PathCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter
from optuna.distributions import FloatDistribution
from optuna.importance import PedAnovaImportanceEvaluator

from analysis.runs import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = {"complete": "o", "pruned": "s", "collapsed": "X", "diverged": "^", "running": "D"}
OTHER_MARKER = "P"
COLOURS = "viridis"  # perceptually uniform, and read alike by colour-blind people
FINAL = ("complete", "collapsed", "diverged")  # a pruned run's score was taken earlier in its training
FEW_TRIALS = 50  # Optuna's PedAnovaImportanceEvaluator asks for 5 trials among the best 10 %
PARAMETERS = {"alpha": "alpha, amount of GAN", "beta": "beta, weight of the reconstruction", "ratio": "m/KL"}

# Stand-ins: the page's own colours take their place, so that one figure serves light and dark.
INK, FAINT, ACCENT = "#010203", "#010204", "#010205"
PAGE_COLOURS = {INK: "currentColor", FAINT: "var(--line)", ACCENT: "var(--accent)"}
STYLE: dict[str, Any] = {
    "font.size": 10, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": FAINT,
    "grid.linewidth": 0.6, "axes.axisbelow": True, "axes.facecolor": "none", "figure.facecolor": "none",
    "legend.frameon": False, "legend.fontsize": 9, "svg.fonttype": "none",  # the page's own font, and text that can be read aloud
}  # fmt: skip

Points = Sequence[tuple[Run, Mapping[str, float]]]


@dataclass(frozen=True)
class Chart:
    name: str
    title: str
    caption: str
    svg: str


def data_set(run: Run) -> str:
    """The images that a run was trained on: within these, runs are compared."""
    return f"{run.config['data']}, {run.config['image_size']} px" if run.config else "unknown data"


def numbers(run: Run) -> dict[str, float]:
    """Those known of score, stderr, alpha, beta, m, ratio (m/KL), kl, predicted_kl, vae_kl and collapse_beta."""
    values: dict[str, Any] = {name: run.scores.get(name) for name in ("score", "stderr")}
    values |= {name: run.numbers.get(name) for name in ("kl", "predicted_kl", "vae_kl", "collapse_beta")}
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
            predicted_against_measured(points),
        ]
    return [chart for chart in drawn if chart]


def sweep_map(points: Points) -> Chart | None:
    """beta against m/KL, coloured by score, a shape for each state."""
    shown = _with(points, "beta", "ratio")
    if not shown:
        return None
    figure, axes = _axes(6.0, 4.6, "beta, weight of the reconstruction", "m/KL, margin over the KL of a plain VAE")
    scores = [known["score"] for _, known in shown if "score" in known]
    norm = Normalize(min(scores, default=0), max(scores, default=1))
    for same in _by_state(shown):
        colours = [
            matplotlib.colormaps[COLOURS](norm(known["score"])) if "score" in known else "none" for _, known in same
        ]
        _scatter(axes, same, "beta", "ratio", color=colours, edgecolor=INK, linewidth=0.7, s=52)
    _log_scales(axes, "xy")
    if scores:
        bar = figure.colorbar(matplotlib.cm.ScalarMappable(norm, COLOURS), ax=axes, label="score, 1 is best", pad=0.02)
        bar.solids.set_rasterized(True)
        bar.outline.set_visible(False)
    handles = _shapes(shown)
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
    return Chart("map", "Map of the sweep", caption, _svg(figure))


def score_against(points: Points, name: str) -> Chart | None:
    """The score, with its standard error where it is known, against one of PARAMETERS."""
    shown = _with(points, name, "score")
    if not shown:
        return None
    figure, axes = _axes(4.2, 3.2, PARAMETERS[name], "score, 1 is best")
    bars = [known for _, known in shown if "stderr" in known]
    x, y, error = ([known[key] for known in bars] for key in (name, "score", "stderr"))
    axes.errorbar(x, y, error, fmt="none", ecolor=FAINT, elinewidth=1.2, zorder=1)
    for same in _by_state(shown):
        _scatter(axes, same, name, "score", color=ACCENT, alpha=0.8, s=26, linewidth=0)
    _log_scales(axes, "x")
    figure.legend(handles=_shapes(shown), loc="outside lower center", ncols=3, handletextpad=0.4, columnspacing=1.2)
    caption = "Bars: standard error of the score." if bars else ""
    return Chart(f"score-{name}", f"Score against {PARAMETERS[name].split(',')[0]}", caption, _svg(figure))


def importance(points: Points) -> Chart | None:
    """The share of alpha, beta and m in reaching the best tenth (PED-ANOVA, Watanabe et al. 2023, arXiv 2304.10255)."""
    names = ("alpha", "beta", "m")
    used = [(run, known) for run, known in _with(points, *names, "score") if run.state in FINAL]
    if len(used) < 2:
        return None
    shares = _importances([known for _, known in used], names)
    figure, axes = _axes(4.2, 2.4, "share of the importance, sum 1", "")
    bars = axes.barh(names[::-1], [shares[name] for name in names[::-1]], color=ACCENT, height=0.6)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set_xlim(0, 1.12)
    axes.grid(False, axis="y")
    caption = f"What reaching the best tenth of {len(used)} ended runs depends on (PED-ANOVA). Shares always add to 1."
    if len(used) < FEW_TRIALS:
        caption = (
            f"Warning: {len(used)} runs are few. The method wants 5 among the best tenth, which is {FEW_TRIALS} runs; "
            f"with less, these shares are mostly chance. {caption}"
        )
    return Chart("importance", "Importance of the parameters", caption, _svg(figure))


def _importances(rows: Sequence[Mapping[str, float]], names: Sequence[str]) -> dict[str, float]:
    """Optuna's own, from a study of these rows in memory; every parameter on the log scale that sweeps draw from."""
    usual = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    optuna.logging.set_verbosity(usual)
    columns = {name: [row[name] for row in rows] for name in names}
    ranges = {
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
    return optuna.importance.get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())


def predicted_against_measured(points: Points) -> Chart | None:
    """KL in nats that the data's covariance predicts of a VAE, raw and corrected, against the KL measured."""
    figure, axes = _axes(4.2, 3.6, "predicted KL [nats]", "measured KL [nats]")
    kinds = {"predicted_kl": ("linear VAE", "none"), "vae_kl": ("corrected by the warm-up", ACCENT)}
    drawn = {name: shown for name in kinds if (shown := _with(points, name, "kl"))}
    if not drawn:
        return None
    for name, shown in drawn.items():
        label, fill = kinds[name]
        _scatter(axes, shown, name, "kl", marker="o", color=fill, edgecolor=ACCENT, s=26, label=label)
    _log_scales(axes, "xy")
    low, high = (pick(*axes.get_xlim(), *axes.get_ylim()) for pick in (min, max))
    axes.plot([low, high], [low, high], color=INK, linestyle="--", linewidth=1, label="equal", zorder=0)
    axes.set(xlim=(low, high), ylim=(low, high))
    figure.legend(loc="outside lower center", ncols=3, handletextpad=0.4, columnspacing=1.2)
    caption = "On the dashed line a run keeps as much of its images in the code as a plain VAE of the same beta would."
    return Chart("kl", "KL predicted and measured", caption, _svg(figure))


def _with(points: Points, *names: str) -> list[tuple[Run, Mapping[str, float]]]:
    """The points that know all of these; those on a log axis must be above 0."""
    return [
        point for point in points if all(name in point[1] and (point[1][name] > 0 or name == "score") for name in names)
    ]


def _by_state(points: Points) -> list[Points]:
    return [
        [point for point in points if point[0].state == state] for state in sorted({run.state for run, _ in points})
    ]


def _axes(width: float, height: float, x: str, y: str) -> "tuple[Figure, Axes]":
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y)
    return figure, axes


def _scatter(axes: "Axes", points: Points, x: str, y: str, marker: str | None = None, **style: Any) -> PathCollection:
    """Points that lead to their run on the page."""
    marker = marker or MARKERS.get(points[0][0].state, OTHER_MARKER)
    dots = axes.scatter([known[x] for _, known in points], [known[y] for _, known in points], marker=marker, **style)
    dots.set_urls([f"#run={quote(run.name, safe='')}" for run, _ in points])
    return dots


def _shapes(points: Points) -> list[Line2D]:
    """A legend of the states that occur."""
    look = {"linestyle": "none", "markerfacecolor": "none", "markeredgecolor": INK, "markersize": 7}
    states = [same[0][0].state for same in _by_state(points)]
    return [Line2D([], [], marker=MARKERS.get(state, OTHER_MARKER), label=state, **look) for state in states]


def _log_scales(axes: "Axes", which: str) -> None:
    """Logarithmic, with labels such as 0.5 and 20 and never a single one."""
    for axis, scale in (("x", axes.set_xscale), ("y", axes.set_yscale)):
        if axis in which:
            scale("log")
            low, high = getattr(axes, f"get_{axis}lim")()
            ticks = getattr(axes, f"{axis}axis")
            if np.log10(high / low) < 2.5:
                ticks.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ticks.set_major_formatter("{x:g}")
            ticks.set_minor_formatter(NullFormatter())


def _svg(figure: Figure) -> str:
    """The svg element alone: no header, no date, no identifiers but those that it refers to."""
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r' (width|height|xmlns|xmlns:xlink|version)="[^"]*"', "", text, count=5)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*">', "<g>", text).replace(' target="_blank"', "")
    text = re.sub(r"font-family: [^;]*; ", "", text)
    for stand_in, colour in PAGE_COLOURS.items():
        text = text.replace(stand_in, colour)
    return text
