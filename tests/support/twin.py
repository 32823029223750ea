"""Slow twins of the fast step: Algorithm 1 of Huang et al. (2018) line by line, Soft-IntroVAE, and a plain VAE."""

from itertools import chain

import torch
from torch import Tensor, nn

from introvae.nn.networks import IntroVAE
from introvae.training.schedule import Weights
from introvae.training.step import Noise, Optimizers


def energy(mu: Tensor, logvar: Tensor) -> Tensor:
    """Return equation 9 as printed: -1/2 sum (1 + log sigma^2 - mu^2 - sigma^2)."""
    return -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(dim=1)


def squared_error(x_r: Tensor, x: Tensor) -> Tensor:
    """Return equation 10, with the mean over the batch."""
    return (0.5 * ((x_r - x) ** 2).sum(dim=(1, 2, 3))).mean()


def margin(kl: Tensor, w: Weights) -> Tensor:
    if w.hinge == "batch":
        return torch.clamp(w.m - kl.mean(), min=0)
    return torch.clamp(w.m - kl, min=0).mean()


def update(loss: Tensor, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Step theta <- theta - eta grad(loss), for the parameters of one network only."""
    parameters = list(network.parameters())
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters, retain_graph=True), strict=True):
        parameter.grad = gradient
    optimizer.step()


def algorithm_1(model: IntroVAE, optimizers: Optimizers, x: Tensor, noise: Noise, w: Weights) -> None:
    enc, dec = model.encoder, model.decoder
    mu, logvar = enc(x)  # line 4
    z = mu + (0.5 * logvar).exp() * noise.posterior
    x_r, x_p = dec(z), dec(noise.prior)  # line 6
    l_ae = squared_error(x_r, x)  # line 7
    z_r, z_pp = enc(x_r.detach()), enc(x_p.detach())  # line 8
    l_adv = w.kl_weight * energy(mu, logvar).mean() + w.alpha * (margin(energy(*z_r), w) + margin(energy(*z_pp), w))
    update(l_adv + w.beta * l_ae, enc, optimizers.encoder)  # lines 9 and 10
    z_r, z_pp = enc(x_r), enc(x_p)  # line 11
    l_adv = w.alpha_decoder * (energy(*z_r).mean() + energy(*z_pp).mean())  # line 12
    update(l_adv + w.beta * l_ae, dec, optimizers.decoder)  # line 13


def soft_introvae(model: IntroVAE, optimizers: Optimizers, x: Tensor, noise: Noise, w: Weights) -> None:
    """Step on ELBO(x) - 1/2 exp(2 ELBO(fake)) for the encoder, ELBO(x) - KL(fake) for the decoder.

    Soft-IntroVAE, Daniel and Tamar (2021). Fakes are images to the encoder's loss: no gradient reaches them there. Each
    image is decoded and each z encoded once only, since batch norm's statistics count each pass.
    """
    enc, dec = model.encoder, model.decoder
    assert noise.prior is not None and noise.fakes is not None
    mu, logvar = enc(x)
    x_r, x_p = dec(mu + (0.5 * logvar).exp() * noise.posterior), dec(noise.prior)
    l_ae = w.beta * squared_error(x_r, x)
    loss = w.scale * (l_ae + w.kl_weight * energy(mu, logvar).mean())
    for image, eps in zip((x_r.detach(), x_p.detach()), noise.fakes, strict=True):
        mu_s, logvar_s = enc(image)
        own = dec(mu_s + (0.5 * logvar_s).exp() * eps)
        elbo = -w.scale * (w.beta * 0.5 * ((own - image) ** 2).sum(dim=(1, 2, 3)) + w.beta_neg * energy(mu_s, logvar_s))
        loss = loss + w.alpha * (0.5 * (2 * elbo).exp()).mean()
    update(loss, enc, optimizers.encoder)
    loss = w.scale * l_ae
    for image, eps in zip((x_r, x_p), noise.fakes, strict=True):
        mu_s, logvar_s = enc(image)
        loss = loss + w.scale * w.alpha_decoder * energy(mu_s, logvar_s).mean()
        if w.gamma_r:
            own = dec((mu_s + (0.5 * logvar_s).exp() * eps).detach())
            loss = loss + w.scale * w.gamma_r * w.beta * squared_error(own, image.detach())
    update(loss, dec, optimizers.decoder)


def vae(model: IntroVAE, optimizers: Optimizers, x: Tensor, noise: Noise, w: Weights) -> None:
    """Step on the plain VAE objective, both networks at once."""
    mu, logvar = model.encoder(x)
    kl = 0.5 * (mu.square() + torch.expm1(logvar) - logvar).sum(1)
    x_r = model.decoder(mu + torch.exp(0.5 * logvar) * noise.posterior)
    error = 0.5 * (x_r - x).square().flatten(1).sum(1)
    loss = w.kl_weight * kl.mean() + w.beta * error.mean()
    parameters = list(chain(model.encoder.parameters(), model.decoder.parameters()))
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    for optimizer in optimizers:
        optimizer.step()
