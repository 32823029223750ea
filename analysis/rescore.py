"""Measure runs again with this version, from their checkpoints, and draw their pictures again."""

import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from analysis.evaluate import finish
from analysis.measures import distance
from analysis.measures.spectrum import eigenvalues
from analysis.outputs import outputs_of, scored_images
from analysis.report.runs import Run
from introvae.data.image_set import ImageSet, load_images
from introvae.errors import UserError
from introvae.nn.networks import IntroVAE
from introvae.runs.folder import CHECKPOINT, check_images
from introvae.runs.record import RunState, read_record
from introvae.training.state import load_run

KEPT = ("fid", "kid", "lite0_kid")  # beginnings of the names of measures that are computed on request only


def rescore(runs: Sequence[Run], kid: bool = False, inception: Path | None = None) -> None:
    """Measure every run that has ended and has a checkpoint, with a line to stderr for each.

    Runs that are passed over are named: one that diverged scores 0, and its checkpoint is older than its end; one
    whose images are more or fewer now may have been trained on those that are held out.

    Args:
        runs: The runs, as `read_runs` gives them.
        kid: Also compute KID on features of EfficientNet-Lite0.
        inception: A file with Inception's weights, by which FID and KID are computed as well.
    """
    for index, run in enumerate(runs, 1):
        try:
            before = run.scores.score
            outcome = f"score {before:.3f} -> {_measure(run, kid, inception):.3f}"
        except (UserError, OSError) as error:
            outcome = f"passed over: {error}"
        print(f"{index}/{len(runs)} {run.name}: {outcome}", file=sys.stderr, flush=True)


def _measure(run: Run, kid: bool, inception: Path | None) -> float:
    """Return the new score; raise UserError for a run that has none to measure."""
    if run.config is None or not run.state.ended or run.state is RunState.DIVERGED:
        raise UserError(run.state)
    if not (run.folder / CHECKPOINT).exists():
        raise UserError("it has no checkpoint")
    record = read_record(run.folder)
    assert record is not None  # its state has ended
    images, spectrum = _images(**run.config.images)
    check_images(run.folder, images.counts)
    kept = {name: value for name, value in record.measures.items() if name.startswith(KEPT)}
    model = load_run(run.folder)
    again = finish(
        run.folder,
        run.config,
        images,
        model,
        state=record.state,
        reason=record.reason,
        weights=record.weights,
        spectrum=spectrum,
        further=kept | _distances(model, images, kid, inception),
    )
    return again.scores.score


def _distances(model: IntroVAE, images: ImageSet, kid: bool, inception: Path | None) -> dict[str, Any]:
    """Compute the distances that need a network of their own, for as many samples as scored images."""
    found: dict[str, Any] = {}
    if kid or inception:
        outputs = outputs_of(model, scored_images(images))
    if kid:
        value, deviation = distance.kid_efficientnet_lite0(outputs.real, outputs.samples)
        found |= {"kid_efficientnet_lite0": value, "kid_efficientnet_lite0_deviation": deviation}
    if inception:
        found |= distance.inception_distances(outputs.real, outputs.samples, inception)
    return found


@lru_cache(maxsize=1)
def _images(**arguments: Any) -> tuple[ImageSet, Tensor]:
    """Return the images that a run was trained on, and their spectrum."""
    images = load_images(**arguments)
    return images, eigenvalues(images.train)
