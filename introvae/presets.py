"""Presets: named settings in presets/, and the defaults of each image size, which are some of theirs."""

import difflib
from pathlib import Path
from typing import Any

from introvae.config import TrainConfig, load_toml
from introvae.errors import UserError

PRESETS = Path(__file__).parent / "presets"
SIZES = {  # up to so many pixels of a side, the defaults of commands are the settings OF_SIZE of a preset
    32: "orl-faces",  # those of TrainConfig: minutes on a CPU
    64: "celeba-64",  # 39 epochs of CelebA; a learning rate of 1e-3 is for short trainings
    128: "paper-128",  # 138 epochs of CelebA-HQ, in the small batches of re-implementations of the paper
    2048: "paper-256",  # the same with latent dimensions for finer details; paper-1024 has these values, too
}
OF_SIZE = (
    "latent", "batch_size", "lr", "steps", "warmup_steps", "log_every", "checkpoint_every", "picture_every",
)  # fmt: skip


def presets() -> dict[str, str]:
    """Return the presets' names, each with one line on what it is and where it comes from."""
    return {path.stem: load_toml(path)["about"] for path in sorted(PRESETS.glob("*.toml"))}


def load_preset(name: str) -> dict[str, Any]:
    """Return the settings of a preset.

    Raises:
        UserError: If there is none of this name, with the nearest one as a suggestion.
    """
    path = PRESETS / f"{name}.toml"
    if path not in PRESETS.glob("*.toml"):
        near = difflib.get_close_matches(name, presets(), 1)
        hint = f"did you mean {near[0]!r}?" if near else "--list-presets names them"
        raise UserError(f"there is no preset {name!r}; {hint}")
    return load_toml(path)["config"]


def default_preset(image_size: int) -> str:
    """Return the name of the preset whose settings OF_SIZE are the defaults of images of this size."""
    return SIZES[next((largest for largest in SIZES if image_size <= largest), max(SIZES))]


def size_defaults(image_size: int = TrainConfig.image_size, steps: int | None = None) -> dict[str, Any]:
    """Return the settings OF_SIZE that commands give a run unless something else does.

    Args:
        image_size: Side of the images, in pixels.
        steps: Steps that the run is given, if any. Above the smallest size a tenth of them is the warm-up, which
            measures the KL that m is chosen by, also where the preset has none. At the smallest it is the usual one, or
            its usual share of steps that are no more than that.
    """
    preset = load_preset(default_preset(image_size))
    found = {name: preset.get(name, getattr(TrainConfig, name)) for name in OF_SIZE}
    if image_size > min(SIZES):
        found["warmup_steps"] = (found["steps"] if steps is None else steps) // 10
    elif steps is not None and steps <= found["warmup_steps"]:
        found["warmup_steps"] = steps * found["warmup_steps"] // found["steps"]
    return found
