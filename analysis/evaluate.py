"""The one way from a trained model to scores, pictures and files."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from analysis.measures import spectrum as predictions
from analysis.measures.collapse import collapse_reason, posterior_collapse
from analysis.measures.run_measures import expected_measures, quick_measures, thorough_measures
from analysis.measures.score import score_images, weighted
from analysis.outputs import MOST_AT_RUNGS, MOST_SCORED, HeldOut, Outputs, outputs_of, scored_images
from analysis.report.latent_sheets import write_latent_sheets
from introvae.config import TrainConfig
from introvae.data.image_set import ImageSet, load_images
from introvae.nn.networks import IntroVAE
from introvae.runs.curves import write_curves
from introvae.runs.folder import check_images, read_config, read_metrics
from introvae.runs.pictures import write_gif
from introvae.runs.record import RunRecord, RunState, Scores, write_record
from introvae.training.state import load_run


def score_run(run: Path | str, device: str = "auto", on: HeldOut = "validation") -> Scores:
    """Score a trained run on held-out images.

    Args:
        run: A run folder with a checkpoint.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        on: "validation", by which runs are chosen, or "test", for figures to quote.

    Returns:
        The score in [0, 1], its standard error and its five parts.

    Raises:
        UserError: If the run or its images cannot be read, there are more or fewer of these than when it was trained,
            or the device is not there.
        ValueError: If `on` is something else.

    Examples:
        >>> from analysis import score_run
        >>> scores = score_run("predictions/gallery/trial-008")
        >>> 0 <= scores.score <= 1
        True
    """
    config = read_config(Path(run))
    images = load_images(**config.images)
    check_images(Path(run), images.facts)
    return _scored(load_run(run, device), images, on)[1]


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
    further_on_test: Mapping[str, Any] | None = None,
    guard: Callable[[], object] = lambda: None,
) -> RunRecord:
    """Measure a run that has ended, draw its pictures, and write its scores.json.

    A pruned run gets the quick measures, of as many images as it was compared by, and no further pictures; one at its
    end is scored on the test images besides, by which nothing is chosen.

    Args:
        folder, config: The run folder, and its settings.
        images: The images it was trained on, and those it is scored on.
        model: The model to measure; None for a run that diverged, which scores 0.
        state, reason: How and why it ended; complete becomes collapsed if its posterior or its images say so.
        weights: Weights of the score's parts that its study maximizes, if it belongs to one.
        spectrum, vae_kl: Eigenvalues of the training images' covariance, and the KL in nats that a VAE reaches at the
            run's beta; computed if None. The KL is recorded if a warm-up has measured it.
        further, further_on_test: Measures to record besides, and beside the score on the test images.
        guard: Called before anything is written; raises an exception if the run is another's by then.

    Returns:
        The record, as written.
    """
    pruned, rows = state is RunState.PRUNED, read_metrics(folder)
    scores, test, outputs, measures = Scores(score=0.0), None, None, dict(further or {})
    spectrum = predictions.eigenvalues(images.train) if spectrum is None else spectrum
    measured_kl = _measured_kl(config, spectrum, rows, vae_kl)
    if model is None:
        measures = expected_measures(config, spectrum, measured_kl) | measures
    else:
        outputs, scores = _scored(model, images, "validation", MOST_AT_RUNGS if pruned else MOST_SCORED)
        measures = quick_measures(outputs, config, spectrum, measured_kl) | measures
        if state is RunState.COMPLETE and (collapse := _collapse(measures)):
            state, reason = RunState.COLLAPSED, f"{collapse} at step {config.steps}"
        if state.final:
            test = _scored(model, images, "test")[1]
        if not pruned:
            measures |= thorough_measures(model, outputs, config, images.train)
    value = weighted(vars(scores), weights) if weights and model is not None else 0.0
    record = RunRecord(
        state=state, reason=reason, scores=scores, test=test, weights=weights or {}, measures=measures,
        optimized=value if weights else math.nan, test_measures=dict(further_on_test or {}) if test else {},
    )  # fmt: skip
    guard()
    if not pruned:
        _draw(folder, config, rows, images, model, outputs)
        guard()
    write_record(folder, record)
    return record


def _draw(
    folder: Path,
    config: TrainConfig,
    rows: list[dict[str, float]],
    images: ImageSet,
    model: IntroVAE | None,
    outputs: Outputs | None,
) -> None:
    """Draw all pictures of a run that has ended."""
    if model is not None and outputs is not None:
        write_latent_sheets(model, images.validation, outputs, folder)
    write_curves(folder, rows, config)
    write_gif(folder)


def _measured_kl(
    config: TrainConfig, spectrum: Tensor, rows: list[dict[str, float]], known: float | None
) -> float | None:
    """Return the KL that a VAE reaches at a run's beta, if a warm-up has measured it."""
    if predictions.warmup_correction(config, spectrum, rows) is None:
        return None
    return predictions.vae_kl(config, spectrum, rows) if known is None else known


def _scored(model: IntroVAE, images: ImageSet, on: HeldOut, most: int = MOST_SCORED) -> tuple[Outputs, Scores]:
    outputs = outputs_of(model, scored_images(images, most, on), on)
    return outputs, score_images(outputs.real, outputs.reconstructions, outputs.samples)


def _collapse(measures: Mapping[str, Any]) -> str:
    """Return the reason why a run counts as collapsed, or "" if it does not; what is not finite is no measure.

    The warm-up of a VAE that collapses does so as well, so that its KL is no yardstick; that of the data is.
    """
    found = [measures.get(name, 0.0) for name in ("retrieval", "variance_ratio", "scored_images")]
    kl, vae_kl = measures.get("kl", math.inf), measures.get("vae_kl")
    collapse = "" if vae_kl is None else posterior_collapse(kl, vae_kl)
    return collapse or posterior_collapse(kl, measures["predicted_kl"], predicted=True) or collapse_reason(*found)
