"""Image sets by name: uint8 tensors, or rows of a memory-mapped file if they are large."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from introvae.data import datasets as sources
from introvae.data.pixel_cache import ImageRows, Images

SHIPPED = {"orl-faces": sources.orl_faces, "mnist-5k": sources.mnist_5k}
ROOTED = {"mnist": sources.mnist, "cifar10": sources.cifar10, "celeba": sources.celeba}


@dataclass(frozen=True)
class ImageSet:
    """Two disjoint sets of images, each uint8 (N, C, S, S)."""

    name: str
    train: Images
    validation: Images

    @property
    def channels(self) -> int:
        return self.train.shape[1]

    def to(self, device: torch.device) -> "ImageSet":
        """On the device, if at most half of its free memory holds it; otherwise batches are streamed there.

        What is in a file stays there unless the device has memory of its own.
        """
        if device.type == "cuda":
            fits = self.train.nbytes + self.validation.nbytes <= torch.cuda.mem_get_info(device)[0] // 2
        else:
            fits = not isinstance(self.train, ImageRows)
        return replace(self, train=self.train.to(device), validation=self.validation.to(device)) if fits else self


def load_images(data: str, image_size: int, channels: int = 0, seed: int = 0) -> ImageSet:
    """The image set called `data`: one of config.DATA_SETS; a folder is searched recursively.

    Images are cropped to a centred square and resized to `image_size` pixels; `channels` is 1, 3 or 0 for
    grey if all images are grey. A folder's validation split (a tenth) follows from `seed`.
    Raises UserError if the data are missing or damaged, more than 1% of the images are unusable, or the disk
    is too full for the decoded images.
    """
    kind, colon, root = data.partition(":")
    if data in SHIPPED:
        return ImageSet(data, *SHIPPED[data](image_size, channels))
    if colon and kind in ROOTED:
        return ImageSet(kind, *ROOTED[kind](Path(root).expanduser(), image_size, channels))
    folder = Path(data).expanduser()
    return ImageSet(folder.resolve().name, *sources.folder(folder, image_size, channels, seed))


def to_float(images: Tensor) -> Tensor:
    """uint8 (N, C, H, W) to float in [0, 1]."""
    return images / 255
