"""Every measure of a trained run by its name, as scores.json lists them; the glossary explains each."""

import math
from typing import Any

from torch import Tensor

from analysis.measures import collapse, novelty, reconstruction, sharpness
from analysis.measures.copies import copied_samples
from analysis.measures.distance import LEAST_IMAGES, sliced_wasserstein
from analysis.measures.latents import latent_smoothness
from analysis.measures.spectrum import predicted_active_units, predicted_kl
from analysis.outputs import Outputs
from introvae.config import TrainConfig
from introvae.data.pixel_cache import Images, evenly
from introvae.nn.batch_norm import Kind
from introvae.nn.networks import IntroVAE
from introvae.randomness import normal
from introvae.training.schedule import weights_at

NO_EDGES = 1e-12  # the sharpness that stands for images without any edge
MOST_FAKES = 250  # reconstructions, and samples, that are encoded again
MOVED = 2  # images that each latent dimension is moved in
MOST_THOROUGH = 500  # evenly spaced images for blur_effect, power spectra and distances, which take longest
DIRECTIONS, PATCHES = 128, 32  # of the sliced Wasserstein distances; a quarter of what is published
DIGITS = 6  # significant ones, in lists

Measures = dict[str, Any]


def quick_measures(outputs: Outputs, config: TrainConfig, spectrum: Tensor, vae_kl: float | None) -> Measures:
    """Compute the measures that take no more than a moment, for any run.

    Args:
        outputs: Held-out images, and what the model makes of them.
        config: The run's settings.
        spectrum: Eigenvalues of the training images' covariance.
        vae_kl: KL in nats that a VAE reaches at the run's beta; None where no warm-up has measured it.

    Returns:
        Plain numbers and lists of numbers; what is not finite, not known, or not defined for so few images, is absent.
    """
    real, reconstructions, samples = outputs.real, outputs.reconstructions, outputs.samples
    return _plain_values({
        **_reconstruction(real, reconstructions),
        **_sharpness(real, reconstructions, samples),
        **_latents(outputs.mu, outputs.logvar),
        "variance_ratio_reconstructions": novelty.variance_ratio(real, reconstructions),
        "variance_ratio": novelty.variance_ratio(real, samples),
        **expected_measures(config, spectrum, vae_kl),
        "scored_images": len(real),
    })  # fmt: skip


def thorough_measures(model: IntroVAE, outputs: Outputs, config: TrainConfig, training: Images) -> Measures:
    """Compute the measures that take longest, for a run that has reached its end, in the form of `quick_measures`."""
    few = [evenly(x, MOST_THOROUGH) for x in (outputs.real, outputs.reconstructions, outputs.samples)]
    return _plain_values({
        **_blur_and_power(*few),
        **_networks(model, outputs, config),
        **latent_smoothness(model, outputs.mu, outputs.logvar),
        **_novelty(outputs.real, outputs.samples, training),
        **_distance(few[0], few[2]),
    })  # fmt: skip


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
    """Compute ratios to the real images."""
    edges = max(sharpness.laplacian_variance(real), NO_EDGES)
    high = max(sharpness.high_frequency_share(real), NO_EDGES)
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


def _networks(model: IntroVAE, outputs: Outputs, config: TrainConfig) -> Measures:
    """Run the encoder on the fakes, and the decoder on moved latents."""
    fakes: dict[Kind, Tensor] = {"reconstruction": outputs.reconstructions, "sample": outputs.samples}
    finite = {kind: images for kind, images in fakes.items() if images.isfinite().all()}
    encoded = {f"{kind}s": model.encode(evenly(images, MOST_FAKES), kind) for kind, images in finite.items()}
    found: Measures = {f"kl_{name}": collapse.kl_per_dimension(*q).sum().item() for name, q in encoded.items()}
    found["decoder_sensitivity"] = collapse.decoder_sensitivity(model.decode, evenly(outputs.mu, MOVED))
    if config.objective == "intro":  # Soft-IntroVAE has no margin
        encoded["real"] = outputs.mu, outputs.logvar
        found |= {f"inside_margin_{name}": collapse.inside_margin(*q, config.m) for name, q in encoded.items()}
    return found


def _novelty(real: Tensor, samples: Tensor, training: Images) -> Measures:
    found: Measures = {
        "nearest_training": novelty.nearest_training(real, samples, training),
        "copied_samples": copied_samples(samples, training),
    }
    if len(real) > 1:
        found["ms_ssim_among_samples"] = novelty.ms_ssim_among(samples)
        found["ms_ssim_among_real"] = novelty.ms_ssim_among(real)
    return found


def _distance(real: Tensor, samples: Tensor) -> Measures:
    if len(real) < LEAST_IMAGES:
        return {}
    found: Measures = {}
    distances = sliced_wasserstein(real, samples, DIRECTIONS, PATCHES)
    for name, distance in zip(("swd", "swd_reference"), distances, strict=True):
        found |= {name: distance.value, f"{name}_stderr": distance.stderr, f"{name}_levels": list(distance.levels)}
    return found


def expected_measures(config: TrainConfig, spectrum: Tensor, vae_kl: float | None) -> Measures:
    """Return what is expected of a VAE with the run's last beta, in the form of `quick_measures`.

    All of it is predicted from the covariance of the training images, but for `vae_kl`.
    """
    beta = weights_at(config, config.steps).beta
    return _plain_values({
        "vae_kl": vae_kl,
        "predicted_kl": predicted_kl(spectrum, beta, config.latent),
        "predicted_active_units": predicted_active_units(spectrum, beta, config.latent),
        "collapse_beta": 1 / spectrum[0].item() if len(spectrum) else math.inf,
        "spectrum": spectrum[: config.latent],
    })  # fmt: skip


def _plain_values(measures: Measures) -> Measures:
    """Keep what JSON can hold."""
    return {name: plain for name, value in measures.items() if (plain := _plain(value)) is not None}


def _plain(value: Any) -> Any:
    """Return numbers as JSON holds them, lists rounded; None for what is not known or not finite."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, list):
        return [float(f"{item:.{DIGITS}g}") for item in value] if all(map(math.isfinite, value)) else None
    return value if value is not None and math.isfinite(value) else None
