"""Do samples look like the real images, and like all of them? Images are float (N, C, H, W) in [0, 1].

Improved precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991) ask whether an image lies inside the
nearest-neighbour balls around the images of another set. Here the features are the images themselves, averaged down
to 8, 16 and 32 pixels a side (as far as they have them), and membership falls off smoothly outside the balls: the
coarse scale sees a face's structure, the fine one that texture lies where it belongs.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

SIDES = (8, 16, 32)
NEIGHBOURS = 3
FALL = 8.0  # membership (radius / distance)^8: 1/25 at one and a half times the radius


def variance_ratio(real: Tensor, images: Tensor) -> float:
    """Total variance of the images over that of the real ones; 0 if all are alike."""
    total = [x.var(0, unbiased=False).sum().item() for x in (images, real)]
    return total[0] / total[1] if total[1] > 0 else float(total[0] == 0)


def structure(real: Tensor, samples: Tensor) -> float:
    """Soft precision in [0, 1]: how far inside the balls around the real images the samples lie."""
    return _over_scales(samples, real)


def coverage(real: Tensor, samples: Tensor) -> float:
    """Soft recall in [0, 1]: how far inside the balls around the samples the real images lie.

    Samples that are all alike have balls without extent, and cover nothing.
    """
    return _over_scales(real, samples)


def _over_scales(points: Tensor, centres: Tensor) -> float:
    """Geometric mean of the membership at each scale."""
    sides = [side for side in SIDES if side <= min(points.shape[-2:])] or [min(points.shape[-2:])]
    scales = [[F.adaptive_avg_pool2d(x.double(), side).flatten(1) for x in (points, centres)] for side in sides]
    return math.prod(_membership(*features) for features in scales) ** (1 / len(scales))


def _membership(points: Tensor, centres: Tensor) -> float:
    """Mean over points of the largest min(1, radius / distance)^FALL over the centres' balls.

    A ball reaches to its centre's third nearest neighbour, or the furthest where there are fewer.
    """
    neighbours = min(NEIGHBOURS, len(centres) - 1)
    radius = torch.cdist(centres, centres).sort(dim=1).values[:, neighbours]
    ratio = radius / torch.cdist(points, centres)
    return ratio.nan_to_num(nan=1.0).clamp(max=1).amax(1).pow(FALL).mean().item()
