"""Search of folders: their images, and the folders in them that are named for a part of the split."""

import os
import sys
from collections.abc import Iterator, Mapping
from itertools import permutations
from pathlib import Path
from typing import NoReturn

from introvae.config import DATA_SETS
from introvae.errors import UserError

SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".jfif", ".webp", ".avif", ".heic", ".bmp", ".pgm", ".ppm", ".tif", ".tiff", ".gif",
}  # fmt: skip
OTHERS = {"__MACOSX"}  # folders of what is not data, beside hidden ones
OURS = {"params.toml", "study.db", "report.html"}  # a folder with one of these holds our own pictures
SPLIT_NAMES = {
    "data": ("train",),
    "validation": ("val", "valid", "validation"),
    "test": ("test",),
}  # names of their folders


def image_files(roots: Mapping[str, Path]) -> dict[str, tuple[Path, list[Path]]]:
    """Find the images below each folder, those of the data without what is below the others.

    Raises:
        UserError: If a folder does not exist or holds no images, or if one for held-out images lies in another of them.
    """
    for flag, root in roots.items():
        if not root.is_dir():
            takes = DATA_SETS if flag == "data" else "a folder of images"
            raise UserError(f"there is no folder {root}; --{flag} takes {takes}")
    places = {flag: root.resolve() for flag, root in roots.items()}
    for outer, inner in permutations(roots, 2):
        if outer != "data" and places[inner].is_relative_to(places[outer]):
            raise UserError(
                f"--{inner} {roots[inner]} lies in --{outer} {roots[outer]}, which takes images of its own; "
                f"give another folder"
            )
    files = {}
    for flag, root in roots.items():
        apart = [place for name, place in places.items() if flag == "data" and name != "data"]
        found = sorted(path for path in _walk(root, set(apart)) if path.suffix.lower() in SUFFIXES)
        if not found:
            beside = f" outside of {' and '.join(map(str, apart))}" if apart else ""
            kinds = ", ".join(sorted(SUFFIXES))
            databases = any(root.rglob("*.mdb"))
            remedy = "; it is an LMDB database: write its values to image files" if databases else ""
            raise UserError(f"the folder {root} holds no images{beside} ({kinds}){remedy}")
        files[flag] = root, found
    return files


def holds_images(root: Path) -> bool:
    """Tell whether there are images below a folder."""
    return any(path.suffix.lower() in SUFFIXES for path in _walk(root, set()))


def tables(root: Path) -> list[Path]:
    """Find the Parquet files below a folder."""
    return sorted(path for path in _walk(root, set()) if path.suffix.lower() == ".parquet")


def named_parts(root: Path) -> dict[str, Path]:
    """Find the folders of SPLIT_NAMES right below a folder: one of training images, and another."""
    folders = {part: [root / name for name in names if (root / name).is_dir()] for part, names in SPLIT_NAMES.items()}
    found = {part: paths[0] for part, paths in folders.items() if paths}
    if "data" not in found or len(found) == 1:
        return {}
    shown = ", ".join(f"{path.name} for {'training' if part == 'data' else part}" for part, path in found.items())
    print(f"taking the folders of {root} as they are named: {shown}", file=sys.stderr, flush=True)
    return found


def _walk(root: Path, seen: set[Path]) -> Iterator[Path]:
    """Find the files below a folder that may be data, each folder once; those in `seen` have been searched."""
    for folder, names, files in os.walk(root, followlinks=True, onerror=_refuse):
        here = Path(folder)
        place = here.resolve()
        ours = here != root and not OURS.isdisjoint(files)
        if place in seen or ours:
            names.clear()
            continue
        seen.add(place)
        names[:] = sorted(name for name in names if name not in OTHERS and not name.startswith("."))
        yield from (path for name in files if not name.startswith(".") and (path := here / name).is_file())


def _refuse(error: OSError) -> NoReturn:
    raise UserError(
        f"cannot read {error.filename}: {error.strerror}; make it readable, or move it elsewhere"
    ) from error
