"""One training step: the network passes and the updates they feed (Algorithm 1 of Huang et al. 2018).

The update is Algorithm 1's exactly, with as few network passes as it allows. Counted in batches, the
encoder runs 5 forward passes, 3 weight gradients and 5 input gradients, the decoder 2, 2 and 3:

- the decoder runs once on z and once on prior noise, and both graphs serve both updates;
- the reconstruction's gradient reaches the encoder through z without touching the decoder's weights;
- the decoder's loss passes through the updated encoder as an input gradient only;
- the decoder's weights get one backward pass, with the sum of both their gradients on each image;
- each term is backpropagated as soon as it stands, so one encoder graph is alive at a time.

Soft-IntroVAE (Daniel and Tamar 2021) takes the same step. It differs in `_push`, by which the encoder pushes fakes
away: they are decoded once more for it, so that the decoder runs 4, 2 and 5 passes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from introvae.nn.networks import IntroVAE
from introvae.training.distributed import average_gradients, global_mean
from introvae.training.losses import exponential_elbo, hinge, kl_divergence, reconstruction_error, sample_posterior
from introvae.training.schedule import Weights


class Noise(NamedTuple):
    """Standard normal draws of one step.

    Attributes:
        posterior: Noise of z for the images, (N, z).
        prior: z of the samples, (N, z); needed if alpha > 0.
        fakes: Noise of z for reconstructions and samples, (2, N, z); needed by the objective "soft".
    """

    posterior: Tensor
    prior: Tensor | None = None
    fakes: Tensor | None = None


class Terms(NamedTuple):
    """Intermediate results of a step, detached: two scalar losses, energies (N,) in nats and latents (N, z).

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


class Optimizers(NamedTuple):
    """One optimizer for each network: Algorithm 1 updates them in turn."""

    encoder: Optimizer
    decoder: Optimizer


def train_step(model: IntroVAE, optimizers: Optimizers, x: Tensor, noise: Noise, w: Weights) -> Terms:
    """Update both networks once; while alpha is 0 the step is the VAE's alone.

    Args:
        model: The two networks.
        optimizers: Their optimizers.
        x: Images, float (N, C, S, S) in [0, 1].
        noise: The step's draws.
        w: The weights of its losses.

    Returns:
        Losses, energies and latents of the step.

    Raises:
        ValueError: If `noise` lacks what the step needs.
    """
    if w.alpha == 0:
        return _vae_step(model, optimizers, x, noise.posterior, w)
    return _introspective_step(model, optimizers, x, noise, w)


def _vae_step(model: IntroVAE, optimizers: Optimizers, x: Tensor, noise: Tensor, w: Weights) -> Terms:
    """Minimize kl_weight KL + beta L_AE by both networks at once."""
    mu, logvar = model.encoder(x)
    kl = kl_divergence(mu, logvar)
    error = reconstruction_error(model.decoder(sample_posterior(mu, logvar, noise)), x)
    loss = w.scale * (w.kl_weight * kl.mean() + w.beta * error.mean())
    loss.backward()
    _update(model.encoder, optimizers.encoder)
    _update(model.decoder, optimizers.decoder)
    loss, error, kl, mu, logvar = (term.detach() for term in (loss, error, kl, mu, logvar))
    return Terms(
        loss_encoder=loss, loss_decoder=loss, reconstruction=error, kl_real=kl, kl_reconstruction=None, kl_sample=None,
        mu=mu, logvar=logvar,
    )  # fmt: skip


def _introspective_step(model: IntroVAE, optimizers: Optimizers, x: Tensor, noise: Noise, w: Weights) -> Terms:
    """Run Algorithm 1: the encoder's update (lines 4 to 10), then the decoder's (lines 11 to 13)."""
    encoder, decoder = model.encoder, model.decoder
    if noise.prior is None or (w.objective == "soft" and noise.fakes is None):
        raise ValueError("alpha > 0 needs noise.prior, and the objective soft needs noise.fakes")
    fakes_noise = (None, None) if noise.fakes is None else noise.fakes

    mu, logvar = encoder(x)
    kl_real = kl_divergence(mu, logvar)
    z = sample_posterior(mu, logvar, noise.posterior)
    z_leaf = z.detach().requires_grad_()  # the decoder's gradients stop here
    z_prior = noise.prior.detach().requires_grad_()  # as z does, so that one compiled graph serves both
    x_r, x_p = decoder(z_leaf), decoder(z_prior)
    images = [image.detach() for image in (x_r, x_p)]

    # L_E = kl_weight KL(E(x)) + alpha sum_s [m - KL(E(sg(x_s)))]^+ + beta L_AE          (equation 11)
    error = reconstruction_error(images[0], x)
    grad_error = w.scale * w.beta / len(x) * (images[0] - x)  # of beta L_AE with respect to x_r
    (grad_z,) = torch.autograd.grad(x_r, z_leaf, grad_error, retain_graph=True)
    loss = w.scale * w.kl_weight * kl_real.mean()
    torch.autograd.backward([loss, z], [None, grad_z])
    kls = []
    for image, eps in zip(images, fakes_noise, strict=True):
        kl, push = _push(model, image, eps, w)
        push.backward()
        loss = loss.detach() + push.detach()
        kls.append(kl.detach())
    _update(encoder, optimizers.encoder)

    # L_D = alpha_decoder sum_s KL(E(x_s)) + beta L_AE, through the updated encoder      (equation 12)
    loss_decoder = w.scale * w.beta * error.mean()
    loss_encoder = loss + loss_decoder
    grads = []
    for image, eps in zip(images, fakes_noise, strict=True):
        leaf = image.requires_grad_()
        with _frozen(encoder):
            mu_s, logvar_s = encoder(leaf)
        pull = w.scale * w.alpha_decoder * kl_divergence(mu_s, logvar_s).mean()
        grads += torch.autograd.grad(pull, leaf)
        if w.gamma_r and eps is not None:
            z_s = sample_posterior(mu_s, logvar_s, eps).detach()
            own = w.scale * w.gamma_r * w.beta * reconstruction_error(decoder(z_s), image.detach()).mean()
            own.backward()
            pull = pull + own
        loss_decoder = loss_decoder + pull.detach()
    torch.autograd.backward([x_r, x_p], [grads[0] + grad_error, grads[1]])
    _update(decoder, optimizers.decoder)
    kl_real, mu, logvar = kl_real.detach(), mu.detach(), logvar.detach()
    return Terms(
        loss_encoder=loss_encoder, loss_decoder=loss_decoder, reconstruction=error, kl_real=kl_real,
        kl_reconstruction=kls[0], kl_sample=kls[1], mu=mu, logvar=logvar,
    )  # fmt: skip


def _push(model: IntroVAE, image: Tensor, noise: Tensor | None, w: Weights) -> tuple[Tensor, Tensor]:
    """Return a fake's energies, (N,), and their term in the encoder's loss, which is large while they are low."""
    mu, logvar = model.encoder(image)
    kl = kl_divergence(mu, logvar)
    if w.objective == "intro":
        return kl, w.alpha * hinge(kl if w.hinge == "sample" else global_mean(kl), w.m)
    assert noise is not None  # its caller has checked
    with _frozen(model.decoder):
        own = model.decoder(sample_posterior(mu, logvar, noise))
    energy = w.scale * (w.beta * reconstruction_error(own, image) + w.beta_neg * kl)
    return kl, w.alpha * exponential_elbo(energy)


def _update(network: nn.Module, optimizer: Optimizer) -> None:
    average_gradients(network)
    optimizer.step()
    optimizer.zero_grad()


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Leave the network's weights without gradients: what is computed inside has them for its input only."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
