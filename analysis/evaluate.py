"""The one way from a trained model to scores, pictures and files."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from analysis.measures import spectrum as predictions
from analysis.measures.all import quick_measures, thorough_measures
from analysis.measures.collapse import collapse_reason
from analysis.measures.score import score_images, weighted
from analysis.outputs import outputs_of, scored_images
from analysis.report.latent_sheets import write_latent_sheets
from introvae.config import TrainConfig
from introvae.data.image_set import ImageSet, load_images
from introvae.nn.networks import IntroVAE
from introvae.runs.curves import write_curves
from introvae.runs.folder import read_config, read_metrics
from introvae.runs.pictures import write_gif
from introvae.runs.record import RunRecord, RunState, Scores, write_record
from introvae.training.state import load_run


def score_run(run: Path | str, device: str = "auto") -> Scores:
    """Score a trained run on its validation images.

    Args:
        run: A run folder with a checkpoint.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".

    Raises:
        UserError: If the run or its images cannot be read, or the device is not there.

    Example:
        >>> from analysis import score_run
        >>> scores = score_run("predictions/gallery/trial-004")
        >>> 0 <= scores.score <= 1
        True
    """
    config = read_config(Path(run))
    images = load_images(**config.images)
    outputs = outputs_of(load_run(run, device), scored_images(images))
    return score_images(outputs.real, outputs.reconstructions, outputs.samples)


def finish(
    folder: Path,
    config: TrainConfig,
    images: ImageSet,
    model: IntroVAE | None,
    *,
    state: RunState = RunState.COMPLETE,
    reason: str = "",
    weights: Mapping[str, float] | None = None,
    spectrum: Tensor | None = None,
    vae_kl: float | None = None,
    further: Mapping[str, Any] | None = None,
) -> RunRecord:
    """Measure a run that has ended, draw its pictures, and write its scores.json.

    A run that was pruned gets the quick measures and no further pictures, since most trials of a study are pruned.

    Args:
        folder: The run folder.
        config: The run's settings.
        images: The images it was trained and validated on.
        model: The model to measure; None for a run that diverged, which scores 0.
        state: How the run ended. One that is complete becomes collapsed if its images say so.
        reason: Why it did not simply complete.
        weights: Weights of the score's parts that its study maximizes, if it belongs to one.
        spectrum: Eigenvalues of the training images' covariance; computed if None.
        vae_kl: KL in nats that a VAE reaches at the run's beta; estimated from metrics.csv if None.
        further: Measures to record besides.

    Returns:
        The record, as written.
    """
    rows = read_metrics(folder)
    scores, measures = Scores(score=0.0), dict(further or {})
    pruned = state is RunState.PRUNED
    if model is not None:
        spectrum = predictions.eigenvalues(images.train) if spectrum is None else spectrum
        vae_kl = predictions.vae_kl(config, spectrum, rows) if vae_kl is None else vae_kl
        outputs = outputs_of(model, scored_images(images))
        scores = score_images(outputs.real, outputs.reconstructions, outputs.samples)
        measures = quick_measures(outputs, config, spectrum, vae_kl) | measures
        collapse = collapse_reason(
            measures.get("retrieval", 0.0), measures.get("variance_ratio", 0.0), len(outputs.real)
        )
        if state is RunState.COMPLETE and collapse:
            state, reason = RunState.COLLAPSED, f"{collapse} at step {config.steps}"
        if not pruned:
            measures |= thorough_measures(model, outputs, config, images.train)
            write_latent_sheets(model, images.validation, outputs, folder)
    if not pruned:
        write_curves(folder, rows, config)
        write_gif(folder)
    optimized = math.nan
    if weights:
        optimized = weighted(vars(scores), weights) if model is not None else 0.0
    record = RunRecord(
        state=state, reason=reason, scores=scores, weights=weights or {}, optimized=optimized, measures=measures
    )
    write_record(folder, record)
    return record
