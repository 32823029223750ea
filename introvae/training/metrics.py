"""Columns of metrics.csv, computed on the device: nothing here waits for a value."""

import math

import torch
from torch import Tensor

from introvae.training.distributed import gather, world_size
from introvae.training.step import Terms

MEANS = (  # averaged over the steps since the row before
    "loss_encoder", "loss_decoder", "reconstruction",
    "kl_real", "kl_real_p95", "kl_reconstruction", "kl_sample", "inside_margin",
    "mu_mean", "mu_lowest", "mu_highest", "sigma_mean", "sigma_lowest", "sigma_highest",
)  # fmt: skip
COLUMNS = ("step", "alpha", "beta", "kl_weight", *MEANS, "images_per_second")


def of_all_processes(terms: Terms) -> Terms:
    """Return the terms of the global batch, by one gathering of all of them side by side."""
    if world_size() == 1:
        return terms
    images = len(terms.kl_real)
    blocks = {
        name: (value.expand(images) if value.dim() == 0 else value).reshape(images, -1)
        for name, value in terms._asdict().items()
        if value is not None
    }
    parts = gather(torch.cat(list(blocks.values()), 1)).split([block.shape[1] for block in blocks.values()], 1)
    whole = dict(zip(blocks, parts, strict=True))
    for name, part in whole.items():
        if name.startswith("loss"):
            whole[name] = part.mean()
        elif name not in ("mu", "logvar"):
            whole[name] = part.squeeze(1)
    return terms._replace(**whole)


def summary(terms: Terms, m: float) -> Tensor:
    """Return the values of MEANS for one step, on the device; NaN where a VAE step has none."""
    sigma = torch.exp(0.5 * terms.logvar)
    none = terms.loss_encoder.new_full((), math.nan)
    kl_r, kl_p = terms.kl_reconstruction, terms.kl_sample
    fakes = [none, none, none]
    if kl_r is not None and kl_p is not None:
        fakes = [kl_r.mean(), kl_p.mean(), (torch.cat([kl_r, kl_p]) < m).float().mean()]
    kl = terms.kl_real
    latents = [value for x in (terms.mu, sigma) for value in (x.mean(), x.min(), x.max())]
    energies = [terms.reconstruction.mean(), kl.mean(), kl.quantile(0.95)]
    return torch.stack([terms.loss_encoder, terms.loss_decoder, *energies, *fakes, *latents])
