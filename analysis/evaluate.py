"""Everything that scores.json says a trained run is worth: the score card, and each single measure by its name."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from analysis.measures import collapse, reconstruction, sharpness
from analysis.measures import novelty as diversity
from analysis.measures.distance import LEAST_IMAGES, sliced_wasserstein
from analysis.measures.latents import latent_smoothness
from analysis.measures.score import ScoreCard, score_images
from analysis.measures.spectrum import predicted_active_units, predicted_kl, vae_kl
from introvae.config import TrainConfig
from introvae.data.image_set import ImageSet, load_images, to_float
from introvae.data.pixel_cache import Images
from introvae.nn.networks import IntroVAE
from introvae.randomness import normal
from introvae.runs.folder import read_config
from introvae.training.schedule import weights_at
from introvae.training.state import load_run

FLAT = 1e-12  # the sharpness that stands for images without any edge
MOST_FAKES = 250  # reconstructions, and samples, that are encoded again
MOVED = 2  # images that each latent dimension is moved in
MOST_THOROUGH = 500  # evenly spaced images for blur_effect, power spectra and distances, which take longest
DIRECTIONS, PATCHES = 128, 32  # of the sliced Wasserstein distances; a quarter of what is published
DIGITS = 6  # significant ones, in lists

MOST_SCORED = 1000  # validation images, evenly spaced, and as many samples

Rows = Sequence[dict[str, float]]
Measures = dict[str, Any]


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


def measure_run(
    model: IntroVAE, images: ImageSet, config: TrainConfig, spectrum: Tensor, rows: Rows, thorough: bool = True
) -> dict[str, Any]:
    """The fields of the score card, and under "measures" every measure of at most 1,000 validation images by name.

    `spectrum` are the eigenvalues of the training images (`analysis.measures.spectrum.eigenvalues`), `rows` those of
    metrics.csv. Not `thorough` leaves out what takes long, for a trial that is pruned. What is not finite, or not
    defined for so few images, is left out. KID and FID are computed on request (`analysis.measures.distance`).
    """
    real = scored_images(images)
    mu, logvar = (x.cpu() for x in model.encode(_to_model(model, real)))
    reconstructions = model.decode(_to_model(model, mu)).cpu()
    samples = noise_samples(model, len(real), config.latent)
    measures = {
        **_reconstruction(real, reconstructions),
        **_sharpness(real, reconstructions, samples),
        **_latents(mu, logvar),
        "variance_ratio_reconstructions": diversity.variance_ratio(real, reconstructions),
        "variance_ratio": diversity.variance_ratio(real, samples),
        **_prediction(config, spectrum, rows),
        "scored_images": len(real),
    }
    if thorough:
        few = [_evenly(x, MOST_THOROUGH) for x in (real, reconstructions, samples)]
        measures |= {
            **_blur_and_power(*few),
            **_networks(model, mu, logvar, reconstructions, samples, config),
            **latent_smoothness(model, *(_to_model(model, x) for x in (mu, logvar))),
            **_diversity(real, samples, images.train),
            **_distance(few[0], few[2]),
        }
    finite = {name: plain for name, value in measures.items() if (plain := _plain(value)) is not None}
    return asdict(score_images(real, reconstructions, samples)) | {"measures": finite}


def score_run(run: Path | str, device: str = "auto") -> ScoreCard:
    """Score a trained run on its validation images. Raises UserError if the run or its images cannot be read."""
    config = read_config(Path(run))
    images = load_images(config.data, config.image_size, config.channels, config.images_seed)
    real = scored_images(images)
    return score_images(real, *outputs(load_run(run, device), real, config.latent))


def _reconstruction(real: Tensor, reconstructions: Tensor) -> Measures:
    return {
        "mse": reconstruction.mse(real, reconstructions),
        "psnr": reconstruction.psnr(real, reconstructions),
        "ssim": reconstruction.ssim(real, reconstructions),
        "ms_ssim": reconstruction.ms_ssim(real, reconstructions),
        "ms_ssim_scales": reconstruction.ms_ssim_scales(real.shape[-1]),
        "variance_explained": reconstruction.variance_explained(real, reconstructions),
        "retrieval": reconstruction.retrieval(real, reconstructions),
    }


def _sharpness(real: Tensor, reconstructions: Tensor, samples: Tensor) -> Measures:
    """As ratios to the real images."""
    edges = max(sharpness.laplacian_variance(real), FLAT)
    high = max(sharpness.high_frequency_share(real), FLAT)
    return {
        "sharpness_reconstructions": sharpness.laplacian_variance(reconstructions) / edges,
        "sharpness_samples": sharpness.laplacian_variance(samples) / edges,
        "high_frequency_reconstructions": sharpness.high_frequency_share(reconstructions) / high,
        "high_frequency_samples": sharpness.high_frequency_share(samples) / high,
    }


def _blur_and_power(real: Tensor, reconstructions: Tensor, samples: Tensor) -> Measures:
    sets = {"real": real, "reconstructions": reconstructions, "samples": samples}
    effects = {f"blur_effect_{name}": sharpness.blur_effect(images) for name, images in sets.items()}
    return effects | {f"power_spectrum_{name}": sharpness.power_spectrum(images) for name, images in sets.items()}


def _latents(mu: Tensor, logvar: Tensor) -> Measures:
    kl = collapse.kl_per_dimension(mu, logvar)
    noise = normal(tuple(mu.shape), 0, "information")
    return {
        "active_units": collapse.active_units(mu),
        "kl": kl.sum().item(),
        "kl_95": collapse.kl_quantile(mu, logvar, 0.95),
        "kl_per_dimension": kl,
        "kl_quantiles": dict(zip(("0.05", "0.5", "0.95"), collapse.kl_quantiles(mu, logvar), strict=True)),
        "collapsed_share": collapse.collapsed_share(mu, logvar),
        "mutual_information": collapse.mutual_information(mu, logvar, noise),
        "mutual_information_bound": math.log(len(mu)),
        "aggregate_divergence": collapse.aggregate_divergence(mu, logvar),
    }


def _networks(
    model: IntroVAE, mu: Tensor, logvar: Tensor, reconstructions: Tensor, samples: Tensor, config: TrainConfig
) -> Measures:
    """What needs the networks again: the encoder on the fakes, the decoder on moved latents."""
    encoded = {"real": (mu, logvar)}
    for name, images in (("reconstructions", reconstructions), ("samples", samples)):
        encoded[name] = model.encode(_to_model(model, _evenly(images, MOST_FAKES)))
    found: Measures = {
        "decoder_sensitivity": collapse.decoder_sensitivity(model.decode, _to_model(model, _evenly(mu, MOVED))),
        "kl_reconstructions": collapse.kl_per_dimension(*encoded["reconstructions"]).sum().item(),
        "kl_samples": collapse.kl_per_dimension(*encoded["samples"]).sum().item(),
    }
    if config.objective == "intro":  # the other has no margin
        found |= {f"inside_margin_{name}": collapse.inside_margin(*q, config.m) for name, q in encoded.items()}
    return found


def _diversity(real: Tensor, samples: Tensor, training: Images) -> Measures:
    found: Measures = {"nearest_training": diversity.nearest_training(real, samples, training)}
    if len(real) > 1:
        found["ms_ssim_among_samples"] = diversity.ms_ssim_among(samples)
        found["ms_ssim_among_real"] = diversity.ms_ssim_among(real)
    return found


def _distance(real: Tensor, samples: Tensor) -> Measures:
    if len(real) < LEAST_IMAGES:
        return {}
    found: Measures = {}
    distances = sliced_wasserstein(real, samples, DIRECTIONS, PATCHES)
    for name, distance in zip(("swd", "swd_reference"), distances, strict=True):
        found |= {name: distance.value, f"{name}_stderr": distance.stderr, f"{name}_levels": list(distance.levels)}
    return found


def _prediction(config: TrainConfig, spectrum: Tensor, rows: Rows) -> Measures:
    """What the covariance of the training images says of a VAE with the run's last beta."""
    beta = weights_at(config, config.steps).beta
    return {
        "vae_kl": vae_kl(config, spectrum, rows),
        "predicted_kl": predicted_kl(spectrum, beta, config.latent),
        "predicted_active_units": predicted_active_units(spectrum, beta, config.latent),
        "collapse_beta": 1 / spectrum[0].item() if len(spectrum) else math.inf,
        "spectrum": spectrum[: config.latent],
    }


def _to_model(model: IntroVAE, x: Tensor) -> Tensor:
    return x.to(next(model.parameters()).device)


def _evenly(x: Tensor, most: int) -> Tensor:
    return x[torch.linspace(0, len(x) - 1, min(most, len(x))).long()]


def _plain(value: Any) -> Any:
    """Numbers as JSON holds them, lists rounded; None for what is not finite."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, list):
        return [float(f"{item:.{DIGITS}g}") for item in value] if all(map(math.isfinite, value)) else None
    return value if math.isfinite(value) else None
