"""introvae-train --dry-run: what a training would do and cost, without beginning it."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from introvae.config import TrainConfig, differences
from introvae.data.image_set import load_images
from introvae.errors import UserError
from introvae.presets import OF_SIZE, SIZES, default_preset, size_defaults
from introvae.runs.folder import load_checkpoint
from introvae.training.cost import epochs, measure, picture_count
from introvae.training.device import find_device, tune_process
from introvae.training.progress import duration

Lines = Iterable[tuple[str, str]]
"""Names and texts; a line whose name is "" belongs to the one before."""


def describe(config: TrainConfig, folder: Path, source: Path | None = None, device: str = "auto") -> str:
    """Describe settings, length and cost of a training, a line each; a few steps train in a temporary folder.

    Args:
        config: The run's settings.
        folder: The run folder. What a run in it has done already is not counted.
        source: The run that is continued in that folder, if any.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".

    Raises:
        UserError: If the images or the device cannot be used.
        DivergedError: If a few steps diverge.
        OutOfMemoryError: If a few steps need more memory than there is.
    """
    if "WORLD_SIZE" in os.environ:
        raise UserError("--dry-run measures a single process; run it without torchrun")
    found = find_device(device)
    tune_process(found)
    return in_column([("run", str(folder)), *setting_lines(config), *_cost(config, _done(folder, source), found)])


def in_column(lines: Lines) -> str:
    """Return lines of names and texts with the texts in one column."""
    lines = list(lines)
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:{width}}  {text}" for name, text in lines)


def setting_lines(config: TrainConfig, others: Iterable[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield the defaults of the image size, and what of the settings, and `others` after them, differs from these."""
    size = config.image_size
    row = size_defaults(size)
    smallest = min(SIZES)
    of = f"up to {smallest} px" if size <= smallest else f"{size} px (those of --preset {default_preset(size)})"
    yield "defaults", f"of {of}: " + ", ".join(f"{name} {row[name]}" for name in OF_SIZE)
    if size > smallest:
        yield "", "the warm-up is a tenth of the steps"
    changed = differences(TrainConfig().to_dict() | row, config.to_dict())
    yield "settings", "; ".join([*changed, *others]) or "defaults"


def _cost(config: TrainConfig, done: int, device: torch.device) -> Iterator[tuple[str, str]]:
    """Yield steps, images, time and disk of what is left of a run."""
    images = load_images(**config.images)
    cost = measure(replace(config, channels=images.channels), images, device)
    warmup = max(config.warmup_steps - done, 0)
    first = f"the first {config.warmup_steps:,} of them as warm-up" if config.warmup_steps else "without a warm-up"
    yield "steps", f"{config.steps:,}, {first}" + (f"; {done:,} are done" if done else "")
    yield "images", epochs(config.steps, config.batch_size, len(images.train))
    left = warmup * cost.warmup_step + (config.steps - max(done, config.warmup_steps)) * cost.step
    yield "time", f"{duration(left)} on {device}, scores aside; {cost.speed(warmup > 0)}"
    yield "disk", cost.disk(2, picture_count(config, done))


def _done(folder: Path, source: Path | None) -> int:
    """Return the steps of the checkpoint that a run continues from."""
    states = (load_checkpoint(run) for run in (folder, source) if run)
    return next((state["step"] for state in states if state), 0)
