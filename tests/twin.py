"""Algorithm 1 of Huang et al. (2018), line by line and slow: the reference that the fast step is held against."""

from itertools import chain

import torch
from torch import Tensor, nn

from introvae.networks import IntroVAE
from introvae.step import Optimisers, Weights


def energy(mu: Tensor, logvar: Tensor) -> Tensor:
    """Equation 9, as printed: -1/2 sum (1 + log sigma^2 - mu^2 - sigma^2)."""
    return -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(dim=1)


def squared_error(x_r: Tensor, x: Tensor) -> Tensor:
    """Equation 10, with the mean over the batch."""
    return (0.5 * ((x_r - x) ** 2).sum(dim=(1, 2, 3))).mean()


def margin(kl: Tensor, w: Weights) -> Tensor:
    if w.hinge == "batch":
        return torch.clamp(w.m - kl.mean(), min=0)
    return torch.clamp(w.m - kl, min=0).mean()


def update(loss: Tensor, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """theta <- theta - eta grad(loss), for the parameters of one network only."""
    parameters = list(network.parameters())
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters, retain_graph=True), strict=True):
        parameter.grad = gradient
    optimiser.step()


def algorithm_1(model: IntroVAE, optimisers: Optimisers, x: Tensor, noise: Tensor, z_p: Tensor, w: Weights) -> None:
    enc, dec = model.encoder, model.decoder
    mu, logvar = enc(x)  # line 4
    z = mu + (0.5 * logvar).exp() * noise
    x_r, x_p = dec(z), dec(z_p)  # line 6
    l_ae = squared_error(x_r, x)  # line 7
    z_r, z_pp = enc(x_r.detach()), enc(x_p.detach())  # line 8
    l_adv = w.kl_weight * energy(mu, logvar).mean() + w.alpha * (margin(energy(*z_r), w) + margin(energy(*z_pp), w))
    update(l_adv + w.beta * l_ae, enc, optimisers.encoder)  # lines 9 and 10
    z_r, z_pp = enc(x_r), enc(x_p)  # line 11
    l_adv = w.alpha_decoder * (energy(*z_r).mean() + energy(*z_pp).mean())  # line 12
    update(l_adv + w.beta * l_ae, dec, optimisers.decoder)  # line 13


def vae(model: IntroVAE, optimisers: Optimisers, x: Tensor, noise: Tensor, w: Weights) -> None:
    """One step of the plain VAE objective, both networks at once."""
    mu, logvar = model.encoder(x)
    kl = 0.5 * (mu.square() + torch.expm1(logvar) - logvar).sum(1)
    x_r = model.decoder(mu + torch.exp(0.5 * logvar) * noise)
    error = 0.5 * (x_r - x).square().flatten(1).sum(1)
    loss = w.kl_weight * kl.mean() + w.beta * error.mean()
    parameters = list(chain(model.encoder.parameters(), model.decoder.parameters()))
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    for optimiser in optimisers:
        optimiser.step()
