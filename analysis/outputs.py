"""Outputs of a model that runs are scored on: the same images and the same noise for every run on an image set."""

from dataclasses import dataclass

import torch
from torch import Tensor

from introvae.data.image_set import ImageSet, to_float
from introvae.nn.networks import IntroVAE
from introvae.randomness import normal

MOST_SCORED = 1000  # validation images, evenly spaced, and as many samples


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Real images and what a model makes of them, on the CPU; images are float (N, C, S, S) in [0, 1].

    Attributes:
        real: Validation images.
        mu: Means of q(z|x), (N, z).
        logvar: Log-variances of q(z|x), (N, z).
        reconstructions: Dec(mu).
        samples: Dec(z) for z ~ N(0, I), as many as real images.
    """

    real: Tensor
    mu: Tensor
    logvar: Tensor
    reconstructions: Tensor
    samples: Tensor


def scored_images(images: ImageSet, most: int = MOST_SCORED) -> Tensor:
    """Return at most `most` evenly spaced validation images, float (N, C, S, S) in [0, 1] on the CPU."""
    validation = images.validation
    rows = torch.linspace(0, len(validation) - 1, min(most, len(validation))).long()
    return to_float(validation[rows].cpu())


def evenly(x: Tensor, most: int) -> Tensor:
    """Return at most `most` evenly spaced rows of x."""
    return x[torch.linspace(0, len(x) - 1, min(most, len(x))).long()]


def outputs_of(model: IntroVAE, real: Tensor) -> Outputs:
    """Encode and decode the real images, and decode as many samples from noise that is the same for every run."""
    mu, logvar = model.encode(real)
    reconstructions = model.decode(mu)
    samples = model.decode(normal(tuple(mu.shape), 0, "score"), "sample")
    return Outputs(
        real=real, mu=mu.cpu(), logvar=logvar.cpu(), reconstructions=reconstructions.cpu(), samples=samples.cpu()
    )
