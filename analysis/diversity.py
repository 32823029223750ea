"""Do samples look like the real images, and like all of them? Images are float (N, C, H, W) in [0, 1].

Improved precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991) ask whether an image lies inside the
nearest-neighbour balls around the images of another set. Here the features are the images themselves, averaged down
to 8, 16 and 32 pixels a side (as far as they have them), and membership falls off smoothly outside the balls.

In pixel space the balls are wide enough for texture that belongs to no face, since detail weighs little beside light
and pose. So detail, what 16 and 32 pixels a side show and half as many do not, is compared by its direction alone.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from analysis.reconstruction import ms_ssim
from introvae.cache import Images
from introvae.data import to_float
from introvae.randomness import generator

SIDES = (8, 16, 32)
NEIGHBOURS = 3
MOST_PAIRS = 250
NEAREST_SIDE = 16  # pixels at which images and training images are compared
CHUNK = 1024  # training images at once
ROUNDING = 1e-5  # less than one grey level of one pixel makes at 256 px
FALL = 8.0  # membership (radius / distance)^8: 1/25 at one and a half times the radius


def variance_ratio(real: Tensor, images: Tensor) -> float:
    """Total variance of the images over that of the real ones; 0 if all are alike."""
    total = [x.var(0, unbiased=False).sum().item() for x in (images, real)]
    return total[0] / total[1] if total[1] > 0 else float(total[0] == 0)


def ms_ssim_among(images: Tensor) -> float:
    """Mean MS-SSIM of two different images of a set (Odena et al. 2017), in [0, 1]; 1 if all are alike.

    Over as many random pairs as there are images, at most 250, the same for sets of the same size.
    Raises ValueError if there are fewer than two images, or they are smaller than 11 pixels.
    """
    if len(images) < 2:
        raise ValueError(f"{len(images)} images make no pair")
    order = torch.randperm(len(images), generator=generator(0, "pairs")).to(images.device)
    return ms_ssim(images[order[:MOST_PAIRS]], images[order.roll(-1)[:MOST_PAIRS]])


def nearest_training(validation: Tensor, samples: Tensor, training: Images) -> float:
    """Median distance of samples to their nearest training image over the same of validation images.

    About 1 for samples that are as new as the validation images, near 0 for memorised training images. Distances are
    Euclidean between images averaged down to at most 16 pixels a side, where blur does not bring everything nearer.
    `training` is uint8 (N, C, S, S), of which 1,024 are in memory at once. Infinite if only the validation images are
    found in the training set, 1 if both are.
    """
    distances = nearest_distances(torch.cat([samples, validation]), training)
    new, expected = (part.median().item() for part in distances.split([len(samples), len(validation)]))
    if expected == 0:
        return math.inf if new > 0 else 1.0
    return new / expected


def nearest_distances(images: Tensor, training: Images) -> Tensor:
    """Distance of each image to its nearest training image, both averaged down to at most 16 px a side, (N,)."""
    points = _small(images)
    nearest = points.new_full((len(points),), math.inf)
    for first in range(0, len(training), CHUNK):
        others = _small(to_float(training[first : first + CHUNK].to(images.device)))
        nearest = torch.minimum(nearest, torch.cdist(points, others).amin(1))
    return torch.where(nearest < ROUNDING, 0, nearest)


def _small(images: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(images, min(NEAREST_SIDE, *images.shape[-2:])).flatten(1).double()


def structure(real: Tensor, samples: Tensor) -> float:
    """Whether samples are built as the real images are, in [0, 1].

    Geometric mean of the soft precision at the coarsest scale and of the likeness of detail at each finer one.
    """
    points, centres = _scales(samples), _scales(real)
    parts = [_membership(points[0].flatten(1), centres[0].flatten(1))]
    for level in range(1, len(centres)):
        parts.append(_likeness(_detail(points, level), _detail(centres, level)))
    return math.prod(parts) ** (1 / len(parts))


def coverage(real: Tensor, samples: Tensor) -> float:
    """Soft recall in [0, 1]: how far inside the balls around the samples the real images lie.

    Samples that are all alike have balls without extent, and cover nothing.
    """
    scales = list(zip(_scales(real), _scales(samples), strict=True))
    return math.prod(_membership(x.flatten(1), y.flatten(1)) for x, y in scales) ** (1 / len(scales))


def _scales(images: Tensor) -> list[Tensor]:
    """The images averaged down to each of SIDES that they reach, float64."""
    shortest = min(images.shape[-2:])
    return [F.adaptive_avg_pool2d(images.double(), side) for side in SIDES if side <= shortest]


def _detail(scales: list[Tensor], level: int) -> Tensor:
    """What a scale shows and the one below it does not, a unit vector for each image, (N, features)."""
    coarse = F.interpolate(scales[level - 1], scales[level].shape[-2:], mode="bilinear", align_corners=False)
    return F.normalize((scales[level] - coarse).flatten(1), dim=1)


def _likeness(details: Tensor, real: Tensor) -> float:
    """(s / s_real)^FALL, at most 1, with s the mean cosine of an image's detail and the nearest real image's.

    s_real is the same of the real images among themselves.
    """
    among = (real @ real.T).fill_diagonal_(1.0 if len(real) == 1 else -1.0)
    own, expected = ((x.amax(1).clamp(min=0).mean().item()) for x in (details @ real.T, among))
    return min(1.0, own / expected) ** FALL if expected > 0 else 1.0


def _membership(points: Tensor, centres: Tensor) -> float:
    """Mean over points of the largest min(1, radius / distance)^FALL over the centres' balls.

    A ball reaches to its centre's third nearest neighbour, or the furthest where there are fewer.
    """
    neighbours = min(NEIGHBOURS, len(centres) - 1)
    radius = torch.cdist(centres, centres).sort(dim=1).values[:, neighbours]
    ratio = radius / torch.cdist(points, centres)
    return ratio.nan_to_num(nan=1.0).clamp(max=1).amax(1).pow(FALL).mean().item()
