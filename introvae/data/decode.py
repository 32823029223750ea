"""Image files to uint8 pixels, on all cores. Imports no torch: every worker process imports this module."""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

GREY_MODES = {"1", "L", "LA", "I", "I;16"}
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
CHUNK = 16  # images a worker takes at once
PATIENCE = 5.0  # seconds of decoding in this process that are not worth starting workers for

Unusable = tuple[int, str]
"""The index of an image among its paths, and why it cannot be used, path first."""


@dataclass(frozen=True)
class Format:
    """What images are turned into: uint8 (channels, image_size, image_size).

    With `crop` the centred square of that side is used, and may be enlarged; otherwise the largest centred
    square, and an image smaller than `image_size` is unusable.
    """

    image_size: int
    channels: int
    crop: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.image_size, self.image_size


def decode(paths: Sequence[Path], out: Path, form: Format) -> list[Unusable]:
    """Write the images one after the other into the file `out`, which has their size; nothing for the unusable.

    Raises OSError if `out` cannot be written.
    """
    unusable: list[Unusable] = []
    firsts = range(0, len(paths), CHUNK)
    start = time.monotonic()
    with tqdm(total=len(paths), desc="reading images", delay=2, leave=False, disable=not sys.stderr.isatty()) as bar:
        for done, first in enumerate(firsts):
            if done and (time.monotonic() - start) / done * (len(firsts) - done) > PATIENCE:
                unusable += _decode_in_workers(paths, firsts[done:], out, form, bar)
                break
            unusable += _decode_chunk(paths[first : first + CHUNK], first, out, form)
            bar.update(len(paths[first : first + CHUNK]))
    return unusable


def all_grey(paths: Sequence[Path]) -> bool:
    return all(_is_grey(path) for path in paths)


def fit(image: Image.Image, image_size: int, channels: int, crop: int = 0) -> np.ndarray:
    """The centred square of side `crop`, the largest by default, resized: uint8 (channels, image_size, image_size)."""
    side = crop or min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.convert("L" if channels == 1 else "RGB").crop((left, top, left + side, top + side))
    pixels = np.asarray(square.resize((image_size, image_size), Image.Resampling.LANCZOS))
    return pixels.reshape(image_size, image_size, channels).transpose(2, 0, 1)


def _decode_in_workers(paths: Sequence[Path], firsts: range, out: Path, form: Format, bar: tqdm) -> list[Unusable]:
    print(f"decoding {len(paths)} images once, into {out.parent}", file=sys.stderr)
    unusable: list[Unusable] = []
    with ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=_follow_parent) as pool:
        try:
            chunks = [pool.submit(_decode_chunk, paths[first : first + CHUNK], first, out, form) for first in firsts]
            for first, chunk in zip(firsts, chunks, strict=True):
                unusable += chunk.result()
                bar.update(len(paths[first : first + CHUNK]))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return unusable


def _decode_chunk(paths: Sequence[Path], first: int, out: Path, form: Format) -> list[Unusable]:
    """`first` is the first path's index among all."""
    images = np.zeros((len(paths), *form.shape), np.uint8)
    unusable = []
    for index, path in enumerate(paths):
        try:
            images[index] = _read(path, form)
        except UNREADABLE as error:
            reason = "is no image" if isinstance(error, UnidentifiedImageError) else str(error)
            unusable.append((first + index, f"{path} {reason}"))
    with out.open("r+b") as file:
        file.seek(first * images[0].nbytes)
        file.write(images.data)
    return unusable


def _read(path: Path, form: Format) -> np.ndarray:
    """One image, upright."""
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)
        if image.mode.startswith("I"):  # 16 bits: keep the upper 8
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if not form.crop and min(image.size) < form.image_size:
            raise ValueError(f"is {image.width}x{image.height}, smaller than {form.image_size} px")
        return fit(image, form.image_size, form.channels, form.crop)


def _is_grey(path: Path) -> bool:
    try:
        with Image.open(path) as file:
            return file.mode in GREY_MODES
    except UNREADABLE:
        return True  # it will be left out, and so decides nothing


def _follow_parent() -> None:
    """A worker leaves Ctrl-C to its parent, and ends when the parent is killed, which its queue would not tell it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
