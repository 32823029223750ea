"""The look of the page's charts: matplotlib figures as SVG that stands inside a page in light and in dark."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from analysis.report.runs import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = {"complete": "o", "pruned": "s", "collapsed": "X", "diverged": "^", "failed": "v", "running": "D"}
OTHER_MARKER = "P"

# Stand-ins: the page's own colours take their place, so that one figure serves light and dark.
INK, FAINT, ACCENT = "#010203", "#010204", "#010205"
PAGE_COLOURS = {INK: "currentColor", FAINT: "var(--line)", ACCENT: "var(--accent)"}
STYLE: Any = {
    "font.size": 10, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": FAINT,
    "grid.linewidth": 0.6, "axes.axisbelow": True, "axes.facecolor": "none", "figure.facecolor": "none",
    "legend.frameon": False, "legend.fontsize": 9,
    "svg.fonttype": "none",  # the page's own font, and text that can be read aloud
}  # fmt: skip

Points = Sequence[tuple[Run, Mapping[str, float]]]  # runs, and what is known of each


def by_state(points: Points) -> list[Points]:
    return [
        [point for point in points if point[0].state == state] for state in sorted({run.state for run, _ in points})
    ]


def new_axes(width: float, height: float, x: str, y: str, rows: int = 1) -> "tuple[Figure, Any]":
    """A figure of so many inches with labelled axes, an array of them if there are several rows."""
    figure = Figure(figsize=(width, height), layout="constrained")
    found = figure.subplots(rows, sharex=True)
    for axes in np.atleast_1d(found):
        axes.set(xlabel=x, ylabel=y)
    return figure, found


def scatter(axes: "Axes", points: Points, x: str, y: str, marker: str | None = None, **style: Any) -> PathCollection:
    """Points that lead to their run on the page."""
    marker = marker or MARKERS.get(points[0][0].state, OTHER_MARKER)
    dots = axes.scatter([known[x] for _, known in points], [known[y] for _, known in points], marker=marker, **style)
    dots.set_urls([f"#run={quote(run.name, safe='')}" for run, _ in points])
    return dots


def shapes(points: Points) -> list[Line2D]:
    """A legend of the states that occur."""
    look: Any = {"linestyle": "none", "markerfacecolor": "none", "markeredgecolor": INK, "markersize": 7}
    states = [same[0][0].state for same in by_state(points)]
    return [Line2D([], [], marker=MARKERS.get(state, OTHER_MARKER), label=state, **look) for state in states]


def log_scales(axes: "Axes", which: str) -> None:
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


def svg(figure: Figure) -> str:
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
