"""The terms of IntroVAE (Huang et al. 2018, arXiv 1807.06358) and of Soft-IntroVAE as pure functions.

Images are float tensors (N, C, H, W) in [0, 1]; latent means and log-variances are (N, z).
Every energy is in nats and given for each image, (N,), so that a caller chooses the mean.
"""

import torch
from torch import Tensor


def reconstruction_error(reconstruction: Tensor, image: Tensor) -> Tensor:
    """L_AE, half the squared error summed over pixels, (N,): 1/2 sum (x_r - x)^2 (equation 10)."""
    return 0.5 * (reconstruction - image).square().flatten(1).sum(1)


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """L_REG, the energy of an encoding, (N,), in nats, never negative (equation 9).

    KL(N(mu, sigma^2) || N(0, I)) = 1/2 sum_z (mu^2 + sigma^2 - 1 - log sigma^2).
    """
    return 0.5 * (mu.square() + torch.expm1(logvar) - logvar).sum(1)


def hinge(kl: Tensor, m: float) -> Tensor:
    """[m - KL]^+ with its mean, the encoder's push on images below the margin `m` in nats (equation 11); a scalar.

    `kl` (N,) gives the hinge of each image, as EBGAN defines it; the batch's mean energy, a scalar, gives one
    hinge for all of them, as the authors' code does.
    """
    return (m - kl).relu().mean()


def exponential_elbo(energy: Tensor) -> Tensor:
    """1/2 exp(-2 energy) with its mean, a scalar: what takes the hinge's place in Soft-IntroVAE.

    `energy` (N,), 0 or more, is a fake's negative ELBO: its own weighted reconstruction error and KL (Daniel and Tamar
    2021, arXiv 2012.13253, the encoder's objective with their alpha of 2).
    """
    return 0.5 * torch.exp(-2 * energy).mean()


def sample_posterior(mu: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
    """z = mu + sigma * noise, (N, z), the reparametrisation of Kingma and Welling (2014)."""
    return mu + torch.exp(0.5 * logvar) * noise
