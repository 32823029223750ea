"""Pictures of labelled rows of tiles, for a person to read: dark on white, tiles at whole multiples of their pixels."""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from introvae.pictures import SHORTEST
from introvae.run import write_atomically

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"  # DejaVu knows more letters than Pillow's own font
FONT, BOLD, TITLE = (
    ImageFont.truetype(FONTS / f"{name}.ttf", size)
    for name, size in (("DejaVuSans", 12), ("DejaVuSans-Bold", 12), ("DejaVuSans-Bold", 16))
)
LINE = 16
LETTERS = 34  # of a line of a label; what is longer is wrapped
MARGIN, GAP, BELOW = 8, 12, 4  # around everything, between blocks, and below a row
INK, GREY = "#1a1a1a", "#5a5a5a"


@dataclass(frozen=True)
class Row:
    """A label, its first line in bold, and blocks of tiles, each uint8 RGB (side, n * side, 3)."""

    label: str
    blocks: Sequence[np.ndarray]


@dataclass(frozen=True)
class Heading:
    """A title for the rows below, or "", and a caption above each of their blocks."""

    title: str
    captions: Sequence[str]


def write_rows(path: Path, rows: Sequence[Row | Heading]) -> None:
    """Draw the rows below one another to a PNG, with blocks of one place in a row aligned.

    Tiles of twice SHORTEST pixels and more are averaged down to less. Raises ValueError if there is no Row.
    """
    tiled = [row for row in rows if isinstance(row, Row)]
    label = max(font.getlength(line) for row in tiled for line, font in _lines(row.label))
    widths = [
        max(_reduced(x).width for x in column if x is not None) for column in zip_longest(*(r.blocks for r in tiled))
    ]
    starts = [MARGIN + round(label) + GAP + sum(widths[:place]) + GAP * place for place in range(len(widths))]
    size = (starts[-1] + widths[-1] + MARGIN, MARGIN + sum(map(_height, rows)) + MARGIN)
    sheet = Image.new("RGB", size, "white")
    top = MARGIN
    for row in rows:
        _draw(sheet, row, starts, top)
        top += _height(row)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())


def _draw(sheet: Image.Image, row: Row | Heading, starts: list[int], top: int) -> None:
    draw = ImageDraw.Draw(sheet)
    if isinstance(row, Heading):
        draw.text((MARGIN, top + LINE // 2), row.title, INK, TITLE)
        for start, caption in zip(starts, row.captions, strict=True):
            draw.text((start, top + _height(row) - LINE - BELOW), caption, GREY, FONT)
        return
    for start, block in zip(starts, row.blocks, strict=False):
        sheet.paste(_reduced(block), (start, top))
    for index, (line, font) in enumerate(_lines(row.label)):
        draw.text((MARGIN, top + index * LINE), line, INK if font is BOLD else GREY, font)


def _height(row: Row | Heading) -> int:
    if isinstance(row, Heading):
        return (3 * LINE if row.title else LINE) + BELOW
    return max(LINE * len(_lines(row.label)), *(_reduced(x).height for x in row.blocks)) + BELOW


def _lines(label: str) -> list[tuple[str, ImageFont.FreeTypeFont]]:
    """What is drawn on each line, wrapped, and in which font."""
    return [
        (part, FONT if index else BOLD)
        for index, line in enumerate(label.splitlines())
        for part in textwrap.wrap(line, LETTERS)
    ]


def _reduced(block: np.ndarray) -> Image.Image:
    return Image.fromarray(block).reduce(max(1, block.shape[0] // SHORTEST))
