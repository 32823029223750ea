"""Folders of images, split into training, validation and test images so that no picture is on two sides."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from introvae.data.datasets import Split
from introvae.data.decode import Format
from introvae.data.duplicates import VERSION, group_duplicates
from introvae.data.notes import counted, note
from introvae.data.pixel_cache import Decoded, computed, decoded, read_if_small
from introvae.data.search import image_files, named_parts, warn_if_merged
from introvae.errors import UserError
from introvae.randomness import generator

HELD_OUT = 0.1  # share of the images for validation, and for the test
FEW = 3  # validation images below which scores are hardly worth a look


def folder(
    root: Path,
    image_size: int,
    channels: int,
    seed: int,
    fit: str = "crop",
    validation: Path | None = None,
    test: Path | None = None,
) -> tuple[Split, int]:
    """Load all images below a folder, and split them by a draw.

    A tenth of them is for validation and a tenth for the test. Near duplicates are on one side of the draw. Images
    that are near duplicates of those in a given folder are left out, and counted on stderr. Linked folders are searched
    as well, each once. Hidden files and folders, `__MACOSX` and the folders of runs, studies and reports are not.

    Args:
        root: The folder. If it holds folders of the names in SPLIT_NAMES, they are taken as such.
        image_size: Height and width in pixels; images that `fit` would enlarge are unusable.
        channels: 1 for gray, 3 for RGB, or 0 for gray if all files are gray.
        seed: Seed of the draw.
        fit: The way in which images become squares, as in `load_images`.
        validation, test: Folders whose images are for that, instead of a draw; they are no training images then.

    Returns:
        Images for training, validation and the test, uint8 (N, C, S, S), and the white of whole numbers of more than
        8 bits, or 0 if there are none.

    Raises:
        UserError: If more than 1% of the images are unusable, or there are too few.
    """
    given = {name: place for name, place in (("validation", validation), ("test", test)) if place}
    if not given:
        given = named_parts(root)
        root = given.pop("data", root)
    files = image_files({"data": root, **given})
    warn_if_merged(*files["data"])
    parts = _decoded(files, Format(image_size, channels, fit))
    drawn = [name for name in ("validation", "test") if name not in given]
    groups = computed(
        "duplicates", VERSION, [*parts.values()], lambda: group_duplicates([part.images for part in parts.values()])
    )
    ends = np.cumsum([len(part.images) for part in parts.values()])[:-1]
    group_of = dict(zip(parts, np.split(groups, ends), strict=True))
    kept = _apart(group_of, {"data": root, **given})
    images = {name: part.images.select(kept[name]) for name, part in parts.items()}
    data = images["data"]
    trained, *held_out = _draw(group_of["data"][kept["data"]], len(drawn), seed, f"the folder {root}")
    images |= {name: data.select(rows) for name, rows in zip(drawn, held_out, strict=True)}
    train, validation_images, test_images = data.select(trained), images["validation"], images["test"]
    if len(validation_images) < FEW:
        few = f"{len(validation_images)} of the images"
        note(f"warning: {few} in {root} for validation: scores will say little")
    read = read_if_small(train), read_if_small(validation_images), read_if_small(test_images)
    return read, max(part.white for part in parts.values())


def split(images: Tensor, seed: int, name: str) -> Split:
    """Split images, uint8 (N, C, S, S), as `folder` splits those that it finds."""
    groups = group_duplicates([images])
    train, validation, test = (images[torch.from_numpy(rows)] for rows in _draw(groups, 2, seed, name))
    return train, validation, test


def _decoded(files: Mapping[str, tuple[Path, list[Path]]], form: Format) -> dict[str, Decoded]:
    """Decode images to one number of channels, gray if all of them are gray, and one white."""
    parts = {flag: decoded(root, paths, form) for flag, (root, paths) in files.items()}
    channels = max(part.images.shape[1] for part in parts.values())
    white = max(part.white for part in parts.values())
    if all(part.images.shape[1] == channels and part.white in (0, white) for part in parts.values()):
        return parts
    return _decoded(files, replace(form, channels=channels, white=white))


def _apart(group_of: dict[str, np.ndarray], places: Mapping[str, Path]) -> dict[str, np.ndarray]:
    """Return the rows of each part whose picture is in no later part, and count the others on stderr."""
    kept: dict[str, np.ndarray] = {}
    for name, groups in reversed(group_of.items()):
        here_alone = ~np.isin(groups, [group for later in kept for group in group_of[later]])
        others = f"near duplicates of {' or '.join(reversed(kept))} images"
        kept[name] = np.flatnonzero(here_alone)
        if not len(kept[name]):
            raise UserError(f"all images in {places[name]} are {others}; give other images by --{name}")
        if count := len(groups) - len(kept[name]):
            note(f"{count} of {len(groups)} images in {places[name]} are left out, as {others}")
    return kept


def _draw(groups: np.ndarray, parts: int, seed: int, name: str) -> list[np.ndarray]:
    """Draw whole groups into held-out parts of a tenth of the images each; return the rest, then the parts, as rows.

    A group that is larger than what a part lacks is passed over. Each part, and the rest, gets a group at least.
    """
    by_group = np.argsort(groups, kind="stable")
    members = np.split(by_group, np.flatnonzero(np.diff(groups[by_group])) + 1)
    if len(members) <= parts:
        raise UserError(
            f"{name} holds {counted(len(members), 'different usable image')}, near duplicates counted as one; "
            f"at least {parts + 1} are needed, as some are for validation or the test"
        )
    order = torch.randperm(len(members), generator=generator(seed, "split")).tolist()
    wanted = max(1, round(len(groups) * HELD_OUT))
    drawn = []
    for part in range(parts):
        chosen: list[int] = []
        size = 0
        for group in order:
            if size + len(members[group]) <= wanted and len(order) - len(chosen) > parts - part:
                chosen.append(group)
                size += len(members[group])
        chosen = chosen or [min(order, key=lambda group: len(members[group]))]
        drawn.append(chosen)
        taken = set(chosen)
        order = [group for group in order if group not in taken]
    return [np.concatenate([members[group] for group in chosen]) for chosen in (order, *drawn)]
