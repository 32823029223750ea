"""Settings small enough for seconds, images, and commands, for all tests."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from introvae.config import TrainConfig

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
COMMANDS = {  # with their modules
    "introvae-train": "analysis.train",
    "introvae-sample": "introvae.commands.sample",
    "introvae-apply": "introvae.commands.apply",
    "introvae-export": "introvae.commands.export",
    "introvae-report": "analysis.cli",
    "introvae-sweep": "sweeps.cli",
}


def tiny_config(**values: Any) -> TrainConfig:
    """16 px faces and a few steps; each test names what it changes."""
    settings: dict[str, Any] = {
        "channels": 1, "image_size": 16, "latent": 8, "widths": (8, 8), "beta": 20.0, "m": 20.0, "steps": 20,
        "warmup_steps": 8, "batch_size": 8, "log_every": 2, "checkpoint_every": 4, "picture_every": 20,
    }  # fmt: skip
    return TrainConfig(**settings | values)


def tiny_flags(*leave_out: str) -> list[str]:
    """`tiny_config` as flags."""
    names = [name for name in ("image_size", "latent", "widths", "beta", "m", "steps", "warmup_steps", "batch_size",
             "log_every", "checkpoint_every", "picture_every") if name not in leave_out]  # fmt: skip
    values = tiny_config().to_dict()
    text = {name: ",".join(map(str, v)) if isinstance(v := values[name], list) else str(v) for name in names}
    return [part for name in names for part in ("--" + name.replace("_", "-"), text[name])]


def forgive(patch: pytest.MonkeyPatch) -> None:
    """Let runs of a few steps count as complete, although their images say that they have collapsed."""
    for name in ("LEAST_KL", "LEAST_NATS", "LEAST_RETRIEVED", "LEAST_VARIANCE"):
        patch.setattr(f"analysis.measures.collapse.{name}", 0.0)


def save_image(path: Path, size: tuple[int, int], mode: str = "RGB", seed: int = 0) -> None:
    """Random pixels, (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8)).save(path)


def make_celeba(root: Path, images: int) -> tuple[Path, list[str]]:
    """Noise laid out as CelebA's files are: half for training, a third for validation; their folder, their names."""
    base = root / "celeba"
    names = [f"{index:06d}.jpg" for index in range(1, images + 1)]
    for index, name in enumerate(names):
        save_image(base / "img_align_celeba" / name, (178, 218), seed=index)
    splits = [0 if index < images // 2 else 1 if index < images * 5 // 6 else 2 for index in range(images)]
    rows = zip(names, splits, strict=True)
    (base / "list_eval_partition.txt").write_text("".join(f"{name} {split}\n" for name, split in rows))
    (base / "identity_CelebA.txt").write_text("".join(f"{name} 1\n" for name in names))
    for file, columns in (("bbox", 4), ("landmarks_align", 10), ("attr", 40)):
        header = f"{images}\n{' '.join(f'c{i}' for i in range(columns))}\n"
        lines = "".join(f"{name} {' '.join(['1'] * columns)}\n" for name in names)
        (base / f"list_{file}_celeba.txt").write_text(header + lines)
    return base, names


def blurred(images: torch.Tensor, sigma: float) -> torch.Tensor:
    return torch.from_numpy(gaussian_filter(images.numpy(), (0, 0, sigma, sigma)))


def noisy(images: torch.Tensor, sigma: float) -> torch.Tensor:
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (images + sigma * noise).clamp(0, 1)


def equal_states(a: Any, b: Any) -> bool:
    """Whether two checkpoints, or parts of them, hold the same bit for bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal_states(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal_states, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def script(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True)


def picture_files(run: Path) -> dict[str, bytes]:
    """Return the files of a run's pictures by name."""
    return {path.name: path.read_bytes() for path in sorted((run / "images").iterdir())}


def exit_code(main: Callable[[list[str]], int], flags: list[str]) -> int:
    """Return a command's exit code, whether it returns or argparse ends it."""
    try:
        return main(flags)
    except SystemExit as stopped:
        return stopped.code if isinstance(stopped.code, int) else -1
