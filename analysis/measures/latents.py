"""Walks through the latent space: interpolations, the plane through three encodings, traversals.

Latent vectors are (..., z), images float (..., C, S, S) in [0, 1]. All walks are straight lines: the spherical
interpolation of samples keeps the norm of Gaussian noise, which means of encodings do not have.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.measures.collapse import kl_per_dimension
from introvae.nn.networks import IntroVAE

POINTS = 17  # of each walk that is measured
TOP = 8  # dimensions that are traversed
MOST_PAIRS = 16  # of images whose interpolations are measured
VISIBLE = 1 / 255  # a walk that moves its image by less shows nothing in 8 bits


def interpolation(a: Tensor, b: Tensor, points: int = POINTS) -> Tensor:
    """From each of `a` to its like in `b`, both (N, z), in even steps with both ends: (N, points, z)."""
    share = torch.linspace(0, 1, points, dtype=a.dtype, device=a.device)[:, None]
    return torch.lerp(a[:, None], b[:, None], share)


def plane(a: Tensor, b: Tensor, c: Tensor, points: int) -> Tensor:
    """The seed's plane through three encodings (z,): z[i, j] = a + s_j (b - a) + t_i (c - a), (points, points, z).

    s and t run from 0 to 1, so three corners are a, b and c; the fourth is b + c - a.
    """
    columns = interpolation(a[None], b[None], points)[0]
    return columns + interpolation(a[None], c[None], points)[0][:, None] - a


@dataclass(frozen=True)
class Traversals:
    """Zero vectors in which one element runs from the lowest to the highest value seen, one walk per dimension."""

    dimensions: Tensor  # (k,), the furthest from N(0, 1) first
    kl: Tensor  # (k,) how far, in nats
    lowest: Tensor  # (k,)
    highest: Tensor  # (k,)
    z: Tensor  # (k, points, z)


def traversals(mu: Tensor, logvar: Tensor, count: int = TOP, points: int = POINTS) -> Traversals:
    """The traversals of the seed's beta-VAE page, of the `count` dimensions whose q(z|x) is furthest from N(0, 1).

    `mu` and `logvar` (N, z) are of the images whose range is run through; how far is the mean KL over them.
    """
    kl = kl_per_dimension(mu, logvar)
    dimensions = kl.argsort(descending=True, stable=True)[:count]
    lowest, highest = mu.amin(0)[dimensions], mu.amax(0)[dimensions]
    z = torch.zeros(len(dimensions), points, mu.shape[1], dtype=mu.dtype, device=mu.device)
    values = interpolation(lowest[:, None], highest[:, None], points)
    z.scatter_(2, dimensions[:, None, None].expand(-1, points, 1), values)
    return Traversals(dimensions, kl[dimensions], lowest, highest, z)


def decoded(model: IntroVAE, z: Tensor) -> Tensor:
    """Images of latent vectors with any leading dimensions."""
    return model.decode(z.flatten(0, -2)).unflatten(0, z.shape[:-1])


def smoothness(walks: Tensor) -> float:
    """How evenly and directly images change along walks (P, points, C, S, S), in [0, 1]; 1 is best.

    The energy of a walk of K steps is K times the sum of its squared steps, in pixels (the discrete curve energy of
    Shao et al. 2018, arXiv 1711.08014; with a perceptual distance, and averaged over walks of one short step, it is
    the perceptual path length of Karras et al. 2019, arXiv 1812.04948). Between the same ends the least energy is the
    squared distance of the ends, at even steps along the line. Given is the least energy over the energy, each summed
    over the walks, so that contrast and length cancel, and walks that change nothing weigh nothing.

    1: even steps in one direction. 1 / K: one jump. 0: a walk back to where it began, or no change that 8 bits
    show. Jumps, stretches without change, detours and flicker lower it. A cross-fade has 1: whether what lies
    between is a face, it does not say.
    """
    energy = sum((walk[1:] - walk[:-1]).double().square().sum() for walk in walks) * (walks.shape[1] - 1)
    least = (walks[:, -1] - walks[:, 0]).double().square().sum()
    if energy < VISIBLE**2 * walks[:, 0].numel():
        return 0.0
    return (least / energy).clamp(max=1).item()


def latent_smoothness(model: IntroVAE, mu: Tensor, logvar: Tensor) -> dict[str, float]:
    """`smoothness` of the TOP traversals, and of interpolations between encodings (N, z), in POINTS points."""
    first, second = pairs(len(mu), MOST_PAIRS)
    walks = {"traversal": traversals(mu, logvar).z, "interpolation": interpolation(mu[first], mu[second])}
    return {f"{name}_smoothness": smoothness(decoded(model, z)) for name, z in walks.items()}


def pairs(images: int, most: int) -> tuple[Tensor, Tensor]:
    """Rows of at most `most` pairs of images half the set apart, so that neighbours of one person never meet."""
    half = max(1, images // 2)
    first = torch.linspace(0, half - 1, min(most, half)).long()
    return first, (first + half) % images
