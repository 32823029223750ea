"""Do samples look like the real images, and like all of them? Images are float (N, C, H, W) in [0, 1].

Improved precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991) ask whether an image lies inside the
nearest-neighbour balls around the images of another set. Here the features are the images averaged down to 8x8,
which keeps a face's structure and forgets its texture, and membership falls off smoothly outside the balls.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 8
NEIGHBOURS = 3
FALL = 4.0  # membership (radius / distance)^4: 1/16 at twice the radius


def variance_ratio(real: Tensor, images: Tensor) -> float:
    """Total variance of the images over that of the real ones; 0 if all are alike."""
    total = [x.var(0, unbiased=False).sum().item() for x in (images, real)]
    return total[0] / total[1] if total[1] > 0 else float(total[0] == 0)


def structure(real: Tensor, samples: Tensor) -> float:
    """Soft precision in [0, 1]: how far inside the balls around the real images the samples lie."""
    return _membership(_features(samples), _features(real))


def coverage(real: Tensor, samples: Tensor) -> float:
    """Soft recall in [0, 1]: how far inside the balls around the samples the real images lie.

    Samples that are all alike have balls without extent, and cover nothing.
    """
    return _membership(_features(real), _features(samples))


def _features(images: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(images.double(), SIDE).flatten(1)


def _membership(points: Tensor, centres: Tensor) -> float:
    """Mean over points of the largest min(1, radius / distance)^FALL over the centres' balls.

    A ball reaches to its centre's third nearest neighbour, or the furthest where there are fewer.
    """
    neighbours = min(NEIGHBOURS, len(centres) - 1)
    radius = torch.cdist(centres, centres).sort(dim=1).values[:, neighbours]
    ratio = radius / torch.cdist(points, centres)
    return ratio.nan_to_num(nan=1.0).clamp(max=1).amax(1).pow(FALL).mean().item()
