"""Sheets: pictures of labeled rows of tiles for a person to read, dark on white."""

import textwrap
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from introvae.runs.pictures import legible, write_png
from introvae.runs.schema import printable

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"  # DejaVu knows more letters than Pillow's own font
FONT, BOLD = (ImageFont.truetype(FONTS / f"{name}.ttf", 12) for name in ("DejaVuSans", "DejaVuSans-Bold"))
LINE = 16
LETTERS = 34  # of a line of a label; what is longer is wrapped
MARGIN, GAP, BELOW = 8, 12, 4  # around everything, between blocks, and below a row
INK, GRAY = "#1a1a1a", "#5a5a5a"


@dataclass(frozen=True)
class Row:
    """A label, its first line in bold, and blocks of tiles, each uint8 RGB (S, n * S, 3) at native size."""

    label: str
    blocks: Sequence[np.ndarray]


def write_rows(path: Path, captions: Sequence[str], rows: Sequence[Row]) -> None:
    """Draw rows below one another to a PNG, the blocks of each place aligned below their caption.

    Raises:
        ValueError: If there is no row, or no label.
    """
    label = max(font.getlength(line) for row in rows for line, font in _lines(row.label))
    drawn = [[shown(block) for block in row.blocks] for row in rows]
    heights = [
        max(LINE * len(_lines(row.label)), *(image.height for image in images)) + BELOW
        for row, images in zip(rows, drawn, strict=True)
    ]
    widths = [max(image.width for image in place if image is not None) for place in zip_longest(*drawn)]
    starts = [MARGIN + round(label) + GAP + sum(widths[:place]) + GAP * place for place in range(len(widths))]
    top = MARGIN + LINE + BELOW
    sheet = Image.new("RGB", (starts[-1] + widths[-1] + MARGIN, top + sum(heights) + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for start, caption in zip(starts, captions, strict=True):
        draw.text((start, MARGIN), caption, GRAY, FONT)
    for row, images, height in zip(rows, drawn, heights, strict=True):
        for start, image in zip(starts, images, strict=False):
            sheet.paste(image, (start, top))
        for index, (line, font) in enumerate(_lines(row.label)):
            draw.text((MARGIN, top + index * LINE), line, INK if font is BOLD else GRAY, font)
        top += height
    write_png(path, sheet)


def shown(block: np.ndarray) -> Image.Image:
    """Bring a block of square tiles to a size that a person can read."""
    return legible(block, block.shape[0])


def read_sheet(path: Path) -> Image.Image | None:
    """Read a sheet as RGB; None if it cannot be read, since a live run replaces its own."""
    with suppress(Exception), Image.open(path) as image:  # errors of a dozen types, at malformed and at huge files
        return image.convert("RGB")
    return None


def _lines(label: str) -> list[tuple[str, ImageFont.FreeTypeFont]]:
    """Wrap a label into lines, each with its font."""
    return [
        (part, FONT if index else BOLD)
        for index, line in enumerate(label.splitlines())
        for part in textwrap.wrap(printable(line), LETTERS)
    ]
