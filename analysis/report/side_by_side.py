"""Two or three runs side by side, for a person to compare: pictures, the plane of the latents, and scores."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from analysis.report.runs import Run
from analysis.report.sheets import BELOW, BOLD, FONT, GAP, GRAY, INK, LINE, MARGIN, read_sheet, shown
from introvae.runs.pictures import read_bands, write_png
from introvae.runs.record import PARTS
from introvae.runs.schema import printable

MOST = 3  # runs; more are drawn in rows
LETTERS = 110  # of a line below a picture

Part = Image.Image | tuple[str, ImageFont.FreeTypeFont]  # of a column: a picture, or a line of text


def side_by_side(runs: Sequence[Run], path: Path) -> None:
    """Draw runs that have a last picture to a PNG, a column each: settings, bands of the picture, plane and scores."""
    columns = [_column(run) for run in runs]
    widths = [max(_size(part)[0] for part in column) for column in columns]
    height = max(sum(_size(part)[1] + BELOW for part in column) for column in columns)
    sheet = Image.new("RGB", (2 * MARGIN + sum(widths) + GAP * (len(widths) - 1), 2 * MARGIN + height), "white")
    draw, left = ImageDraw.Draw(sheet), MARGIN
    for column, width in zip(columns, widths, strict=True):
        top = MARGIN
        for part in column:
            if isinstance(part, Image.Image):
                sheet.paste(part, (left, top))
            else:
                text, font = part
                draw.text((left, top), text, INK if font is BOLD else GRAY, font)
            top += _size(part)[1] + BELOW
        left += width + GAP
    write_png(path, sheet)


def _column(run: Run) -> list[Part]:
    column: list[Part] = [(printable(run.name), BOLD), (settings(run), FONT)]
    for name, band in read_bands(run.pictures["last"]).items():
        column += [(name, FONT), shown(band)]
    if "plane" in run.pictures and (plane := read_sheet(run.pictures["plane"])):
        column += [("plane through three encodings", FONT), plane]
    score = run.shown_score or "no score"
    state = f"{run.state}: {run.reason}" if run.reason else run.state
    known = {name: value for name in PARTS if math.isfinite(value := getattr(run.scores, name))}
    parts = ", ".join(f"{name} {value:.2f}" for name, value in known.items())
    return [*column, (f"{score}, {state}", BOLD), *((line, FONT) for line in textwrap.wrap(parts, LETTERS))]


def settings(run: Run) -> str:
    """Return a run's alpha, beta and its value at 256x256x3, m and its margin ratio in one line."""
    shown = {name: f"{name} {value:.3g}" for name, value in run.parameters.items()}
    if "beta" in shown:
        shown["beta"] += f" ({run.beta_256:.3g} at 256x256x3)"
    if "m" in shown and run.margin_ratio is not None:
        shown["m"] += f" ({run.margin_ratio:.3g} times a VAE's KL)"
    elif "m" in shown and run.predicted_margin_ratio is not None:
        shown["m"] += f" ({run.predicted_margin_ratio:.3g} times a VAE's predicted KL)"
    return ", ".join(shown.values())


def _size(part: Part) -> tuple[int, int]:
    if isinstance(part, Image.Image):
        return part.size
    text, font = part
    return round(font.getlength(text)), LINE
