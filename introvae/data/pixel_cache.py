"""Cache of decoded images: each file is decoded once, into a memory-mapped file that later runs use again.

$XDG_CACHE_HOME/introvae/NAME-SIZEpx-DIGEST/    one folder for each root, size, channels and crop; may be removed
    pixels.u8     uint8 (N, C, S, S), a row for each image file; zeros for unusable ones
    index.json    fingerprint of the image files, channels, white, unusable images, files of several; written last
    NAME.npz      what was computed of the pixels, with a key of what it depends on
"""

import hashlib
import io
import json
import math
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from torch import Tensor

from introvae.data.decode import Format, Unusable, decode
from introvae.data.notes import counted, note
from introvae.data.pixels import read_headers, white_of
from introvae.errors import UserError
from introvae.files import LOCK, cache_root, create, folder_name, hold, open_lock, write_atomically

PIXELS, PART, INDEX = "pixels.u8", "pixels.u8.part", "index.json"
DECODER = f"4, Pillow {PIL.__version__}"  # the number rises when the same files give other pixels
MOST_BROKEN = 0.01
NAMED = 10  # unusable images that are named; the rest is counted
COMFORTABLE = 0.25  # share of the memory; smaller sets are read into it
COPIED = 1024  # images per copy to a device


class ImageRows:
    """Selected rows of a uint8 array (N, C, S, S), such as a memory-mapped file, in any order.

    Indexing copies to a tensor, so `images[:]` has all of them in memory.
    """

    def __init__(self, pixels: np.ndarray, rows: np.ndarray | None = None) -> None:
        self.pixels = pixels
        self.rows = np.arange(len(pixels)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        picked = self.rows[index if isinstance(index, slice) else index.numpy()]
        return torch.from_numpy(self.pixels[picked])

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.rows), *self.pixels.shape[1:]))

    @property
    def nbytes(self) -> int:
        return self.shape.numel()

    def select(self, index: np.ndarray) -> "ImageRows":
        """Select rows by indices or a mask, without reading them."""
        return ImageRows(self.pixels, self.rows[index])

    def gather(self, index: np.ndarray, out: np.ndarray) -> None:
        """Copy the images at `index` into `out`."""
        np.take(self.pixels, self.rows[index], axis=0, out=out, mode="clip")  # the default mode copies twice

    def to(self, device: torch.device) -> Tensor:
        """Copy all images to a tensor on a device."""
        whole = torch.empty(self.shape, dtype=torch.uint8, device=device)
        for first in range(0, len(self), COPIED):
            whole[first : first + COPIED] = self[first : first + COPIED]
        return whole


Images = Tensor | ImageRows
"""uint8 images (N, C, S, S) in memory or in a file."""


def evenly(x: Images, most: int) -> Tensor:
    """Return at most `most` evenly spaced rows of x, the first and the last among them."""
    return x[torch.linspace(0, len(x) - 1, min(most, len(x))).long()]


def read_if_small(images: ImageRows) -> Images:
    """Read images into a tensor if their whole file takes at most a quarter of the memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return images[:] if images.pixels.nbytes <= COMFORTABLE * memory else images


@dataclass(frozen=True)
class Decoded:
    """Decoded images of a folder.

    Attributes:
        images: The usable images; `rows` are their indices among the paths.
        white: White of the whole numbers of more than 8 bits among them; 0 if there are none.
        cache: The folder that holds them.
        fingerprint: Hash of the image files' names, sizes and times.
    """

    images: ImageRows
    white: int
    cache: Path
    fingerprint: str


def decoded(root: Path, paths: Sequence[Path], form: Format) -> Decoded:
    """Open the usable images among `paths`, decoding them into the cache if they are not there.

    Images that were decoded when neither channels nor white were asked for are taken if theirs are the same. Unusable
    images are named on stderr, and files of which only the first image is used are counted there. If another
    process is decoding the same images, this one waits.

    Args:
        root: Folder that contains all paths.
        paths: Image files.
        form: Format of the images; channels 0 stands for 1 if all images are gray and for 3 otherwise, and white 0 for
            that of the bits that the images use.

    Raises:
        UserError: If more than 1% are unusable, or the cache cannot be written.
    """
    fingerprint = _fingerprint(root, paths)
    open_form = replace(form, channels=0, white=0)
    folder = _folder_of(root.resolve(), open_form)
    if form != open_form and folder.exists():
        with locked(folder, f"decoding {root}"):
            index = _read_index(folder, fingerprint)
            if (
                index
                and index["channels"] == (form.channels or index["channels"])
                and form.white in (0, index["white"])
            ):
                return _open(folder, paths, form, index)
    folder = _folder_of(root.resolve(), form)
    with locked(folder, f"decoding {root}"):
        index = _read_index(folder, fingerprint) or _build(folder, paths, form, fingerprint)
        return _open(folder, paths, form, index)


def computed(name: str, version: int, parts: Sequence[Decoded], compute: Callable[[], np.ndarray]) -> np.ndarray:
    """Return an array that is a function of decoded images; it is kept beside the first of them.

    Args:
        name: Name of its file.
        version: Number that rises when the function changes.
        parts: What the array depends on.
        compute: The function; called if the array is not kept yet. Another process waits meanwhile.

    Raises:
        UserError: If the folder cannot be written.
    """
    folder = parts[0].cache
    path = folder / f"{name}.npz"
    key = hashlib.sha256(repr((version, [part.fingerprint for part in parts])).encode()).hexdigest()
    with locked(folder, f"computing {name} of images"):
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                if str(file["key"]) == key:
                    return np.asarray(file["array"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            pass  # missing or damaged
        array = compute()
        buffer = io.BytesIO()
        np.savez(buffer, key=key, array=array)
        try:
            write_atomically(path, buffer.getvalue())
        except OSError as error:
            raise unwritable(folder, error) from error
    return array


def _folder_of(root: Path, form: Format) -> Path:
    return cache_folder(f"{root.name}-{form.image_size}px", (str(root), form))


def cache_folder(name: str, key: object) -> Path:
    """Return the cache's folder for what depends on `key`; file systems limit its name in bytes."""
    digest = hashlib.sha256(repr(key).encode()).hexdigest()[:12]
    return cache_root() / f"{folder_name(name)}-{digest}"


