"""scores.json of every run written anew with this version's measures, and its pictures, from its checkpoint."""

import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from analysis.evaluate import measure_run, noise_samples, scored_images
from analysis.measures import distance
from analysis.measures.score import weighted
from analysis.measures.spectrum import eigenvalues
from analysis.report.latent_sheets import write_latent_pictures
from analysis.report.runs import Run
from introvae.config import TrainConfig
from introvae.data.image_set import ImageSet, load_images
from introvae.errors import UserError
from introvae.nn.networks import IntroVAE
from introvae.runs.folder import CHECKPOINT, read_metrics
from introvae.runs.record import write_scores
from introvae.training.state import load_run


def rescore(runs: Sequence[Run], kid: bool = False, inception: Path | None = None) -> None:
    """Measure every run that ended and has a checkpoint, a line to stderr for each; state and reason stay.

    The latents of those that were not pruned are drawn again. `kid` adds the KID on EfficientNet-Lite0's features,
    `inception` FID and KID by the weights in that file. The other runs are passed over and named: one that diverged
    scores 0, and its checkpoint is older than its end.
    """
    for index, run in enumerate(runs, 1):
        try:
            outcome = f"score {run.score or 0:.3f} -> {_measure(run, kid, inception):.3f}"
        except (UserError, OSError) as error:
            outcome = f"passed over: {error}"
        print(f"{index}/{len(runs)} {run.name}: {outcome}", file=sys.stderr, flush=True)


def _measure(run: Run, kid: bool, inception: Path | None) -> float:
    """The new score. Raises UserError for a run that has none to measure."""
    if not run.scores or run.state == "diverged":
        raise UserError(run.state)
    if not (run.folder / CHECKPOINT).exists():
        raise UserError("it has no checkpoint")
    config = TrainConfig.from_dict(run.config)
    model = load_run(run.folder)
    images, spectrum = _images(config)
    thorough = run.state != "pruned"
    measured = measure_run(model, images, config, spectrum, read_metrics(run.folder), thorough)
    measured["measures"] |= _distances(model, images, config, kid, inception)
    if weights := run.scores.get("weights"):
        measured |= {"weights": weights, "optimized": weighted(measured, weights)}
    if thorough:
        write_latent_pictures(model, images, run.folder)
    write_scores(run.folder, {name: run.scores.get(name, "") for name in ("state", "reason")} | measured)
    return measured["score"]


def _distances(
    model: IntroVAE, images: ImageSet, config: TrainConfig, kid: bool, inception: Path | None
) -> dict[str, Any]:
    """Those that need a network of their own; the samples are as many as the scored images."""
    real = scored_images(images)
    samples = noise_samples(model, len(real), config.latent)
    found: dict[str, Any] = {}
    if kid:
        value, deviation = distance.kid_efficientnet_lite0(real, samples)
        found |= {"kid_efficientnet_lite0": value, "kid_efficientnet_lite0_deviation": deviation}
    if inception:
        by = distance.inception_distances(real, samples, inception)
        found |= {"fid": by.fid, "kid": by.kid, "kid_deviation": by.kid_std, "fid_images": by.real,
                  "fid_library": by.package}  # fmt: skip
    return found


def _images(config: TrainConfig) -> tuple[ImageSet, Tensor]:
    """The images that a run was trained on, and their spectrum."""
    return _load(config.data, config.image_size, config.channels, config.images_seed)


@lru_cache(maxsize=1)
def _load(data: str, image_size: int, channels: int, seed: int) -> tuple[ImageSet, Tensor]:
    images = load_images(data, image_size, channels, seed)
    return images, eigenvalues(images.train)
