"""Measures of collapse, from the latents and from the images.

Latents are given by the means `mu` and log-variances `logvar`, both (N, z), of q(z|x) for N images.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from analysis.measures.novelty import variance_ratio
from analysis.measures.reconstruction import retrieval
from introvae.training.losses import kl_divergence, sample_posterior

THRESHOLDS = (1e-3, 1e-2, 1e-1)
LEAST_KL, LEAST_NATS = 0.05, 0.1  # of real images: as a share of a VAE's, and in nats
LEAST_RETRIEVED = 0.05  # share of reconstructions that find their input, beyond chance
LEAST_VARIANCE = 0.05  # of the samples, as a share of the real images'


def active_units(mu: Tensor) -> dict[str, int]:
    """Count the dimensions whose posterior mean varies over images by more than a threshold (Burda et al. 2016).

    Returns:
        The number of dimensions by the threshold, written as text such as "0.01".
    """
    variance = mu.var(0) if len(mu) > 1 else torch.zeros_like(mu[0])
    return {f"{threshold:g}": int((variance > threshold).sum()) for threshold in THRESHOLDS}


def kl_per_dimension(mu: Tensor, logvar: Tensor) -> Tensor:
    """Return the KL of each dimension in nats, averaged over images, (z,)."""
    return _kl_of_each(mu, logvar).mean(0)


def kl_quantiles(mu: Tensor, logvar: Tensor, quantiles: tuple[float, ...] = (0.05, 0.5, 0.95)) -> Tensor:
    """Return quantiles over images of the KL of each dimension in nats, (quantiles, z).

    They show the few strong images that a mean hides.
    """
    return torch.quantile(_kl_of_each(mu, logvar), mu.new_tensor(quantiles), dim=0)


def kl_quantile(mu: Tensor, logvar: Tensor, quantile: float) -> float:
    """Return the KL in nats, summed over dimensions, that a share `quantile` of the images stays below."""
    return torch.quantile(kl_divergence(mu, logvar), quantile).item()


def collapsed_share(mu: Tensor, logvar: Tensor, epsilon: float = 0.01, delta: float = 0.01) -> float:
    """Return the share of dimensions that are (epsilon, delta)-collapsed (Lucas et al. 2019, arXiv 1911.02469).

    These have a KL below `epsilon` nats for at least a share 1 - `delta` of the images.
    """
    below = (_kl_of_each(mu, logvar) < epsilon).double().mean(0)
    return (below >= 1 - delta).double().mean().item()


def mutual_information(mu: Tensor, logvar: Tensor, noise: Tensor) -> float:
    """Estimate the mutual information I(x; z) under q (Hoffman and Johnson 2016).

    The estimate is the mean of log q(z|x) - log q(z) over one z = mu + sigma * noise for each of N images, with q(z)
    the mean of the N posteriors.

    Returns:
        Nats, at most log N, where the estimate is saturated and says only that every image has a place of its own;
        possibly slightly negative.
    """
    z, mu, logvar = (x.double() for x in (sample_posterior(mu, logvar, noise), mu, logvar))
    center, precision = mu.mean(0), torch.exp(-logvar)
    z, mu = z - center, mu - center  # or squares of a large mean would cancel each other
    # log density of z_i under posterior j, [i, j], up to a constant; expanded, as N x N x z differences take gigabytes
    squares = z.square() @ precision.T - 2 * z @ (mu * precision).T + (mu.square() * precision).sum(1)
    log_q = -0.5 * (squares + logvar.sum(1))
    return (log_q.diagonal() - log_q.logsumexp(1)).mean().item() + math.log(len(mu))


def aggregate_divergence(mu: Tensor, logvar: Tensor) -> float:
    """Estimate the KL in nats of the aggregate posterior, as a Gaussian with its moments, from the prior N(0, I).

    1/2 (tr S + m'm - z - log det S), with m the mean and S the covariance of the latents over images and noise: that of
    the posterior means, C, and the mean posterior variance, V. Unlike a sampled estimate, this one does not saturate.
    The moments of few images are corrected, as they alone would make 80 encodings with z 64 differ from any prior.

    Returns:
        Nats, possibly slightly negative; NaN if there are too few images for so many dimensions.
    """
    mu, variance = mu.double(), logvar.double().exp().mean(0)
    mean = mu.mean(0)
    centered = mu - mean
    trace = centered.square().sum().item() / max(1, len(mu) - 1)  # of C, without bias
    bias = trace / len(mu)  # of m'm
    moments = trace - bias + (variance.sum() + mean @ mean).item() - len(mean)
    return 0.5 * (moments - _log_determinant(centered, variance))


def _log_determinant(centered: Tensor, variance: Tensor) -> float:
    """Estimate log det (C_0 + V) from centered rows (N, z) with the expected covariance C_0, and V's diagonal, (z,).

    With A and A_0 for V^-1/2 C V^-1/2 and its expectation, n = N - 1, and g = 1 - z/n + t/n tr (A + t)^-1, for large n
    and z, tr (A + t)^-1 equals tr (g A_0 + t)^-1, and log det (A + t) equals log det (g A_0 + t) + n (g - 1 - log g)
    (Hachem, Loubaton and Najim 2007, Annals of Applied Probability 17). The t that is g turns both into A_0 + 1.
    """
    n = max(1, len(centered) - 1)
    scaled = centered / variance.sqrt()
    spectrum = torch.linalg.eigvalsh(scaled.T @ scaled / n).clamp(min=0)
    low, t = 0.0, 1.0
    for _ in range(50):
        middle = (low + t) / 2
        if n * (middle - 1) + (spectrum / (spectrum + middle)).sum() < 0:  # n (t - g)
            low = middle
        else:
            t = middle
    if low == 0:
        return math.nan
    shift = len(variance) * math.log(t) + n * (t - 1 - math.log(t))
    return ((spectrum + t).log().sum() + variance.log().sum()).item() - shift


def inside_margin(mu: Tensor, logvar: Tensor, m: float) -> float:
    """Return the share of images whose KL is below the margin m in nats.

    The encoder pushes the KL of reconstructions and samples up to m, and that of real images down (Huang et al. 2018,
    equation 11).
    """
    return (kl_divergence(mu, logvar) < m).double().mean().item()


def decoder_sensitivity(decode: Callable[[Tensor], Tensor], mu: Tensor) -> Tensor:
    """Measure how much images change when one latent dimension moves by 1, a standard deviation of the prior.

    A finite difference stands for a column of the decoder's Jacobian (Rolinek et al. 2019, arXiv 1812.06775).

    Args:
        decode: The decoder, from latents to images in [0, 1]; (z + 1) N images are decoded.
        mu: The latents to start from, (N, z).

    Returns:
        The root mean square change over pixels and latents for each dimension, (z,); 0 for one that is ignored.
    """
    images = decode(mu)
    steps = torch.eye(mu.shape[1], dtype=mu.dtype, device=mu.device)
    return torch.stack([(decode(mu + step) - images).square().mean().sqrt() for step in steps])


def posterior_collapse(kl: float, vae_kl: float, predicted: bool = False) -> str:
    """Return the reason why a posterior counts as collapsed, or "" if it does not.

    Args:
        kl: KL of real images in nats, summed over dimensions.
        vae_kl: KL in nats that a VAE reaches at the run's beta.
        predicted: No warm-up has measured it.
    """
    if kl < max(LEAST_NATS, LEAST_KL * vae_kl):
        return f"posterior collapse (KL {kl:.3g} nats, a VAE's is {'predicted to be ' * predicted}{vae_kl:.3g})"
    return ""


def image_collapse(real: Tensor, reconstructions: Tensor, samples: Tensor) -> str:
    """Return the reason why a model counts as collapsed, or "" if it does not.

    Either its reconstructions ignore their input, or its samples are all alike. The KL does not show this: it is large
    in runs that fail in this way. Images are float (N, C, H, W) in [0, 1].
    """
    return collapse_reason(retrieval(real, reconstructions), variance_ratio(real, samples), len(real))


def collapse_reason(retrieved: float, variance: float, images: int) -> str:
    """Return the result of `image_collapse` from the `retrieval` and `variance_ratio` of this number of images."""
    chance = 1 / images
    if retrieved < chance + LEAST_RETRIEVED * (1 - chance):
        return f"input ignored (retrieval {retrieved:.3f})"
    if variance < LEAST_VARIANCE:
        return f"samples alike (variance ratio {variance:.3f})"
    return ""


def _kl_of_each(mu: Tensor, logvar: Tensor) -> Tensor:
    """Return the KL of each image and dimension in nats, (N, z)."""
    return kl_divergence(mu.reshape(-1, 1), logvar.reshape(-1, 1)).reshape(mu.shape)
