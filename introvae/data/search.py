"""Search of folders: their images, the folders in them that are named for a part of the split, and those of ours."""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import permutations
from pathlib import Path
from typing import NoReturn

from introvae.config import DATA_SETS
from introvae.data.notes import counted, note
from introvae.errors import UserError
from introvae.files import OUTPUT, create, make_folder

SUFFIXES = {
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".avif", ".heic", ".bmp", ".pbm", ".pgm",
    ".pnm", ".ppm", ".tif", ".tiff", ".gif",
}  # fmt: skip
UNREAD = (
    ".arw",
    ".cr2",
    ".cr3",
    ".dds",
    ".dng",
    ".exr",
    ".hdr",
    ".heif",
    ".ico",
    ".j2k",
    ".jp2",
    ".jxl",
    ".nef",
    ".psd",
    ".svg",
    ".tga",
)  # suffixes of images that are not read
REMEDIES = {
    (".mdb", ".lmdb"): "a database; write its values to image files",
    (".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"):
        "a video; write its frames with ffmpeg -i VIDEO FOLDER/%06d.png",
    (".h5", ".hdf5"): "an HDF5 file; write its array of images with numpy.save",
    (".tar", ".tgz", ".gz", ".xz", ".bz2", ".7z", ".rar"): "an archive that is no zip; unpack it",
    (".zip", ".npz", ".npy"): "a file of images; give it as --data itself",
    UNREAD: "an image of a format that is not read; convert it to PNG",
}  # fmt: skip
OTHERS = {"__MACOSX"}  # folders of what is not data, beside hidden ones
RUN = "params.toml"  # a run's settings
REPORT, DRAWN = "report.html", {"comparison.png"}  # a report, and the pictures beside it
OURS = {RUN, "study.db", REPORT, OUTPUT}  # a folder with one of these holds our own pictures
SPLIT_NAMES = {
    "data": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}  # names of their folders, in letters of any case


def image_files(roots: Mapping[str, Path]) -> dict[str, tuple[Path, list[Path]]]:
    """Find the images below each folder, those of the data without what is below the others.

    Raises:
        UserError: If a folder does not exist, is a run's or holds no images, or if one for held-out images lies in
            another of them.
    """
    for flag, root in roots.items():
        if not root.is_dir():
            takes = DATA_SETS if flag == "data" else "a folder of images"
            missing = f"{root} is no folder" if root.exists() else f"there is no folder {root}"
            raise UserError(f"{missing}; --{flag} takes {takes}")
        if (root / RUN).exists():
            raise UserError(
                f"{root} is the folder of a run, whose pictures are no data; "
                "move what the run wrote elsewhere, or give another folder"
            )
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
        walked = sorted(_walk(root, set(apart)))
        found = [path for path in walked if path.suffix.lower() in SUFFIXES]
        if not found:
            beside = f" outside of {' and '.join(map(str, apart))}" if apart else ""
            kinds = ", ".join(sorted(SUFFIXES))
            others = (f"; {path.relative_to(root)} is {text}" for path in walked if (text := remedy(path)))
            raise UserError(f"the folder {root} holds no images{beside} ({kinds}){next(others, '')}")
        if unread := [path.suffix.lower() for path in walked if path.suffix.lower() in UNREAD]:
            kinds = ", ".join(sorted(set(unread)))
            files_left = f"{counted(len(unread), 'file')} of formats that are not read ({kinds})"
            note(f"left out of {root}: {files_left}; convert to PNG")
        if packed := [path for path in walked if path.suffix.lower() == ".parquet"]:
            tables_left = counted(len(packed), "Parquet file")
            note(f"left out of {root}: {tables_left}; tables are read only where there are no images")
        files[flag] = root, found
    return files


def remedy(path: Path) -> str:
    """Tell what a file without images to read is by its suffix, and what to do with it; empty if that is not known."""
    return next((text for suffixes, text in REMEDIES.items() if path.suffix.lower() in suffixes), "")


