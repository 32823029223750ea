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

from introvae.files import write_atomically
from introvae.runs.pictures import SHORTEST

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"  # DejaVu knows more letters than Pillow's own font
FONT, BOLD = (ImageFont.truetype(FONTS / f"{name}.ttf", 12) for name in ("DejaVuSans", "DejaVuSans-Bold"))
LINE = 16
LETTERS = 34  # of a line of a label; what is longer is wrapped
MARGIN, GAP, BELOW = 8, 12, 4  # around everything, between blocks, and below a row
INK, GREY = "#1a1a1a", "#5a5a5a"


@dataclass(frozen=True)
class Row:
    """A label, its first line in bold, and blocks of tiles, each uint8 RGB (side, n * side, 3)."""

    label: str
    blocks: Sequence[np.ndarray]


def write_rows(path: Path, captions: Sequence[str], rows: Sequence[Row]) -> None:
    """Draw the rows below one another to a PNG, with blocks of one place in a row aligned below their caption.

    Tiles of twice SHORTEST pixels and more are averaged down to less. Raises ValueError without a row or a label.
    """
    label = max(font.getlength(line) for row in rows for line, font in _lines(row.label))
    blocks = zip_longest(*(row.blocks for row in rows))
    widths = [max(reduced(block).width for block in column if block is not None) for column in blocks]
    starts = [MARGIN + round(label) + GAP + sum(widths[:place]) + GAP * place for place in range(len(widths))]
    top = MARGIN + LINE + BELOW
    sheet = Image.new("RGB", (starts[-1] + widths[-1] + MARGIN, top + sum(map(_height, rows)) + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for start, caption in zip(starts, captions, strict=True):
        draw.text((start, MARGIN), caption, GREY, FONT)
    for row in rows:
        for start, block in zip(starts, row.blocks, strict=False):
            sheet.paste(reduced(block), (start, top))
        for index, (line, font) in enumerate(_lines(row.label)):
            draw.text((MARGIN, top + index * LINE), line, INK if font is BOLD else GREY, font)
        top += _height(row)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())


def _height(row: Row) -> int:
    return max(LINE * len(_lines(row.label)), *(reduced(block).height for block in row.blocks)) + BELOW


def _lines(label: str) -> list[tuple[str, ImageFont.FreeTypeFont]]:
    """What is drawn on each line, wrapped, and in which font."""
    return [
        (part, FONT if index else BOLD)
        for index, line in enumerate(label.splitlines())
        for part in textwrap.wrap(line, LETTERS)
    ]


def reduced(block: np.ndarray) -> Image.Image:
    """Tiles of twice SHORTEST pixels and more averaged down to less."""
    return Image.fromarray(block).reduce(max(1, block.shape[0] // SHORTEST))
