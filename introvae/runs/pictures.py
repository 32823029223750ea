"""The pictures of a run: a band each of fixed originals, their reconstructions, and samples from fixed noise."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from introvae.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor

    from introvae.data.pixel_cache import Images

COLUMNS = 12
BANDS = ("originals", "reconstructions", "samples")
SHORTEST = 64  # pixels a tile measures at least, so that a person sees something
EARLY_STEPS = (0, 1, 3, 7, 10, 16, 30, 100, 300, 500, 700)  # a run changes fastest when it is new

GIF = "training.gif"
STRIP = 18  # pixels below the bands of a frame, for its step
PALETTE = 64  # colours that all frames share, so that what stands still costs nothing
MOST_FRAMES = 60
FRAME_MS, LAST_FRAME_MS = 600, 3000


def fixed_images(images: "Images") -> "Tensor":
    """Evenly spaced ones, so that neighbours of one person are left out; at most COLUMNS."""
    import torch

    return images[torch.linspace(0, len(images) - 1, min(COLUMNS, len(images))).long()]


def write_picture(folder: Path, step: int, bands: "tuple[Tensor, Tensor, Tensor]") -> None:
    """`bands`: float images (N, C, S, S) in [0, 1] for each of BANDS, N the same for all."""
    import torch

    (folder / "images").mkdir(exist_ok=True)
    write_sheet(folder / "images" / f"step-{step:06d}.png", torch.stack(bands))


def write_sheet(path: Path, tiles: "Tensor", shortest: int = SHORTEST) -> None:
    """A PNG of float images (rows, columns, C, S, S) in [0, 1], each enlarged to at least `shortest` pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels(tiles, shortest)).save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())


def pixels(tiles: "Tensor", shortest: int = SHORTEST) -> np.ndarray:
    """The sheet of `write_sheet`, uint8 (height, width) if C is 1, else (height, width, 3)."""
    rows, columns, channels, size, _ = tiles.shape
    sheet = tiles.cpu().float().clamp(0, 1).permute(0, 3, 1, 4, 2).reshape(rows * size, columns * size, channels)
    found = (sheet.nan_to_num() * 255).round().byte().numpy()
    factor = -(-shortest // size)
    found = found.repeat(factor, 0).repeat(factor, 1)
    return found[..., 0] if channels == 1 else found


def pictures(folder: Path) -> list[Path]:
    """The pictures of a run, in order of their steps."""
    found = (path for path in (folder / "images").glob("step-*.png") if path.stem.removeprefix("step-").isdecimal())
    return sorted(found, key=_step)


def last_picture(folder: Path) -> Path | None:
    return next(reversed(pictures(folder)), None)


def write_gif(folder: Path) -> Path | None:
    """The pictures of a run in order, the step below each, as images/training.gif; None if there are none.

    Of a long run they are MOST_FRAMES, evenly spaced, with the first and the last. Tiles are at most twice
    SHORTEST pixels wide. The last frame is held longer.
    """
    found = pictures(folder)
    if not found:
        return None
    if len(found) > MOST_FRAMES:
        found = [found[int(index)] for index in np.linspace(0, len(found) - 1, MOST_FRAMES)]
    frames = [_frame(path) for path in found]
    montage = np.concatenate([np.asarray(frame)[::4, ::4] for frame in frames])  # enough to choose colours from
    palette = Image.fromarray(montage).quantize(PALETTE)
    first, *rest = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    durations = [FRAME_MS] * len(rest) + [LAST_FRAME_MS]
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=rest, duration=durations, loop=0)
    write_atomically(folder / "images" / GIF, buffer.getvalue())
    return folder / "images" / GIF


def read_bands(path: Path) -> dict[str, np.ndarray]:
    """The bands of a picture written by `write_picture`, each uint8 RGB (height, width, 3)."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    return dict(zip(BANDS, np.split(pixels, len(BANDS)), strict=True))


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def _frame(path: Path) -> Image.Image:
    """The picture above a white strip with its step."""
    with Image.open(path) as picture:
        small = picture.convert("RGB").reduce(max(1, picture.height // len(BANDS) // SHORTEST))
    frame = Image.new("RGB", (small.width, small.height + STRIP), "white")
    frame.paste(small)
    ImageDraw.Draw(frame).text((4, small.height + 1), f"step {_step(path)}", "black", ImageFont.load_default(13))
    return frame
