"""Cost of a training on this machine, measured on a few steps, and units in which a person reads it."""

import tempfile
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import median_low
from typing import NamedTuple

import torch

from introvae.config import Schedule, TrainConfig
from introvae.data.image_set import ImageSet
from introvae.runs.folder import CHECKPOINT
from introvae.runs.pictures import EARLY_STEPS, MOST_FRAMES
from introvae.training.progress import progress
from introvae.training.trainer import Trainer

TIMED = 6  # steps of each phase; half of the first also draw a picture
OTHER_PICTURES = 4  # what latents and curves take, in pictures


class Cost(NamedTuple):
    """Cost of the parts of a training: seconds of a step in the warm-up and after it, bytes of the files."""

    warmup_step: float
    step: float
    checkpoint: int
    picture: int

    def speed(self, warmup: bool) -> str:
        """Return the time of a step as text, also that of a step in the warm-up if there is one."""
        after = step_time(self.step)
        return f"{step_time(self.warmup_step)} a step in the warm-up, {after} after it" if warmup else f"{after} a step"

    def disk(self, checkpoints: int, pictures: int) -> str:
        """Return the size on disk of so many checkpoints and pictures as text."""
        total = size(checkpoints * self.checkpoint + pictures * self.picture)
        return f"about {total}: {checkpoints} checkpoints of {size(self.checkpoint)}, and pictures"


def measure(
    config: TrainConfig, images: ImageSet, device: torch.device, threads: int | None = None, quiet: bool = False
) -> Cost:
    """Train a few steps of a run in a temporary folder, with its progress on stderr.

    Args:
        config: The run's settings; `channels` must be that of the images. Of a schedule of alpha the highest value
            counts.
        images: The images to train on.
        device: The device to train on.
        threads: Threads of PyTorch meanwhile; None leaves them as they are.
        quiet: Show no progress.

    Returns:
        What the parts of a run with these settings cost here.

    Raises:
        UserError: If the run's initial weights cannot be used.
        DivergedError: If a loss or parameter is not finite within these steps.
        OutOfMemoryError: If the networks or a step need more memory than there is.
    """
    last = 2 * TIMED
    few = replace(
        config, alpha=_highest(config.alpha), warmup_steps=TIMED, steps=last, log_every=1, checkpoint_every=last,
        picture_every=last,
    )  # fmt: skip
    rows: list[dict[str, float]] = []
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with tempfile.TemporaryDirectory() as name, nullcontext() if quiet else progress(last, 0, "measuring") as show:

            def on_log(row: dict[str, float]) -> None:
                rows.append(row)
                if show:
                    show(row)

            Trainer(few, images, Path(name), device).run(on_log=on_log)
            checkpoint = (Path(name) / CHECKPOINT).stat().st_size
            picture = max(path.stat().st_size for path in Path(name).glob("images/*.png"))
    finally:
        torch.set_num_threads(before)
    seconds = [few.batch_size / row["images_per_second"] for row in rows]
    return Cost(median_low(seconds[:TIMED]), median_low(seconds[TIMED:]), checkpoint, picture)


def picture_count(config: TrainConfig, begin: int = 0) -> int:
    """Count the pictures that a run draws from the step `begin` on, with those in its GIF and what equals a picture."""
    every = config.picture_every
    early = sum(begin <= step < config.steps and (step % every > 0 or step == begin) for step in EARLY_STEPS)
    drawn = early + config.steps // every - begin // every + (config.steps % every > 0)
    return drawn + min(drawn, MOST_FRAMES) + OTHER_PICTURES


def step_time(seconds: float) -> str:
    """Return the time of a step as text: milliseconds below a second, then seconds."""
    return f"{_digits(1000 * seconds)} ms" if seconds < 0.9995 else f"{_digits(seconds)} s"


def size(count: float) -> str:
    """Return a number of bytes as text, in MB of 2**20 bytes or, from 1000 of these on, in GB of 2**30."""
    megabytes = count / 2**20
    return f"{_digits(megabytes)} MB" if megabytes < 999.5 else f"{_digits(count / 2**30)} GB"


def epochs(steps: int, batch_size: int, training_images: int) -> str:
    """Return how many images so many steps see, and how many epochs of the training images that is, as text."""
    seen = steps * batch_size
    return f"{seen:,}, or {_digits(seen / training_images)} epochs of {training_images:,} training images"


def _digits(value: float) -> str:
    """Return three digits, or all those before the point, never with an exponent."""
    return f"{value:.3g}" if 1e-4 <= value < 999.5 else f"{value:,.0f}"


def _highest(schedule: Schedule) -> float:
    return schedule if isinstance(schedule, float) else max(value for _, value in schedule)
