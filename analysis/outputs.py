"""What runs are scored on: the same images and the same noise for every run on an image set."""

import torch
from torch import Tensor

from introvae.data import ImageSet, to_float
from introvae.networks import IntroVAE
from introvae.randomness import normal

MOST_SCORED = 1000  # validation images, evenly spaced, and as many samples


def scored_images(images: ImageSet, most: int = MOST_SCORED) -> Tensor:
    """The validation images that runs are scored on, float (N, C, S, S) in [0, 1] on the CPU, N at most `most`."""
    validation = images.validation
    rows = torch.linspace(0, len(validation) - 1, min(most, len(validation))).long()
    return to_float(validation[rows].cpu())


def outputs(model: IntroVAE, real: Tensor, latent: int) -> tuple[Tensor, Tensor]:
    """Reconstructions of the real images, and as many samples from the same noise in every run, on the CPU."""
    device = next(model.parameters()).device
    return model.reconstruct(real.to(device)).cpu(), noise_samples(model, len(real), latent)


def noise_samples(model: IntroVAE, count: int, latent: int) -> Tensor:
    """Samples from the same noise in every run, on the CPU."""
    noise = normal((count, latent), 0, "score")
    return model.decode(noise.to(next(model.parameters()).device)).cpu()
