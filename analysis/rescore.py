"""scores.json of every run written anew with this version's measures, from its checkpoint."""

import sys
from collections.abc import Sequence
from functools import lru_cache

from torch import Tensor

from analysis.measures import measure_run
from analysis.runs import Run
from analysis.spectrum import eigenvalues
from introvae.config import TrainConfig
from introvae.data import ImageSet, load_images
from introvae.errors import UserError
from introvae.run import CHECKPOINT, read_metrics, write_scores
from introvae.state import load_run


def rescore(runs: Sequence[Run]) -> None:
    """Measure every run that ended and has a checkpoint, a line to stderr for each; state and reason stay.

    The others are passed over and named: one that diverged scores 0, and its checkpoint is older than its end.
    """
    for index, run in enumerate(runs, 1):
        try:
            outcome = f"score {run.score or 0:.3f} -> {_measure(run):.3f}"
        except (UserError, OSError) as error:
            outcome = f"passed over: {error}"
        print(f"{index}/{len(runs)} {run.name}: {outcome}", file=sys.stderr, flush=True)


def _measure(run: Run) -> float:
    """The new score. Raises UserError for a run that has none to measure."""
    if not run.scores or run.state == "diverged":
        raise UserError(run.state)
    if not (run.folder / CHECKPOINT).exists():
        raise UserError("it has no checkpoint")
    config = TrainConfig.from_dict(run.config)
    model = load_run(run.folder)
    images, spectrum = _images(config)
    measured = measure_run(model, images, config, spectrum, read_metrics(run.folder))
    write_scores(run.folder, {name: run.scores.get(name, "") for name in ("state", "reason")} | measured)
    return measured["score"]


def _images(config: TrainConfig) -> tuple[ImageSet, Tensor]:
    """The images that a run was trained on, and their spectrum."""
    return _load(config.data, config.image_size, config.channels, config.images_seed)


@lru_cache(maxsize=1)
def _load(data: str, image_size: int, channels: int, seed: int) -> tuple[ImageSet, Tensor]:
    images = load_images(data, image_size, channels, seed)
    return images, eigenvalues(images.train)
