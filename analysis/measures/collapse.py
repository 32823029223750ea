"""Collapse, seen in the latents, means and log-variances (N, z) of q(z|x), and seen in the images."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from analysis.measures.novelty import variance_ratio
from analysis.measures.reconstruction import retrieval
from introvae.training.losses import kl_divergence, sample_posterior

THRESHOLDS = (1e-3, 1e-2, 1e-1)
LEAST_RETRIEVED = 0.05  # share of reconstructions that find their input, beyond chance
LEAST_VARIANCE = 0.05  # of the samples, as a share of the real images'


def active_units(mu: Tensor, thresholds: tuple[float, ...] = THRESHOLDS) -> dict[str, int]:
    """Dimensions whose posterior mean varies over images by more than each threshold (Burda et al. 2016)."""
    variance = mu.var(0) if len(mu) > 1 else torch.zeros_like(mu[0])
    return {f"{threshold:g}": int((variance > threshold).sum()) for threshold in thresholds}


def kl_per_dimension(mu: Tensor, logvar: Tensor) -> Tensor:
    """Mean over images of the KL of each dimension in nats, (z,)."""
    return _kl_of_each(mu, logvar).mean(0)


def kl_quantiles(mu: Tensor, logvar: Tensor, quantiles: tuple[float, ...] = (0.05, 0.5, 0.95)) -> Tensor:
    """Quantiles over images of the KL of each dimension in nats, (quantiles, z): a mean hides a few strong images."""
    return torch.quantile(_kl_of_each(mu, logvar), mu.new_tensor(quantiles), dim=0)


def kl_quantile(mu: Tensor, logvar: Tensor, quantile: float) -> float:
    """The KL in nats, summed over dimensions, below which this share of the images lies: m is to hold the high ones."""
    return torch.quantile(kl_divergence(mu, logvar), quantile).item()


def collapsed_share(mu: Tensor, logvar: Tensor, epsilon: float = 0.01, delta: float = 0.01) -> float:
    """Share of dimensions that are (epsilon, delta)-collapsed (Lucas et al. 2019, arXiv 1911.02469), in [0, 1].

    Their KL is below `epsilon` nats for at least 1 - `delta` of the images.
    """
    below = (_kl_of_each(mu, logvar) < epsilon).double().mean(0)
    return (below >= 1 - delta).double().mean().item()


def mutual_information(mu: Tensor, logvar: Tensor, noise: Tensor) -> float:
    """I(x; z) in nats under q (Hoffman and Johnson 2016), from one z = mu + sigma * noise for each of N images.

    The mean of log q(z|x) - log q(z), q(z) being the mean of the N posteriors: never above log N, and there it is
    saturated: all that it says then is that every image has a place of its own. May be slightly negative.
    """
    z, mu, logvar = (x.double() for x in (sample_posterior(mu, logvar, noise), mu, logvar))
    centre, precision = mu.mean(0), torch.exp(-logvar)
    z, mu = z - centre, mu - centre  # or squares of a large mean would cancel each other
    # log density of z_i under posterior j, [i, j], up to a constant; expanded, as N x N x z differences take gigabytes
    squares = z.square() @ precision.T - 2 * z @ (mu * precision).T + (mu.square() * precision).sum(1)
    log_q = -0.5 * (squares + logvar.sum(1))
    return (log_q.diagonal() - log_q.logsumexp(1)).mean().item() + math.log(len(mu))


def aggregate_divergence(mu: Tensor, logvar: Tensor) -> float:
    """KL in nats from N(0, I) of the Gaussian with the moments of the aggregate posterior: 0 if they agree.

    1/2 (tr S + m'm - z - log det S), with m the mean and S the covariance of z over images and noise. Free of the
    saturation that a sampled estimate has.
    """
    mu, variance = mu.double(), logvar.double().exp().mean(0)
    mean = mu.mean(0)
    centred = mu - mean
    covariance = centred.T @ centred / len(mu) + variance.diag()
    return 0.5 * (covariance.trace() + mean @ mean - len(mean) - covariance.logdet()).item()


def inside_margin(mu: Tensor, logvar: Tensor, m: float) -> float:
    """Share of images whose KL is below the margin m in nats, in [0, 1].

    The encoder pushes reconstructions and samples up to m (Huang et al. 2018, equation 11), and real images down.
    """
    return (kl_divergence(mu, logvar) < m).double().mean().item()


def decoder_sensitivity(decode: Callable[[Tensor], Tensor], mu: Tensor) -> Tensor:
    """How much an image changes when one latent dimension moves by 1, a standard deviation of the prior, (z,).

    Root mean square over pixels in [0, 1] and over the given posterior means, (N, z): the finite difference that
    stands for a column of the decoder's Jacobian (Rolinek et al. 2019, arXiv 1812.06775). 0 for a dimension that
    the decoder ignores. Decodes (z + 1) N images.
    """
    images = decode(mu)
    steps = torch.eye(mu.shape[1], dtype=mu.dtype, device=mu.device)
    return torch.stack([(decode(mu + step) - images).square().mean().sqrt() for step in steps])


def image_collapse(real: Tensor, reconstructions: Tensor, samples: Tensor) -> str:
    """Why a model has collapsed, or "": its reconstructions ignore their input, or its samples are all alike.

    Images are float (N, C, H, W) in [0, 1]. The KL does not tell: it is large in runs that fail this way.
    """
    return collapse_reason(retrieval(real, reconstructions), variance_ratio(real, samples), len(real))


def collapse_reason(retrieved: float, variance: float, images: int) -> str:
    """The same from the measures `retrieval` and `variance_ratio`, of so many images."""
    chance = 1 / images
    if retrieved < chance + LEAST_RETRIEVED * (1 - chance):
        return f"input ignored (retrieval {retrieved:.3f})"
    if variance < LEAST_VARIANCE:
        return f"samples alike (variance ratio {variance:.3f})"
    return ""


def _kl_of_each(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL of each image and dimension in nats, (N, z)."""
    return kl_divergence(mu.reshape(-1, 1), logvar.reshape(-1, 1)).reshape(mu.shape)