@contextmanager
def locked(folder: Path, purpose: str) -> Iterator[None]:
    """Lock the folder for this process; the lock ends with the process, however that ends.

    Raises:
        UserError: If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open_lock(folder / LOCK)
    except OSError as error:
        raise unwritable(folder, error) from error
    with file:
        try:
            hold(file, wait=False)
        except BlockingIOError:
            note(f"waiting for another process that is {purpose} into {folder}")
            hold(file, wait=True)
        yield


def _open(folder: Path, paths: Sequence[Path], form: Format, index: dict[str, Any]) -> Decoded:
    """Open decoded images, and say which files could not be used."""
    _report(index, len(paths))
    shape = (len(paths), index["channels"], form.image_size, form.image_size)
    pixels = np.memmap(folder / PIXELS, np.uint8, "r", shape=shape)
    usable = np.delete(np.arange(len(paths)), [row for row, _ in index["unusable"]])
    return Decoded(ImageRows(pixels, usable), index["white"], folder, index["fingerprint"])


def _fingerprint(root: Path, paths: Sequence[Path]) -> str:
    digest = hashlib.sha256(DECODER.encode())
    for path in paths:
        try:
            stat = path.stat()
            stamp = (stat.st_size, stat.st_mtime_ns)
        except OSError:
            stamp = (0, 0)  # missing, which makes it unusable
        digest.update(repr((str(path.relative_to(root)), *stamp)).encode())
    return digest.hexdigest()


def _read_index(folder: Path, fingerprint: str) -> dict[str, Any] | None:
    """Return the index, or None unless the folder holds exactly these files, completely."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        complete = index["fingerprint"] == fingerprint and (folder / PIXELS).stat().st_size == index["size"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return index if complete else None


def _build(folder: Path, paths: Sequence[Path], form: Format, fingerprint: str) -> dict[str, Any]:
    """Decode into a temporary file, rename it when it is complete, then write the index."""
    part = folder / PART
    for old in (folder / INDEX, folder / PIXELS, part):
        old.unlink(missing_ok=True)
    headers = read_headers(paths)
    white = (form.white or white_of(headers.deep)) if headers.deep else 0
    form = replace(form, channels=form.channels or (1 if headers.gray else 3), white=white)
    size = len(paths) * math.prod(form.shape)
    _check_space(folder, len(paths), form, size)
    try:
        with create(part) as file:
            file.truncate(size)
            unusable: list[Unusable] = decode(paths, part, form)
            os.fsync(file.fileno())
        part.replace(folder / PIXELS)
        index = {"fingerprint": fingerprint, "size": size, "channels": form.channels, "white": white}
        index |= {"unusable": unusable, "stacks": headers.stacks}
        write_atomically(folder / INDEX, json.dumps(index).encode())
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        part.unlink(missing_ok=True)
    return index


def _check_space(folder: Path, count: int, form: Format, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UserError(
            f"{count} images at {form.image_size} px take {size / 2**30:.1f} GiB, and {folder} has "
            f"{free / 2**30:.1f} GiB free; set XDG_CACHE_HOME to a larger disk, or choose a smaller --image-size"
        )


def unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"cannot write decoded images to {folder}: {error.strerror or error}; set XDG_CACHE_HOME to another disk"
    )


def _report(index: dict[str, Any], total: int) -> None:
    reasons = [reason for _, reason in index["unusable"]]
    named = reasons[:NAMED]
    if len(reasons) > NAMED:
        named.append(f"{len(reasons) - NAMED} more")
    if len(reasons) > MOST_BROKEN * total:
        raise UserError(
            f"{len(reasons)} of {total} images are unusable, more than {MOST_BROKEN:.0%}: {'; '.join(named)}; "
            f"remove or convert them, or choose a smaller --image-size"
        )
    for line in named:
        note(f"skipped: {line}")
    if count := index["stacks"]:
        note(f"of {counted(count, 'file')} with several images the first is used")
