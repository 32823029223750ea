"""Conversion of images in the forms that people have to the one that the networks take."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from introvae.data.image_set import refuse_hollow, to_float
from introvae.data.pixels import as_picture, to_pixels

AnyImages = Image.Image | np.ndarray | Tensor | Sequence["AnyImages"]
"""One image or many: a PIL image, a NumPy array (channels last), a tensor (channels first), or a list of these."""


def as_images(images: AnyImages, channels: int, image_size: int, fit: str = "crop", white: int = 0) -> Tensor:
    """Convert images to a float batch.

    Args:
        images: One of

            - a PIL image of any size, which becomes a square and is converted as training images are; one of more than
              8 bits holds floats in [0, 1], or whole numbers if `white` is known;
            - an array (H, W), (H, W, C) or (N, H, W, C), uint8 or float with values in [0, 1];
            - a tensor (C, H, W) or (N, C, H, W), uint8 or float with values in [0, 1];
            - a list or tuple of any of these.
        channels: Number of channels C, 1 or 3.
        image_size: Height and width in pixels.
        fit, white: The way in which PIL images become squares, and what is white in those of more than 8 bits, as in
            `introvae.data.pixels.to_pixels`.

    Returns:
        Images (N, C, image_size, image_size), float32 in [0, 1], on a tensor's own device or else on the CPU.

    Raises:
        ValueError: If an array or tensor has another shape or type, or values outside [0, 1], or if an image holds
            whole numbers of more than 8 bits and `white` is not known or is exceeded.
        TypeError: If `images` is something else.
    """
    if isinstance(images, list | tuple):
        if not images:
            raise ValueError(f"an empty {type(images).__name__} holds no images")
        return torch.cat([as_images(item, channels, image_size, fit, white) for item in images])
    if isinstance(images, Image.Image):
        images = to_pixels(as_picture(images), image_size, channels, fit, white=white).transpose(1, 2, 0)
    if isinstance(images, np.ndarray):
        images = _channels_first(images, channels, image_size)
    if not isinstance(images, Tensor):
        raise TypeError(f"images are PIL images, arrays, tensors or lists of these, not {type(images).__name__}")
    refuse_hollow(images)
    shape = (channels, image_size, image_size)
    if images.ndim not in (3, 4) or images.shape[-3:] != shape:
        wanted = f"(N, {channels}, {image_size}, {image_size}) or {shape}"
        raise ValueError(f"a tensor of shape {tuple(images.shape)}; this model takes {wanted}")
    return _in_range(images.view(-1, *shape))


def _channels_first(array: np.ndarray, channels: int, image_size: int) -> Tensor:
    """Copy an array (..., H, W, C), or (H, W) of gray values, to a tensor (..., C, H, W)."""
    shape = (image_size, image_size, channels)
    pixels = array[..., None] if array.ndim == 2 else array
    if pixels.ndim not in (3, 4) or pixels.shape[-3:] != shape:
        wanted = f"(N, {image_size}, {image_size}, {channels})"
        wanted += f", {shape} or {shape[:2]}" if channels == 1 else f" or {shape}"
        raise ValueError(f"an array of shape {array.shape}; this model takes {wanted}")
    if array.dtype.kind == "f":
        pixels = pixels.astype(np.float32)
    elif array.dtype != np.uint8:
        raise _wrong_values(f"are {array.dtype}")
    return torch.from_numpy(np.array(np.moveaxis(pixels, -1, -3), order="C"))


def _in_range(images: Tensor) -> Tensor:
    """Convert uint8 to float, and check that floats are in [0, 1]."""
    if images.dtype == torch.uint8:
        return to_float(images)
    if not images.is_floating_point():
        raise _wrong_values(f"are {str(images.dtype).removeprefix('torch.')}")
    images = images.float()
    if len(images):
        low, high = (value.item() for value in images.aminmax())
        if not (low >= 0 and high <= 1):  # true of NaN, too
            raise _wrong_values(f"run from {low:.8g} to {high:.8g}")
    return images


def _wrong_values(found: str) -> ValueError:
    return ValueError(f"values {found}; images are float in [0, 1] or uint8")
