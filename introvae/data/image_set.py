"""Image sets by name: uint8 tensors, or rows of a memory-mapped file if they are large."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from introvae.config import DATA_SETS, FITS
from introvae.data import datasets as sources
from introvae.data import folders
from introvae.data.containers import unpacked
from introvae.data.notes import counted, shown_as
from introvae.data.pixel_cache import ImageRows, Images, evenly
from introvae.data.pixels import GRAY_MODES, as_picture, refuse_small, to_pixels
from introvae.data.search import holds_images, tables
from introvae.errors import UserError
from introvae.files import expanded

SHIPPED = {"orl-faces": sources.orl_faces, "mnist-5k": sources.mnist_5k}
HASHED = 1000  # images of a set whose pixels tell it from another one
ROOTED = {"mnist": sources.mnist, "cifar10": sources.cifar10, "celeba": sources.celeba}


@dataclass(frozen=True)
class ImageSet:
    """Images in three disjoint sets, each uint8 (N, C, S, S).

    Attributes:
        name: Short name.
        train: Images that networks are trained on.
        validation: Images that runs are compared by.
        test: Images for the figures to quote; nothing is chosen by them.
        white: The whole number that was white in images of more than 8 bits; 0 if there were none.
    """

    name: str
    train: Images
    validation: Images
    test: Images
    white: int = 0

    @property
    def channels(self) -> int:
        return self.train.shape[1]

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the sizes and of up to 1,000 images each of the training and the validation set."""
        digest = hashlib.sha256()
        for part in (self.train, self.validation):
            digest.update(repr(tuple(part.shape)).encode())
            digest.update(evenly(part, HASHED).cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def facts(self) -> dict[str, int | str]:
        """Numbers of images, their fingerprint, and white if it is known, as params.toml records them."""
        sets = {"training": self.train, "validation": self.validation, "test": self.test}
        found: dict[str, int | str] = {f"{name}_images": len(images) for name, images in sets.items()}
        return found | {"fingerprint": self.fingerprint} | ({"white": self.white} if self.white else {})

    def to(self, device: torch.device) -> "ImageSet":
        """Move the images to a device if they fit half of its free memory; otherwise batches are streamed there.

        Images in a file stay there unless the device has memory of its own. Test images stay where they are.
        """
        if device.type == "cuda":
            fits = self.train.nbytes + self.validation.nbytes <= torch.cuda.mem_get_info(device)[0] // 2
        else:
            fits = not isinstance(self.train, ImageRows)
        return replace(self, train=self.train.to(device), validation=self.validation.to(device)) if fits else self


def load_images(
    data: str | Path,
    image_size: int,
    channels: int = 0,
    seed: int = 0,
    *,
    validation: str | Path | None = None,
    test: str | Path | None = None,
    fit: str = "crop",
) -> ImageSet:
    """Load an image set as squares of one size.

    Args:
        data: "orl-faces", "mnist-5k", "mnist:ROOT", "cifar10:ROOT", "celeba:ROOT", or a folder of images, which is
            searched recursively, without hidden files and the folders of runs. If it holds folders named train, and val
            or test, these are taken as such. A zip archive of images, an array of them in a .npy or .npz file, or a
            Parquet file or folder with a column of images is unpacked to such a folder. Files are decoded once, into a
            cache.
        image_size: Height and width in pixels.
        channels: 1 for gray, 3 for RGB, or 0 for gray if all images are gray.
        seed: Seed of the split of a folder, a tenth of which is for validation and another for the test, with near
            duplicates on one side. The other sets have a split of their own.
        validation: Folder whose images are for validation instead of a draw from the folder `data`, which may
            contain it.
        test: The same for the test.
        fit: The way in which images of a folder become squares: "crop" takes the centered square, "pad" lays the whole
            image on a white one, and "stretch" changes its proportions.

    Returns:
        uint8 tensors, or rows of a memory-mapped file if the images take more than a quarter of the memory.

    Raises:
        UserError: If the data are missing or damaged, more than 1% of the images are unusable, there are too few, or
            the disk is too full for the decoded images.

    Examples:
        >>> from introvae import load_images
        >>> images = load_images("orl-faces", image_size=16)
        >>> images.train.shape
        torch.Size([240, 1, 16, 16])
        >>> len(images.validation), len(images.test)
        (80, 80)
    """
    _check(image_size, channels, fit, seed)
    data = str(data)
    kind, colon, root = data.partition(":")
    if not data or (kind in ROOTED and colon and not root):  # which would mean the current folder
        raise UserError(f"the name of the data is {data!r}, without a folder; it is {DATA_SETS}")
    for flag, place in (("validation", validation), ("test", test)):
        if place == "":
            raise UserError(f"the folder for {flag} is empty; name one, or leave it out")
    if data in SHIPPED or (colon and kind in ROOTED):
        _check_named(data, validation, test, fit)
        found = ROOTED[kind](expanded(root), image_size, channels) if colon else SHIPPED[data](image_size, channels)
        return ImageSet(kind, *found)
    given = [_place(place) if place else None for place in (validation, test)]
    return _from_files(_place(data), image_size, channels, seed, fit, given)


def _from_files(
    place: Path, image_size: int, channels: int, seed: int, fit: str, given: Sequence[Path | None]
) -> ImageSet:
    """Load a folder, or what is unpacked to one, with the folders that are given for validation and test."""
    name = place.resolve().stem if place.is_file() else place.resolve().name
    packed = place.is_file() or (place.is_dir() and not holds_images(place) and tables(place))
    folder = unpacked(place) if packed else place
    with shown_as(folder, place):  # of what has been unpacked nobody knows the place
        images, white = folders.folder(folder, image_size, channels, seed, fit, *given)
    return ImageSet(name.lstrip(".") or "images", *images, white)  # a study of this name is to be seen


def split_images(
    images: Iterable[Any], image_size: int, channels: int = 0, seed: int = 0, *, fit: str = "crop", name: str = "images"
) -> ImageSet:
    """Make an image set of images in memory, such as an array or a dataset of torchvision.

    Args:
        images: PIL images, or uint8 or float arrays (H, W) or (H, W, C) or tensors (C, H, W) with floats in [0, 1]. Of
            pairs, as datasets have them, the first is taken.
        image_size: Height and width in pixels.
        channels: 1 for gray, 3 for RGB, or 0 for gray if all images are gray.
        seed: Seed of the split, which is that of a folder: a tenth is for validation and another for the test, with
            near duplicates on one side.
        fit: The way in which images become squares, as in :func:`load_images`.
        name: Short name of the set.

    Returns:
        uint8 tensors.

    Raises:
        UserError: If there are too few different images.
        TypeError, ValueError: If something is no image.

    Examples:
        >>> import numpy as np
        >>> from introvae import split_images
        >>> photos = np.random.default_rng(0).integers(0, 256, (50, 20, 30, 3), np.uint8)
        >>> images = split_images(photos, image_size=16)
        >>> images.train.shape
        torch.Size([40, 3, 16, 16])
    """
    _check(image_size, channels, fit, seed)
    if isinstance(images, str | Path):
        raise TypeError(f"{images} is a path, and no images; load_images reads it")
    pictures = [as_picture(_channels_last(item[0] if isinstance(item, tuple) else item)) for item in images]
    for number, picture in enumerate(pictures):
        try:
            refuse_small(picture, image_size, fit)
        except ValueError as error:
            raise ValueError(f"image {number} of {name} {error}") from None
    channels = channels or (1 if all(picture.mode in GRAY_MODES for picture in pictures) else 3)
    pixels = [to_pixels(picture, image_size, channels, fit) for picture in pictures]
    if len(pixels) < 3:
        raise UserError(f"{name} holds {counted(len(pixels), 'image')}; at least 3 are needed, as some are held back")
    return ImageSet(name, *folders.split(torch.from_numpy(np.stack(pixels)), seed, name))


def _place(path: str | Path) -> Path:
    """Return a path with its ~ replaced, which may be of nothing.

    Raises:
        UserError: If nothing can have that path, or it may not be looked at.
    """
    place = expanded(path)
    try:
        place.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:  # such as a name that is too long, or holds a NUL
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"cannot read {str(path)!r}: {reason}; give another folder or file") from error
    return place


