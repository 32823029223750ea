"""Collapse, seen in the latents, means and log-variances (N, z) of q(z|x), and seen in the images."""

import torch
from torch import Tensor

from analysis.diversity import variance_ratio
from analysis.reconstruction import retrieval
from introvae.losses import kl_divergence

THRESHOLDS = (1e-3, 1e-2, 1e-1)
LEAST_RETRIEVED = 0.05  # share of reconstructions that find their input, beyond chance
LEAST_VARIANCE = 0.05  # of the samples, as a share of the real images'


def active_units(mu: Tensor, thresholds: tuple[float, ...] = THRESHOLDS) -> dict[str, int]:
    """Dimensions whose posterior mean varies over images by more than each threshold (Burda et al. 2016)."""
    variance = mu.var(0) if len(mu) > 1 else torch.zeros_like(mu[0])
    return {f"{threshold:g}": int((variance > threshold).sum()) for threshold in thresholds}


def kl_per_dimension(mu: Tensor, logvar: Tensor) -> Tensor:
    """Mean over images of the KL of each dimension in nats, (z,)."""
    count, latent = mu.shape
    return kl_divergence(mu.reshape(-1, 1), logvar.reshape(-1, 1)).reshape(count, latent).mean(0)


def image_collapse(real: Tensor, reconstructions: Tensor, samples: Tensor) -> str:
    """Why a model has collapsed, or "": its reconstructions ignore their input, or its samples are all alike.

    Images are float (N, C, H, W) in [0, 1]. The KL does not tell: it is large in runs that fail this way.
    """
    retrieved, chance = retrieval(real, reconstructions), 1 / len(real)
    if retrieved < chance + LEAST_RETRIEVED * (1 - chance):
        return f"input ignored (retrieval {retrieved:.3f})"
    variance = variance_ratio(real, samples)
    if variance < LEAST_VARIANCE:
        return f"samples alike (variance ratio {variance:.3f})"
    return ""