def holds_images(root: Path) -> bool:
    """Tell whether there are images below a folder."""
    return any(path.suffix.lower() in SUFFIXES for path in _walk(root, set()))


def make_output(path: Path) -> None:
    """Create a folder for what a model makes, with a mark by which it is never read as a folder of images.

    Raises:
        OSError: If it cannot be created, or is a link.
        UserError: If it holds images of somebody's own, at any depth, which the mark would hide.
    """
    make_folder(path)
    if not (path / OUTPUT).exists():
        if holds_images(path):
            raise UserError(f"{path} holds images already; choose another --out")
        with suppress(FileExistsError):
            create(path / OUTPUT).close()


def tables(root: Path) -> list[Path]:
    """Find the Parquet files below a folder."""
    return sorted(path for path in _walk(root, set()) if path.suffix.lower() == ".parquet")


def named_parts(root: Path) -> dict[str, Path]:
    """Find the folders of SPLIT_NAMES in a folder, or in the only one in it: one of training images, and another.

    Raises:
        UserError: If several folders are named for one part.
    """
    root = _beyond_wrappers(root)
    names = _listed(root)[0]
    found = {part: [name for name in names if name.lower() in known] for part, known in SPLIT_NAMES.items()}
    found = {part: named for part, named in found.items() if named}
    if "data" not in found or len(found) == 1:
        return {}
    for part, named in found.items():
        if len(named) > 1:
            raise UserError(f"{root} holds {' and '.join(named)}, all for --{part}; put them into one folder")
    shown = ", ".join(f"{name} for {'training' if part == 'data' else part}" for part, (name,) in found.items())
    others = sum(
        path.suffix.lower() in SUFFIXES for path in _walk(root, {(root / name).resolve() for (name,) in found.values()})
    )
    beside = f"; left out beside them: {counted(others, 'other image')}" if others else ""
    note(f"taking the folders of {root} as they are named: {shown}{beside}")
    return {part: root / name for part, (name,) in found.items()}


def warn_if_merged(root: Path, paths: Sequence[Path]) -> None:
    """Say so if images below folders of SPLIT_NAMES for held-out images are taken together with others."""
    part_of = {name: part for part, names in SPLIT_NAMES.items() for name in names}
    named = [
        next((name for folder in place.relative_to(root).parts if (name := folder.lower()) in part_of), "")
        for place in {path.parent for path in paths}
    ]
    parts = {part_of.get(name, "") for name in named}
    if len(parts) > 1 and parts.intersection(("validation", "test")):
        shown = ", ".join(name for name in part_of if name in named)
        ways = "to keep them apart, give folders as --data, --validation and --test"
        note(f"warning: images below {root} in folders named {shown} are merged and split again; {ways}")


def _beyond_wrappers(root: Path) -> Path:
    """Return the first folder, from `root` inwards, that holds anything but one other folder."""
    seen: set[Path] = set()
    while (place := root.resolve()) not in seen:  # links may lead back
        seen.add(place)
        names, files = _listed(root)
        if len(names) != 1 or any(Path(name).suffix.lower() in SUFFIXES for name in files):
            break
        root = root / names[0]
    return root


def _listed(root: Path) -> tuple[list[str], list[str]]:
    """List the folders right below a folder that may hold data, and its files."""
    _, names, files = next(os.walk(root), ("", [], []))
    return _searched(names), files


def _searched(names: Sequence[str]) -> list[str]:
    return sorted(name for name in names if name not in OTHERS and not name.startswith("."))


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
        names[:] = _searched(names)
        drawn = DRAWN if REPORT in files else set()
        yield from (
            path for name in files if not name.startswith(".") and name not in drawn and _is_file(path := here / name)
        )


def _is_file(path: Path) -> bool:
    """Tell whether a path is a file, or a link to nothing, which is no image that can be read."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def _refuse(error: OSError) -> NoReturn:
    raise UserError(
        f"cannot read {error.filename}: {error.strerror}; make it readable, or move it elsewhere"
    ) from error
