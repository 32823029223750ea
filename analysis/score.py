"""The one number that a sweep optimises, and the parts it is made of.

Five parts, each in [0, 1], 1 is best; the score is their geometric mean, so that no part can be bought with
another and a run that fails at one of them altogether scores 0.

| part            | formula                                                   | what it catches                      |
|-----------------|-----------------------------------------------------------|--------------------------------------|
| reconstruction  | exp(-MSE / MSE of the mean image)                         | reconstructions far from their input |
| informativeness | (retrieval - chance) / (1 - chance), at least 0           | reconstructions that ignore it       |
| sharpness       | exp(-1/2 abs log(Laplacian variance / the real images')), | blur, and noise                      |
|                 | geometric mean of reconstructions and samples             |                                      |
| structure       | soft precision at 8 px, likeness of detail at 16 and 32   | texture without structure            |
| diversity       | soft recall of samples, 8 to 32 px                        | samples that are all alike           |
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from analysis import collapse, diversity, reconstruction, sharpness
from introvae.config import TrainConfig
from introvae.data import ImageSet, to_float
from introvae.networks import IntroVAE
from introvae.randomness import normal

MOST_SCORED = 256  # validation images, evenly spaced, and as many samples
FLAT = 1e-12  # the Laplacian variance that stands for images without any edge


PARTS = ("reconstruction", "informativeness", "sharpness", "structure", "diversity")


@dataclass(frozen=True)
class ScoreCard:
    """A score and its five parts, each in [0, 1]; 1 is best."""

    score: float
    reconstruction: float
    informativeness: float
    sharpness: float
    structure: float
    diversity: float


def score_images(real: Tensor, reconstructions: Tensor, samples: Tensor) -> ScoreCard:
    """Score `reconstructions` of `real`, image for image, and `samples`: float (N, C, H, W) in [0, 1].

    Values that are not finite score 0. Raises ValueError if shapes do not fit or a set is empty.
    """
    if real.shape != reconstructions.shape or real.shape[1:] != samples.shape[1:] or not len(real) or not len(samples):
        shapes = ", ".join(str(tuple(x.shape)) for x in (real, reconstructions, samples))
        raise ValueError(f"real images, reconstructions and samples do not fit together: {shapes}")
    if not all(bool(x.isfinite().all()) for x in (reconstructions, samples)):
        return ScoreCard(0, 0, 0, 0, 0, 0)
    chance = 1 / len(real)
    retrieved = reconstruction.retrieval(real, reconstructions)
    sharp = [sharpness.relative_sharpness(real, images) for images in (reconstructions, samples)]
    parts = (
        math.exp(-reconstruction.relative_error(real, reconstructions)),
        max(0.0, (retrieved - chance) / (1 - chance)) if chance < 1 else retrieved,
        math.sqrt(sharp[0] * sharp[1]),
        diversity.structure(real, samples),
        diversity.coverage(real, samples),
    )
    return ScoreCard(math.prod(parts) ** (1 / len(parts)), *parts)


def scored_images(images: ImageSet) -> Tensor:
    """The validation images that runs are scored on, float (N, C, S, S) in [0, 1] on the CPU, N at most 256."""
    validation = images.validation
    rows = torch.linspace(0, len(validation) - 1, min(MOST_SCORED, len(validation))).long()
    return to_float(validation[rows].cpu())


def outputs(model: IntroVAE, real: Tensor, latent: int) -> tuple[Tensor, Tensor]:
    """Reconstructions of the real images, and as many samples from the same noise in every run, on the CPU."""
    device = next(model.parameters()).device
    noise = normal((len(real), latent), 0, "score")
    return model.reconstruct(real.to(device)).cpu(), model.decode(noise.to(device)).cpu()


def measure_run(model: IntroVAE, images: ImageSet, config: TrainConfig, vae_kl: float) -> dict[str, Any]:
    """Everything scores.json holds of a trained run: the score card and each single measure, by name.

    `vae_kl` is what a VAE of the same beta reaches, in nats, from `spectrum.vae_kl`.
    """
    real = scored_images(images)
    reconstructions, samples = outputs(model, real, config.latent)
    mu, logvar = model.encode(real.to(next(model.parameters()).device))
    kl = collapse.kl_per_dimension(mu, logvar)
    edges = max(sharpness.laplacian_variance(real), FLAT)
    measures = {
        "mse": reconstruction.mse(real, reconstructions),
        "psnr": reconstruction.psnr(real, reconstructions),
        "ssim": reconstruction.ssim(real, reconstructions),
        "retrieval": reconstruction.retrieval(real, reconstructions),
        "sharpness_reconstructions": sharpness.laplacian_variance(reconstructions) / edges,
        "sharpness_samples": sharpness.laplacian_variance(samples) / edges,
        "blur_effect_real": sharpness.blur_effect(real),
        "blur_effect_reconstructions": sharpness.blur_effect(reconstructions),
        "blur_effect_samples": sharpness.blur_effect(samples),
        "variance_ratio": diversity.variance_ratio(real, samples),
        "active_units": collapse.active_units(mu),
        "kl": kl.sum().item(),
        "kl_per_dimension": [round(value, 4) for value in kl.tolist()],
        "vae_kl": vae_kl,
        "scored_images": len(real),
    }
    return asdict(score_images(real, reconstructions, samples)) | {"measures": measures}