def _check(image_size: int, channels: int, fit: str, seed: int) -> None:
    whole = isinstance(image_size, Integral) and isinstance(channels, Integral)
    if not whole or image_size < 1 or channels not in (0, 1, 3):
        allowed = "whole numbers, 1 or more, and 0, 1 or 3"
        raise UserError(f"image_size is {image_size!r} and channels {channels!r}; allowed: {allowed}")
    if fit not in FITS:
        raise UserError(f"fit is {fit!r}; allowed: {', '.join(FITS)}")
    if seed < 0:
        raise UserError(f"seed is {seed}; allowed: 0 or more")


def _check_named(data: str, validation: str | Path | None, test: str | Path | None, fit: str) -> None:
    """Refuse for a set with a name what only a folder takes."""
    for flag, place in (("validation", validation), ("test", test)):
        if place is not None:
            raise UserError(f"--{flag} {place} needs a folder as --data; {data} has {flag} images of its own")
    if fit != "crop":
        raise UserError(f"--fit {fit} needs a folder as --data; images of {data} are cropped")


def check_apart(folder: Path, images: Mapping[str, Any]) -> None:
    """Raise UserError if a folder that is written to is one of those that `load_images(**images)` reads."""
    for flag in ("data", "validation", "test"):
        place = images[flag]
        if place and place not in SHIPPED and expanded(place).resolve() == folder.resolve():
            raise UserError(f"{folder} is the folder of --{flag}, and holds images already; choose another --out")


def _channels_last(image: Any) -> Any:
    """Convert a tensor (C, H, W) or (H, W) to an array, and leave everything else as it is."""
    if not isinstance(image, Tensor):
        return image
    refuse_hollow(image)
    image = image.detach().cpu()
    if image.is_floating_point():
        image = image.float()
    return (image.movedim(0, -1) if image.ndim == 3 else image).numpy()


def refuse_hollow(images: Tensor) -> None:
    """Raise ValueError for a tensor that does not hold a value for each pixel."""
    if images.is_meta or images.layout != torch.strided:
        kind = "on the meta device" if images.is_meta else f"of layout {str(images.layout).removeprefix('torch.')}"
        raise ValueError(f"a tensor {kind}; images are dense tensors with values")


def to_float(images: Tensor) -> Tensor:
    """Convert uint8 images (N, C, H, W) to float in [0, 1]."""
    return images / 255
