"""Folders of images of noise, no two of which are alike, and the pixels of sets that were loaded from them."""

from pathlib import Path

import numpy as np
import torch
from helpers import save_image
from PIL import Image

from introvae.data.image_set import ImageSet


def whole(images: ImageSet) -> torch.Tensor:
    return torch.cat([images.train[:], images.validation[:], images.test[:]])


def sizes(images: ImageSet) -> tuple[int, int, int]:
    return len(images.train), len(images.validation), len(images.test)


def fill(root: Path, count: int, first: int = 0) -> Path:
    """Write images of noise, which are not alike."""
    for index in range(first, first + count):
        save_image(root / f"{index:03d}.png", (24, 24), "L", index)
    return root


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))
