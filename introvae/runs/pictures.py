"""Pictures of a run: one band each of fixed originals, their reconstructions, and samples from fixed noise.

Pictures are stored at their native size; whatever shows them to a person enlarges them (`legible`).
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from introvae.data.pixels import UNREADABLE
from introvae.files import make_folder, write_atomically

if TYPE_CHECKING:
    from torch import Tensor

    from introvae.data.pixel_cache import Images

TILES = 12  # images in a band
BANDS = ("originals", "reconstructions", "samples")
SHORTEST = 64  # pixels that a tile needs for a person to see something
EARLY_STEPS = (0, 1, 3, 7, 10, 16, 30, 100, 300, 500, 700)  # a run changes fastest when it is new

GIF = "training.gif"
STRIP = 18  # pixels below the bands of a frame, for its step
PALETTE = 64  # colors that all frames share, so that what does not move costs nothing
MOST_FRAMES = 60
FRAME_MS, LAST_FRAME_MS = 600, 3000


def fixed_images(images: "Images") -> "Tensor":
    """Return at most TILES evenly spaced images, so that neighbors, which often show one person, are left out."""
    from introvae.data.pixel_cache import evenly

    return evenly(images, TILES)


def write_picture(folder: Path, step: int, bands: "tuple[Tensor, Tensor, Tensor]") -> None:
    """Write images/step-NNNNNN.png into a run folder, from float images (N, C, S, S) in [0, 1] for each of BANDS."""
    import torch

    make_folder(folder / "images")
    write_png(folder / "images" / f"step-{step:06d}.png", lay_out(torch.stack(bands)))


def lay_out(tiles: "Tensor") -> np.ndarray:
    """Lay out float images (rows, columns, C, S, S) in [0, 1] as uint8 (height, width), or (height, width, 3) in color.

    NaN becomes black.
    """
    rows, columns, channels, size, _ = tiles.shape
    sheet = tiles.cpu().float().clamp(0, 1).permute(0, 3, 1, 4, 2).reshape(rows * size, columns * size, channels)
    pixels = (sheet.nan_to_num() * 255).round().byte().numpy()
    return pixels[..., 0] if channels == 1 else pixels


def write_png(path: Path, picture: Image.Image | np.ndarray) -> None:
    """Write an image, or uint8 pixels (height, width) or (height, width, 3), as a PNG."""
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())


def legible(pixels: np.ndarray, side: int) -> Image.Image:
    """Bring an image of tiles of `side` pixels to a size at which a person sees something.

    Tiles below 64 pixels are enlarged by a whole factor, and those of 128 and more are averaged down.
    """
    image = Image.fromarray(pixels)
    if side < SHORTEST:
        factor = -(-SHORTEST // side)
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    return image.reduce(side // SHORTEST)


def pictures(folder: Path) -> list[Path]:
    """Return the pictures of a run in the order of their steps; what is no file, as a pipe, is none."""
    named = (path for path in (folder / "images").glob("step-*.png") if path.stem.removeprefix("step-").isdecimal())
    return sorted((path for path in named if path.is_file()), key=step_of)


def step_of(path: Path) -> int:
    """Return the step of a picture of a run."""
    return int(path.stem.removeprefix("step-"))


def spread(found: Sequence[Path], most: int) -> list[Path]:
    """Return at most so many pictures, evenly spaced, with the first and the last."""
    return [found[int(index)] for index in np.linspace(0, len(found) - 1, min(most, len(found)))]


def last_picture(folder: Path) -> Path | None:
    """Return the picture of the highest step, or None if there is none."""
    return next(reversed(pictures(folder)), None)


def read_bands(path: Path) -> dict[str, np.ndarray]:
    """Read a picture by `write_picture` as its BANDS, each uint8 RGB (S, N * S, 3).

    Raises:
        ValueError: If the picture is none of these.
    """
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    side, rest = divmod(len(pixels), len(BANDS))
    if rest or not side or pixels.shape[1] % side:
        raise ValueError(f"{pixels.shape[1]}x{len(pixels)} pixels are not {len(BANDS)} rows of square images")
    return dict(zip(BANDS, np.split(pixels, len(BANDS)), strict=True))


def write_gif(folder: Path) -> Path | None:
    """Write images/training.gif, the pictures of a run in order with the step below each, and return its path.

    A long run is shown in MOST_FRAMES evenly spaced frames, with the first and the last. The last frame is held longer.
    Pictures that are damaged, or of another size than most, are left out. A run without pictures has none: None.
    """
    readable = [frame for path in spread(pictures(folder), MOST_FRAMES) if (frame := _frame(path))]
    if not readable:
        return None
    sizes = [frame.size for frame in readable]
    frames = [frame for frame in readable if frame.size == max(sizes, key=sizes.count)]
    montage = np.concatenate([np.asarray(frame)[::4, ::4] for frame in frames])  # enough to choose colors from
    palette = Image.fromarray(montage).quantize(PALETTE)
    first, *rest = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    durations = [FRAME_MS] * len(rest) + [LAST_FRAME_MS]
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=rest, duration=durations, loop=0)
    write_atomically(folder / "images" / GIF, buffer.getvalue())
    return folder / "images" / GIF


def _frame(path: Path) -> Image.Image | None:
    """Draw a picture above a white strip with its step; None if it cannot be read."""
    try:
        pixels = np.concatenate([*read_bands(path).values()])
    except UNREADABLE:
        return None
    shown = legible(pixels, len(pixels) // len(BANDS))
    frame = Image.new("RGB", (shown.width, shown.height + STRIP), "white")
    frame.paste(shown)
    ImageDraw.Draw(frame).text((4, shown.height + 1), f"step {step_of(path)}", "black", ImageFont.load_default(13))
    return frame
