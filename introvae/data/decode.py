"""Image files to uint8 pixels, with one thread for each core. Does not import torch."""

import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from introvae.data.formats import open_image, refuse_changed
from introvae.data.pixels import UNREADABLE, refuse_small, to_pixels

CHUNK = 16  # images a thread takes at once
QUIET = 2.0  # seconds of decoding before progress is shown

Unusable = tuple[int, str]
"""Index of an image among the paths, and a sentence that says why it cannot be used."""


@dataclass(frozen=True)
class Format:
    """Format of decoded images: uint8 (channels, image_size, image_size).

    `fit`, `crop` and `white` are those of `introvae.data.pixels.to_pixels`. Without `crop`, an image that would be
    enlarged on both sides is unusable, and so is one whose centered square would be.
    """

    image_size: int
    channels: int
    fit: str = "crop"
    crop: int = 0
    white: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.image_size, self.image_size


def decode(paths: Sequence[Path], out: Path, form: Format) -> list[Unusable]:
    """Decode images into a file of zeros that has their size, each at its own offset.

    Pillow decodes without holding the interpreter lock, so threads keep all cores busy. A terminal sees a progress
    bar; any other stderr gets one line if decoding takes more than a moment.

    Returns:
        The images that cannot be used, in the order of `paths`; their pixels stay zero.

    Raises:
        OSError: If `out` cannot be written.
    """
    Image.preinit()
    Image.init()  # threads that register formats at the same time could miss one
    start, shown = time.monotonic(), sys.stderr.isatty()
    unusable: list[Unusable] = []
    stop = Event()
    pool = ThreadPoolExecutor(_usable_cores(), "decode")
    with tqdm(total=len(paths), desc="decoding images", delay=QUIET, leave=False, disable=not shown) as bar:
        try:
            firsts = range(0, len(paths), CHUNK)
            chunks = [pool.submit(_decode_chunk, paths[i : i + CHUNK], i, out, form, stop) for i in firsts]
            for first, chunk in zip(firsts, chunks, strict=True):
                unusable += chunk.result()
                bar.update(min(CHUNK, len(paths) - first))
                if not shown and time.monotonic() - start >= QUIET:
                    print(f"decoding {len(paths)} images into {out.parent}", file=sys.stderr, flush=True)
                    shown = True
        finally:  # after Ctrl-C no thread takes another image
            stop.set()
            pool.shutdown(cancel_futures=True)
    return unusable


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _decode_chunk(paths: Sequence[Path], first: int, out: Path, form: Format, stop: Event) -> list[Unusable]:
    """Decode images, the first of which is image number `first` of the file, until `stop` is set."""
    unusable = []
    with out.open("r+b") as file:
        for index, path in enumerate(paths, first):
            if stop.is_set():
                break
            try:
                pixels = _read(path, form)
            except UNREADABLE as error:
                reason = str(error) or type(error).__name__
                if isinstance(error, UnidentifiedImageError):
                    reason = "is no image that Pillow can read"
                elif isinstance(error, OSError) and error.strerror:
                    reason = f"cannot be read: {error.strerror}"
                unusable.append((index, f"{path} {reason}"))
                continue
            file.seek(index * pixels.nbytes)
            file.write(pixels.tobytes())
    return unusable


def _read(path: Path, form: Format) -> np.ndarray:
    with open_image(path) as file:
        refuse_changed(file)
        if not form.crop:
            refuse_small(file, form.image_size, form.fit)
        return to_pixels(file, form.image_size, form.channels, form.fit, form.crop, form.white)
