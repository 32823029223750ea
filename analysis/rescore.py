"""Measure runs again with this version, from their checkpoints, and draw their pictures again."""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from torch import Tensor

from analysis.evaluate import finish
from analysis.measures import distance
from analysis.measures.spectrum import eigenvalues
from analysis.outputs import HeldOut, outputs_of, scored_images
from analysis.report.runs import Run
from introvae.data.image_set import ImageSet, load_images
from introvae.errors import UserError
from introvae.nn.networks import IntroVAE
from introvae.runs.folder import CHECKPOINT, check_images
from introvae.runs.record import RUNGS, RunState, read_record
from introvae.training.state import load_run

KEPT = ("fid", "kid", RUNGS)  # beginnings of the names of measures that are not computed each time


def rescore(runs: Sequence[Run], kid: bool = False, inception: Path | None = None) -> None:
    """Measure every run that has ended and has a checkpoint, with a line to stderr for each.

    Runs that are passed over are named: one that diverged or failed scores 0, and its checkpoint is older than its end;
    one whose images are more or fewer now may have been trained on those that are held out.

    Args:
        runs: The runs, as `read_runs` gives them.
        kid: Also compute KID on features of EfficientNet-Lite0.
        inception: A file with Inception's weights, by which FID and KID are computed as well.

    Raises:
        UserError: If an extra that these need is missing, or the weights are not usable.
    """
    if kid or inception:
        distance.check_usable(kid, inception)
    for index, run in enumerate(runs, 1):
        try:
            score, notes = _measure(run, kid, inception)
            outcome = "; ".join([f"score {run.scores.score:.3f} -> {score:.3f}", *notes])
        except (UserError, OSError) as error:
            outcome = f"passed over: {error}"
        print(f"{index}/{len(runs)} {run.name}: {outcome}", file=sys.stderr, flush=True)


def _measure(run: Run, kid: bool, inception: Path | None) -> tuple[float, list[str]]:
    """Return the new score, and what could not be measured; raise UserError for a run that has none to measure."""
    if run.config is None or not run.state.ended or run.state in (RunState.DIVERGED, RunState.FAILED):
        raise UserError(run.state)
    if not (run.folder / CHECKPOINT).exists():
        raise UserError("it has no checkpoint")
    record = read_record(run.folder)
    assert record is not None  # its state has ended
    images, spectrum = _images(**run.config.images)
    check_images(run.folder, images.facts)
    model = load_run(run.folder)
    notes: list[str] = []
    kept: dict[HeldOut, dict[str, Any]] = {"validation": _kept(record.measures), "test": _kept(record.test_measures)}
    measured: list[HeldOut] = ["validation", "test"] if record.state.final else ["validation"]
    for on in measured:
        kept[on] |= _distances(model, images, on, kid, inception, notes)
    again = finish(
        run.folder,
        run.config,
        images,
        model,
        state=record.state,
        reason=record.reason,
        weights=record.weights,
        spectrum=spectrum,
        further=kept["validation"],
        further_on_test=kept["test"],
    )
    return again.scores.score, notes


def _kept(measures: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in measures.items() if name.startswith(KEPT)}


def _distances(
    model: IntroVAE, images: ImageSet, on: HeldOut, kid: bool, inception: Path | None, notes: list[str]
) -> dict[str, Any]:
    """Compute the distances that need a network of their own, for as many samples as scored images.

    Those that cannot be computed of so few images, or of such small ones, are added to `notes`.
    """
    measures: dict[str, Callable[[Tensor, Tensor], dict[str, Any]]] = {}
    if kid:
        measures["KID"] = _kid
    if inception:
        measures["FID"] = partial(distance.inception_distances, weights=inception)
    found: dict[str, Any] = {}
    if measures:
        outputs = outputs_of(model, scored_images(images, on=on), on)
    for name, measure in measures.items():
        try:
            found |= measure(outputs.real, outputs.samples)
        except UserError:
            raise
        except ValueError as error:
            notes.append(f"no {name} on {on} images: {error}")
    return found


def _kid(real: Tensor, samples: Tensor) -> dict[str, Any]:
    value, deviation = distance.kid_efficientnet_lite0(real, samples)
    return {"kid_efficientnet_lite0": value, "kid_efficientnet_lite0_deviation": deviation}


@lru_cache(maxsize=1)
def _images(**arguments: Any) -> tuple[ImageSet, Tensor]:
    """Return the images that a run was trained on, and their spectrum."""
    images = load_images(**arguments)
    return images, eigenvalues(images.train)
