"""Copies among images: the same picture, also mirrored or compressed again. Images are float (N, C, H, W) in [0, 1]."""

import torch
from torch import Tensor
from torch.nn import functional as F

from introvae.data.image_set import to_float
from introvae.data.pixel_cache import Images

COARSE_SIDE = 16  # pixels at which brightness is compared: JPEG changes it less there, and another photograph more
SAME_COARSE = 4 / 255  # root mean square; JPEG of quality 90 changes it by up to 0.011, two ORL faces differ by 0.020
SAME_PIXELS = 16 / 255  # the same of all pixels and colors: JPEG takes much of them; textures that differ are above it
CHUNK = 1024  # training images at once
PAIRS = 64  # images at once whose pixels are compared


def distinct(images: Tensor) -> Tensor:
    """Return whether each image is no copy of an earlier one, (N,)."""
    distance = _coarse_distance(images, images)
    earlier = distance.masked_fill(torch.ones_like(distance, dtype=torch.bool).triu(), torch.inf)
    return ~_copied(images, images, earlier)


def copied_samples(samples: Tensor, training: Images) -> float:
    """Return the share of samples that are copies of a training image.

    Root mean square differences decide: up to 4/255 in brightness, averaged down to at most 16 pixels a side, and up to
    16/255 in the pixels. No validation face of ORL or LFW comes closer to a training image than 0.035 and 0.07 in
    brightness. JPEG of quality 90 leaves copies of 32 px and more copies.

    Args:
        samples: Samples of the model.
        training: The training images, uint8 (N, C, S, S); 1,024 are in memory at once.
    """
    found = torch.zeros(len(samples), dtype=torch.bool, device=samples.device)
    for first in range(0, len(training), CHUNK):
        others = to_float(training[first : first + CHUNK].to(samples.device))
        found |= _copied(samples, others, _coarse_distance(samples, others))
    return found.double().mean().item()


def _coarse_distance(images: Tensor, others: Tensor) -> Tensor:
    """Return the root mean square difference in coarse brightness, to an image or its mirror image, (N, M)."""
    points = _coarse(images)
    return torch.minimum(*(torch.cdist(points, _coarse(x)) for x in (others, others.flip(-1))))


def _copied(images: Tensor, others: Tensor, distance: Tensor) -> Tensor:
    """Return whether each image is a copy of the one nearest by `distance` (N, M), (N,)."""
    nearest, index = distance.min(1)
    copied = nearest <= SAME_COARSE
    for rows in copied.nonzero()[:, 0].split(PAIRS):
        a, b = images[rows], others[index[rows]]
        differences = torch.stack([(a - x).flatten(1).double().square().mean(1).sqrt() for x in (b, b.flip(-1))])
        copied[rows] = differences.amin(0) <= SAME_PIXELS
    return copied


def _coarse(images: Tensor) -> Tensor:
    """Return brightness at no more than 16 pixels a side, scaled so that distances are root mean squares, (N, D)."""
    side = min(COARSE_SIDE, *images.shape[-2:])
    return F.adaptive_avg_pool2d(images.mean(1), side).flatten(1).double() / side
