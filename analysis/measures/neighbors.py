"""Structure and diversity of samples, from distances to their nearest neighbors among the real images.

Images are float (N, C, H, W) in [0, 1].

Improved precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991) ask if an image lies inside the
nearest-neighbor balls around the images of another set. Here the features are the images themselves, averaged down to
8, 16 and 32 pixels a side (those that the images reach), and membership falls off smoothly outside the balls.

In pixel space the balls are wide enough for texture that belongs to no face, since detail weighs little beside light
and pose. Therefore detail, which 16 or 32 pixels a side show and half as many do not, is compared by direction alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SIDES = (8, 16, 32)
NEIGHBORS = 3
FALL = 8.0  # power of membership, (radius / distance)^8: 1/25 at one and a half times the radius
STEEP = 16  # power of likeness: cosines at 96% of those that real images reach count half


@dataclass(frozen=True)
class Pairs:
    """Distances and cosines between all pairs of N real images and M samples, from which some rows can be kept.

    Attributes:
        real: Distances among the real images, (N, N) for each scale.
        samples: Distances among the samples, (M, M) for each scale.
        between: Distances of samples to real images, (M, N) for each scale.
        real_detail: Cosines between the detail of real images, (N, N) for each scale but the first.
        detail: Cosines between the detail of samples and real images, (M, N) for each scale but the first.
    """

    real: Sequence[Tensor]
    samples: Sequence[Tensor]
    between: Sequence[Tensor]
    real_detail: Sequence[Tensor]
    detail: Sequence[Tensor]

    @staticmethod
    def of(real: Tensor, samples: Tensor) -> "Pairs":
        """Compare all images at every scale that they reach."""
        x, y = _scales(real), _scales(samples)
        details = [(_detail(x, level), _detail(y, level)) for level in range(1, len(x))]
        flat = [(a.flatten(1), b.flatten(1)) for a, b in zip(x, y, strict=True)]
        return Pairs(
            [torch.cdist(a, a).fill_diagonal_(0) for a, _ in flat],
            [torch.cdist(b, b).fill_diagonal_(0) for _, b in flat],
            [torch.cdist(b, a) for a, b in flat],
            [a @ a.T for a, _ in details],
            [b @ a.T for a, b in details],
        )

    def keep(self, real: Tensor, samples: Tensor) -> "Pairs":
        """Return the pairs of the real images and the samples in these rows."""

        def part(matrices: Sequence[Tensor], rows: Tensor, columns: Tensor) -> list[Tensor]:
            return [matrix[rows][:, columns] for matrix in matrices]

        return Pairs(
            part(self.real, real, real),
            part(self.samples, samples, samples),
            part(self.between, samples, real),
            part(self.real_detail, real, real),
            part(self.detail, samples, real),
        )


def structure(pairs: Pairs) -> float:
    """Measure the resemblance of samples to real images, in [0, 1].

    This is the product of the soft precision at the coarsest scale and of the likeness of detail at each finer one: an
    image that fails at one scale is no face. The balls reach to the third nearest neighbor.
    """
    likeness = [_likeness(detail, real) for detail, real in zip(pairs.detail, pairs.real_detail, strict=True)]
    return math.prod([_precision(pairs.between[0], pairs.real[0]), *likeness])


def diversity(pairs: Pairs) -> float:
    """Measure the variety of samples relative to that of the real images, in [0, 1].

    This is the geometric mean over scales of the soft recall, the membership of real images in the balls around the
    samples, and of the distinctness of samples. Samples that are all alike have balls of radius 0 and cover nothing.
    """
    parts = [
        _membership(between.T, _nearest(samples, NEIGHBORS)).mean().item() * _distinct(samples, real)
        for between, samples, real in zip(pairs.between, pairs.samples, pairs.real, strict=True)
    ]
    return math.prod(parts) ** (0.5 / len(parts))


def _scales(images: Tensor) -> list[Tensor]:
    """Average the images down to each of SIDES that they reach, in float64."""
    shortest = min(images.shape[-2:])
    return [F.adaptive_avg_pool2d(images.double(), side) for side in SIDES if side <= shortest]


def _detail(scales: list[Tensor], level: int) -> Tensor:
    """Return the detail that a scale adds to the one below it, a unit vector for each image, (N, features)."""
    coarse = F.interpolate(scales[level - 1], scales[level].shape[-2:], mode="bilinear", align_corners=False)
    return F.normalize((scales[level] - coarse).flatten(1), dim=1)


def _likeness(detail: Tensor, among_real: Tensor) -> float:
    """Compare the cosines of samples' detail with the closest real image's to those among real images."""
    others = among_real.clone().fill_diagonal_(-math.inf if len(among_real) > 1 else 1.0)
    return _relative(detail.amax(1).clamp(min=0), others.amax(1).clamp(min=0)) ** STEEP


def _precision(distance: Tensor, among_real: Tensor) -> float:
    """Compare the membership of samples in the real images' balls to that of real images in each other's."""
    others = among_real.clone().fill_diagonal_(math.inf if len(among_real) > 1 else 0.0)
    radius = _nearest(among_real, NEIGHBORS)
    return _relative(_membership(distance, radius), _membership(others, radius))


def _relative(values: Tensor, real: Tensor) -> float:
    """Divide the mean of the values by that of the real images less two standard errors of the difference; at most 1.

    Other real images of the same kind nearly always reach 1, however few there are.
    """
    error = real.std(unbiased=False) * math.sqrt(1 / len(values) + 1 / len(real))
    expected = (real.mean() - 2 * error).item()
    return min(1.0, values.mean().item() / expected) if expected > 0 else 1.0


def _membership(distance: Tensor, radius: Tensor) -> Tensor:
    """Return each point's largest min(1, radius / distance)^FALL over the balls, from distances (points, centers)."""
    return (radius / distance).nan_to_num(nan=1.0).clamp(max=1).amax(1).pow(FALL)


def _distinct(samples: Tensor, real: Tensor) -> float:
    """Return the mean of min(1, distance to the nearest other sample / its median among real images).

    The mean is relative to that of the real images, and at most 1.
    """
    own, expected = _nearest(samples, 1), _nearest(real, 1)
    typical = expected.median()
    if typical == 0:
        return 1.0

    def share(distance: Tensor) -> float:
        return (distance / typical).clamp(max=1).mean().item()

    return min(1.0, share(own) / share(expected))


def _nearest(distance: Tensor, k: int) -> Tensor:
    """Return the distance of each image to its k-th nearest neighbor, or to the furthest if there are fewer."""
    return distance.topk(min(k, len(distance) - 1) + 1, largest=False).values[:, -1]
