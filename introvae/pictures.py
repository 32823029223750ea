"""The pictures of a run: a band each of fixed originals, their reconstructions, and samples from fixed noise."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from introvae.cache import Images
from introvae.run import write_atomically

COLUMNS = 12
BANDS = ("originals", "reconstructions", "samples")
SHORTEST = 64  # pixels a tile measures at least, so that a person sees something


def fixed_images(images: Images) -> Tensor:
    """Evenly spaced ones, so that neighbours of one person are left out; at most COLUMNS."""
    return images[torch.linspace(0, len(images) - 1, min(COLUMNS, len(images))).long()]


def write_picture(folder: Path, step: int, bands: tuple[Tensor, Tensor, Tensor]) -> None:
    """`bands`: float images (N, C, S, S) in [0, 1] for each of BANDS, N the same for all."""
    tiles = torch.stack([band.cpu().float().clamp(0, 1) for band in bands])
    rows, columns, channels, size, _ = tiles.shape
    sheet = tiles.permute(0, 3, 1, 4, 2).reshape(rows * size, columns * size, channels)
    pixels = (sheet.nan_to_num() * 255).round().byte().numpy()
    factor = -(-SHORTEST // size)
    pixels = pixels.repeat(factor, 0).repeat(factor, 1)
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(buffer, "PNG")
    (folder / "images").mkdir(exist_ok=True)
    write_atomically(folder / "images" / f"step-{step:06d}.png", buffer.getvalue())


def last_picture(folder: Path) -> Path | None:
    return max((folder / "images").glob("step-*.png"), default=None)


def read_bands(path: Path) -> dict[str, np.ndarray]:
    """The bands of a picture written by `write_picture`, each uint8 RGB (height, width, 3)."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    return dict(zip(BANDS, np.split(pixels, len(BANDS)), strict=True))
