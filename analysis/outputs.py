"""Outputs of a model that runs are scored on: the same images and the same noise for every run on an image set."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from introvae.data.image_set import ImageSet, to_float
from introvae.data.pixel_cache import evenly
from introvae.nn.networks import IntroVAE
from introvae.randomness import normal

MOST_SCORED = 1000  # validation or test images, evenly spaced, and as many samples
MOST_AT_RUNGS = 200  # validation images by which trials are compared before their end

HeldOut = Literal["validation", "test"]
"""The images that a run is scored on: those that runs are compared by, or those of the figures to quote."""
NOISE: dict[HeldOut, int] = {"validation": 0, "test": 1}  # index of the samples' noise


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Real images and what a model makes of them, on the CPU; images are float (N, C, S, S) in [0, 1].

    Attributes:
        real: Validation or test images.
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


def scored_images(images: ImageSet, most: int = MOST_SCORED, on: HeldOut = "validation") -> Tensor:
    """Return the held-out images that runs are scored on.

    Args:
        images: The image set.
        most: The most images to return, evenly spaced.
        on: "validation" or "test".

    Returns:
        Float (N, C, S, S) in [0, 1] on the CPU.

    Raises:
        ValueError: If `on` is something else.
    """
    if on not in NOISE:
        raise ValueError(f"on is {on!r}; allowed: {', '.join(NOISE)}")
    held_out = images.validation if on == "validation" else images.test
    return to_float(evenly(held_out, most).cpu())


def outputs_of(model: IntroVAE, real: Tensor, on: HeldOut = "validation") -> Outputs:
    """Encode and decode the real images, and decode as many samples from noise that is the same for every run.

    Args:
        model: The model.
        real: Held-out images, float (N, C, S, S) in [0, 1].
        on: "validation" or "test", whose noise is another one, as that of the validation helped to choose runs.
    """
    mu, logvar = model.encode(real)
    reconstructions = model.decode(mu)
    samples = model.decode(normal(tuple(mu.shape), 0, "score", NOISE[on]), "sample")
    return Outputs(
        real=real, mu=mu.cpu(), logvar=logvar.cpu(), reconstructions=reconstructions.cpu(), samples=samples.cpu()
    )
