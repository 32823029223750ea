"""Training curves of a run: its losses, energies, weights and latents over the steps, drawn from metrics.csv."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from introvae.config import TrainConfig
from introvae.files import write_atomically
from introvae.runs.folder import CURVES
from introvae.runs.schema import LEAST, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, BLACK = "#0072B2", "#D55E00", "#009E73", "#000000"  # color-blind people tell them apart too
SHADE = "0.94"
LOG_FROM = 30.0  # highest over lowest value from which an axis is logarithmic
LABELS = (
    "loss [nats]", "reconstruction error", "KL [nats]", "weight in the loss",
    "latent mean, prior N(0, 1)", "latent standard deviation",
)  # fmt: skip

DRAWN = (  # columns of metrics.csv
    "step", "alpha", "beta", "kl_weight", "loss_encoder", "loss_decoder", "reconstruction",
    "kl_real", "kl_real_p95", "kl_reconstruction", "kl_sample",
    "mu_mean", "mu_lowest", "mu_highest", "sigma_mean", "sigma_lowest", "sigma_highest",
)  # fmt: skip

Rows = Sequence[Mapping[str, float]]


def write_curves(folder: Path, rows: Rows, config: TrainConfig) -> None:
    """Draw the rows of a run's metrics.csv to curves.png in its folder."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(draw_curves(rows, config, printable(folder.resolve().name)))
    canvas.draw()
    buffer = io.BytesIO()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    image.quantize(method=Image.Quantize.MAXCOVERAGE).save(buffer, "PNG")  # 256 colors, a third of the size
    write_atomically(folder / CURVES, buffer.getvalue())


def draw_curves(rows: Rows, config: TrainConfig, title: str) -> "Figure":
    """Draw six panels over the steps of the rows, with the warm-up shaded; NaN leaves a gap."""
    import seaborn as sns
    from matplotlib.figure import Figure

    with sns.plotting_context("paper", rc={"grid.linewidth": 0.5}), sns.axes_style("whitegrid"):
        figure = Figure(figsize=(11, 8.5), dpi=100)
        losses, error, energies, weights, means, deviations = figure.subplots(3, 2, sharex=True).flat
        figure.subplots_adjust(left=0.08, right=0.98, bottom=0.06, top=0.91, hspace=0.2, wspace=0.2)
        _lines(losses, rows, {"loss_encoder": ("encoder", BLUE), "loss_decoder": ("decoder", ORANGE)})
        _lines(error, rows, {"reconstruction": ("½ squared error, summed over pixels", BLUE)})
        _energies(energies, rows, config)
        _lines(weights, rows, {"kl_weight": ("KL weight", BLUE), "alpha": ("alpha", ORANGE), "beta": ("beta", GREEN)})
        _band(means, rows, "mu")
        _band(deviations, rows, "sigma")
        for axes in (losses, error, energies, deviations):
            _log_scale(axes, axes.dataLim.minposy)
        _log_scale(means, 1.0)  # the prior's standard deviation
        peaks = (_values(rows, name).max(initial=0) for name in ("kl_weight", "alpha", "beta"))
        visible = (peak for peak in peaks if peak >= LEAST)
        _log_scale(weights, min(visible, default=1.0))  # a weight that rises from 0 rises in a line
        last = _values(rows, "step").max(initial=1)
        for axes, label in zip(figure.axes, LABELS, strict=True):
            axes.set_ylabel(label)
            axes.set_xlim(0, 1.01 * last)
            axes.axvspan(0, min(config.warmup_steps, last), color=SHADE, linewidth=0, zorder=0)
            axes.grid(visible=False, axis="x")
            axes.legend(
                loc="lower right", bbox_to_anchor=(1, 0.98), ncols=5, frameon=False, handlelength=1.5, columnspacing=1.2
            )
        if config.objective == "soft":
            losses.set_ylabel("loss [nats for each number of an image]")
        for axes in (means, deviations):
            axes.set_xlabel("step")
        figure.text(0.08, 0.965, title, fontsize=11, parse_math=False)
        if config.warmup_steps:
            figure.text(0.98, 0.965, f"shaded: warm-up, {config.warmup_steps} steps", ha="right")
        sns.despine(figure)
    return figure


def _values(rows: Rows, name: str) -> np.ndarray:
    return np.array([row[name] for row in rows])


def _lines(axes: "Axes", rows: Rows, columns: Mapping[str, tuple[str, str]]) -> None:
    """Draw a line with a label and a color for each column; a value between two gaps is a dot."""
    steps = _values(rows, "step")
    for name, (label, color) in columns.items():
        values = _values(rows, name)
        axes.plot(steps, values, label=label, color=color, linewidth=1.2)
        known = np.pad(np.isfinite(values), 1)
        alone = known[1:-1] & ~known[:-2] & ~known[2:]
        axes.plot(steps[alone], values[alone], ".", color=color)


def _energies(axes: "Axes", rows: Rows, config: TrainConfig) -> None:
    _lines(axes, rows, {"kl_real": ("real (band: to p95)", BLUE)})
    _lines(axes, rows, {"kl_reconstruction": ("reconstructions", ORANGE), "kl_sample": ("samples", GREEN)})
    _fill(axes, rows, "kl_real", "kl_real_p95")
    if config.objective == "intro" and any(row["alpha"] for row in rows):
        axes.axhline(config.m, label="margin m", color=BLACK, linestyle="--", linewidth=1)


def _band(axes: "Axes", rows: Rows, name: str) -> None:
    """Draw the mean of a latent statistic within its lowest and highest value."""
    _lines(axes, rows, {f"{name}_mean": ("mean", BLUE)})
    _fill(axes, rows, f"{name}_lowest", f"{name}_highest", "lowest to highest")


def _fill(axes: "Axes", rows: Rows, low: str, high: str, label: str | None = None) -> None:
    steps, lows, highs = (_values(rows, name) for name in ("step", low, high))
    axes.fill_between(steps, lows, highs, label=label, color=BLUE, alpha=0.2, linewidth=1)


def _log_scale(axes: "Axes", least: float) -> None:
    """Make an axis logarithmic if values span decades from `least`; linear up to there if some are zero or negative."""
    lowest, highest = axes.dataLim.intervaly
    least = max(least, LEAST)
    if not LOG_FROM * least <= max(-lowest, highest) < np.inf:
        return
    if lowest >= LEAST:
        axes.set_yscale("log")
    else:
        axes.set_yscale("symlog", linthresh=10.0 ** np.floor(np.log10(least)))
        axes.set_ylim(2 * lowest, 2 * abs(highest))
    axes.locator_params(axis="y", numticks=8)
    axes.yaxis.set_major_formatter("{x:g}")
