"""Posterior collapse seen in the latents: means and log-variances (N, z) of q(z|x)."""

import torch
from torch import Tensor

from introvae.losses import kl_divergence

THRESHOLDS = (1e-3, 1e-2, 1e-1)


def active_units(mu: Tensor, thresholds: tuple[float, ...] = THRESHOLDS) -> dict[str, int]:
    """Dimensions whose posterior mean varies over images by more than each threshold (Burda et al. 2016)."""
    variance = mu.var(0) if len(mu) > 1 else torch.zeros_like(mu[0])
    return {f"{threshold:g}": int((variance > threshold).sum()) for threshold in thresholds}


def kl_per_dimension(mu: Tensor, logvar: Tensor) -> Tensor:
    """Mean over images of the KL of each dimension in nats, (z,)."""
    count, latent = mu.shape
    return kl_divergence(mu.reshape(-1, 1), logvar.reshape(-1, 1)).reshape(count, latent).mean(0)
