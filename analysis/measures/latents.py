"""Walks through the latent space: interpolations, the plane through three encodings, traversals.

Latent vectors are (..., z), images float (..., C, S, S) in [0, 1]. All walks are straight lines: spherical
interpolation keeps the norm of Gaussian noise, which the means of encodings do not have.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.measures.collapse import kl_per_dimension
from introvae.nn.networks import IntroVAE

POINTS = 17  # in each walk that is measured
TOP = 8  # dimensions that are traversed
MOST_PAIRS = 16  # of images whose interpolations are measured
VISIBLE = 1 / 255  # a walk that moves its image by less shows nothing in 8 bits


def interpolation(a: Tensor, b: Tensor, points: int = POINTS) -> Tensor:
    """Return even steps from each row of `a` to the same row of `b`, both (N, z), ends included: (N, points, z)."""
    share = torch.linspace(0, 1, points, dtype=a.dtype, device=a.device)[:, None]
    return torch.lerp(a[:, None], b[:, None], share)


def plane(a: Tensor, b: Tensor, c: Tensor, points: int) -> Tensor:
    """Return the plane through three encodings (z,): z[i, j] = a + s_j (b - a) + t_i (c - a), (points, points, z).

    s and t run from 0 to 1, so that three corners are a, b and c, and the fourth is b + c - a.
    """
    columns = interpolation(a[None], b[None], points)[0]
    return columns + interpolation(a[None], c[None], points)[0][:, None] - a


@dataclass(frozen=True)
class Traversals:
    """Walks along single latent dimensions, with all others at 0.

    Attributes:
        dimensions: The k dimensions, those furthest from N(0, 1) first.
        kl: Their KL in nats, (k,).
        lowest: The values at which the walks begin, (k,).
        highest: The values at which they end, (k,).
        z: The latent vectors, (k, points, z).
    """

    dimensions: Tensor
    kl: Tensor
    lowest: Tensor
    highest: Tensor
    z: Tensor


def traversals(mu: Tensor, logvar: Tensor, count: int = TOP, points: int = POINTS) -> Traversals:
    """Return traversals of the `count` dimensions whose q(z|x) is furthest from N(0, 1), by their mean KL.

    Each runs from the lowest to the highest posterior mean among the images that `mu` and `logvar`, (N, z), encode.
    """
    kl = kl_per_dimension(mu, logvar)
    dimensions = kl.argsort(descending=True, stable=True)[:count]
    lowest, highest = mu.amin(0)[dimensions], mu.amax(0)[dimensions]
    z = torch.zeros(len(dimensions), points, mu.shape[1], dtype=mu.dtype, device=mu.device)
    values = interpolation(lowest[:, None], highest[:, None], points)
    z.scatter_(2, dimensions[:, None, None].expand(-1, points, 1), values)
    return Traversals(dimensions, kl[dimensions], lowest, highest, z)


def decoded(model: IntroVAE, z: Tensor) -> Tensor:
    """Decode latent vectors with any leading dimensions."""
    return model.decode(z.flatten(0, -2)).unflatten(0, z.shape[:-1])


def smoothness(walks: Tensor) -> float:
    """Measure how evenly and directly images change along walks (P, points, C, S, S).

    The energy of a walk of K steps is K times the sum of its squared steps, in pixels (the discrete curve energy of
    Shao et al. 2018, arXiv 1711.08014; with a perceptual distance, and averaged over walks of one short step, it is
    the perceptual path length of Karras et al. 2019, arXiv 1812.04948). Between given ends it is least, namely the
    squared distance of the ends, for even steps along the line. Smoothness is the least energy over the energy, each
    summed over the walks: contrast and length cancel, and walks that change nothing weigh nothing.

    Returns:
        A value in [0, 1]: 1 for even steps in one direction, 1 / K for a single jump, 0 for a walk back to its start or
        without a change that 8 bits show. Jumps, pauses, detours and flicker lower it. A cross-fade has 1: smoothness
        does not tell if the images in between are faces.
    """
    energy = sum((walk[1:] - walk[:-1]).double().square().sum() for walk in walks) * (walks.shape[1] - 1)
    least = (walks[:, -1] - walks[:, 0]).double().square().sum()
    if energy < VISIBLE**2 * walks[:, 0].numel():
        return 0.0
    return (least / energy).clamp(max=1).item()


def latent_smoothness(model: IntroVAE, mu: Tensor, logvar: Tensor) -> dict[str, float]:
    """Measure the `smoothness` of traversals, and of interpolations between the means `mu` (N, z), by its name."""
    first, second = pairs(len(mu), MOST_PAIRS)
    walks = {"traversal": traversals(mu, logvar).z, "interpolation": interpolation(mu[first], mu[second])}
    return {f"{name}_smoothness": smoothness(decoded(model, z)) for name, z in walks.items()}


def pairs(images: int, most: int) -> tuple[Tensor, Tensor]:
    """Return the rows of at most `most` pairs of images half the set apart: adjacent images often show one person."""
    half = max(1, images // 2)
    first = torch.linspace(0, half - 1, min(most, half)).long()
    return first, (first + half) % images
