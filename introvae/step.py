"""One training step: which pass feeds which update (Algorithm 1 of Huang et al. 2018).

The update is Algorithm 1's exactly, with as few network passes as it allows. Counted in batches, the
encoder runs 5 forward passes, 3 weight gradients and 5 input gradients, the decoder 2, 2 and 3:

- the decoder runs once on z and once on prior noise, and both graphs serve both updates;
- the reconstruction's gradient reaches the encoder through z without touching the decoder's weights;
- the decoder's loss passes through the updated encoder as an input gradient only;
- the decoder's weights get one backward pass, with the sum of both their gradients on each image.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from introvae.losses import hinge, kl_divergence, reconstruction_error, sample_posterior
from introvae.networks import IntroVAE


@dataclass(frozen=True)
class Weights:
    """The weights of one step's losses; `m` in nats."""

    alpha: float
    alpha_decoder: float
    beta: float
    kl_weight: float
    m: float
    hinge: str = "sample"


class Terms(NamedTuple):
    """What a step computed on the way, detached: two scalar losses, energies (N,), latents (N, z), in nats.

    The energies are the encoder's before its update. Those of reconstructions and samples are None for a VAE step.
    """

    loss_encoder: Tensor
    loss_decoder: Tensor
    reconstruction: Tensor
    kl_real: Tensor
    kl_reconstruction: Tensor | None
    kl_sample: Tensor | None
    mu: Tensor
    logvar: Tensor


class Optimisers(NamedTuple):
    """One optimiser for each network: Algorithm 1 updates them in turn."""

    encoder: Optimizer
    decoder: Optimizer


def train_step(
    model: IntroVAE, optimisers: Optimisers, x: Tensor, noise: Tensor, z_prior: Tensor | None, w: Weights
) -> Terms:
    """Update both networks once on images `x` (N, C, S, S) in [0, 1].

    `noise` (N, z) reparametrises the posterior. `z_prior` (N, z) ~ N(0, I) gives the samples; it is not
    looked at while alpha is 0, when the step is the VAE's alone.
    """
    if w.alpha == 0:
        return _vae_step(model, optimisers, x, noise, w)
    if z_prior is None:
        raise ValueError("alpha > 0 needs z_prior, the latent vectors of the samples")
    return _introvae_step(model, optimisers, x, noise, z_prior, w)


def _vae_step(model: IntroVAE, optimisers: Optimisers, x: Tensor, noise: Tensor, w: Weights) -> Terms:
    """kl_weight KL + beta L_AE, both networks at once."""
    mu, logvar = model.encoder(x)
    kl = kl_divergence(mu, logvar)
    error = reconstruction_error(model.decoder(sample_posterior(mu, logvar, noise)), x)
    loss = w.kl_weight * kl.mean() + w.beta * error.mean()
    loss.backward()
    for optimiser in optimisers:
        optimiser.step()
        optimiser.zero_grad()
    loss, error, kl, mu, logvar = (term.detach() for term in (loss, error, kl, mu, logvar))
    return Terms(loss, loss, error, kl, None, None, mu, logvar)


def _introvae_step(
    model: IntroVAE, optimisers: Optimisers, x: Tensor, noise: Tensor, z_prior: Tensor, w: Weights
) -> Terms:
    """Algorithm 1: the encoder's update (lines 4 to 10), then the decoder's (lines 11 to 13)."""
    encoder, decoder = model.encoder, model.decoder

    mu, logvar = encoder(x)
    kl_real = kl_divergence(mu, logvar)
    z = sample_posterior(mu, logvar, noise)
    z_leaf = z.detach().requires_grad_()  # the decoder's gradients stop here
    x_r, x_p = decoder(z_leaf), decoder(z_prior)
    images = [image.detach() for image in (x_r, x_p)]

    # L_E = kl_weight KL(E(x)) + alpha sum_s [m - KL(E(sg(x_s)))]^+ + beta L_AE          (equation 11)
    error = reconstruction_error(images[0], x)
    grad_error = w.beta / len(x) * (images[0] - x)  # of beta L_AE with respect to x_r
    (grad_z,) = torch.autograd.grad(x_r, z_leaf, grad_error, retain_graph=True)
    loss = w.kl_weight * kl_real.mean()
    torch.autograd.backward([loss, z], [None, grad_z])
    kls = []
    for image in images:
        kl = kl_divergence(*encoder(image))
        push = w.alpha * hinge(kl, w.m, w.hinge)
        push.backward()
        loss = loss.detach() + push.detach()
        kls.append(kl.detach())
    optimisers.encoder.step()
    optimisers.encoder.zero_grad()

    # L_D = alpha_decoder sum_s KL(E(x_s)) + beta L_AE, through the updated encoder      (equation 12)
    loss_decoder = w.beta * error.mean()
    loss_encoder = loss + loss_decoder
    grads = []
    for image in images:
        leaf = image.requires_grad_()
        pull = w.alpha_decoder * kl_divergence(*encoder(leaf)).mean()
        grads += torch.autograd.grad(pull, leaf)
        loss_decoder = loss_decoder + pull.detach()
    torch.autograd.backward([x_r, x_p], [grads[0] + grad_error, grads[1]])
    optimisers.decoder.step()
    optimisers.decoder.zero_grad()
    kl_real, mu, logvar = kl_real.detach(), mu.detach(), logvar.detach()
    return Terms(loss_encoder, loss_decoder, error, kl_real, kls[0], kls[1], mu, logvar)
