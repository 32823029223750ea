"""The terms of IntroVAE (Huang et al. 2018, arXiv 1807.06358) and of Soft-IntroVAE as pure functions.

Images are float tensors (N, C, H, W) in [0, 1]; latent means and log-variances are (N, z).
Every energy is in nats and given for each image, (N,), so that the caller averages.

Weights of Soft-IntroVAE's code (taldatech/soft-intro-vae-pytorch), which does not halve the squared error, in ours:

    alpha = 0.5    beta = 2 beta_rec    kl_weight = beta_kl    alpha_decoder = beta_kl / 2    beta_neg = beta_neg
    gamma_r = gamma_r / 2, as beta is a factor of it
"""

import torch
from torch import Tensor


def reconstruction_error(reconstruction: Tensor, image: Tensor) -> Tensor:
    """Return L_AE of each image, (N,): half the squared error summed over pixels, 1/2 sum (x_r - x)^2 (equation 10)."""
    return 0.5 * (reconstruction - image).square().flatten(1).sum(1)


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """Return L_REG, the energy of each encoding, (N,), in nats, never negative (equation 9).

    KL(N(mu, sigma^2) || N(0, I)) = 1/2 sum_z (mu^2 + sigma^2 - 1 - log sigma^2).
    """
    return 0.5 * (mu.square() + torch.expm1(logvar) - logvar).sum(1)


def hinge(kl: Tensor, m: float) -> Tensor:
    """Return the mean of [m - KL]^+, the encoder's push on images below the margin (equation 11).

    Args:
        kl: Energies in nats. (N,) gives a hinge for each image, as EBGAN defines it; the batch's mean energy, a scalar,
            gives one hinge for all of them, as the authors' code does.
        m: The margin in nats.
    """
    return (m - kl).relu().mean()


def exponential_elbo(energy: Tensor) -> Tensor:
    """Return the mean of 1/2 exp(-2 energy), which takes the hinge's place in Soft-IntroVAE.

    Args:
        energy: A fake's negative ELBO, (N,), 0 or more: its own weighted reconstruction error and KL (Daniel and Tamar
            2021, arXiv 2012.13253, the encoder's objective with their alpha of 2).
    """
    return 0.5 * torch.exp(-2 * energy).mean()


def sample_posterior(mu: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
    """Return z = mu + sigma * noise, (N, z), the reparameterization of Kingma and Welling (2014)."""
    return mu + torch.exp(0.5 * logvar) * noise
