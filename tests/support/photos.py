"""Folders of small photographs, and what the cache holds of them."""

import shutil
from pathlib import Path

import torch
from helpers import save_image

from introvae.data.image_set import ImageSet, load_images


def fill(root: Path, count: int = 12) -> Path:
    for index in range(count):
        save_image(root / f"{index:03d}.png", (20, 24), seed=index)
    return root


def folders(cache_folder: Path, root: Path) -> list[Path]:
    return sorted(cache_folder.glob(f"{root.name}-*"))


def same(a: ImageSet, b: ImageSet) -> bool:
    parts = (a.train, b.train), (a.validation, b.validation), (a.test, b.test)
    return all(torch.equal(one[:], other[:]) for one, other in parts)


def decoded_again(root: Path, cache_folder: Path, image_size: int = 16) -> ImageSet:
    """Decode without the cache."""
    for folder in folders(cache_folder, root):
        shutil.rmtree(folder)
    return load_images(str(root), image_size)
