"""Snapshots of real runs, good and failed, early and late: what scores and judges are held against each other on.

    python benchmarks/runs/snapshots.py OUT [--data orl-faces] [--image-size 32] [--device auto] [--workers 1]
    python benchmarks/runs/snapshots.py OUT --runs STUDY     # of runs that are trained, and have kept their checkpoints

Each of SETTINGS is trained from one shared warm-up, and its moving average is asked for reconstructions and samples at
several steps: OUT/SETTING-STEP.npz holds them as uint8. `benchmarks/runs/judges.py` compares them. Workers are
processes on a CPU and threads on CUDA, where each has a stream of its own.
"""

import argparse
import multiprocessing
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from analysis.measures.spectrum import eigenvalues, vae_kl
from analysis.outputs import Outputs, outputs_of, scored_images
from introvae.config import NUMBERS_AT_256, TrainConfig
from introvae.data.image_set import ImageSet, load_images
from introvae.errors import DivergedError
from introvae.runs.folder import CHECKPOINT, PARAMS, read_config, read_metrics
from introvae.training.device import find_device, tune_process
from introvae.training.state import load_run
from introvae.training.trainer import Trainer

WARMUP = 1500  # steps
STEPS = (100, 400, 800, 1600, 3200, 6400)  # after the warm-up, at which snapshots are taken
SETTINGS = (  # alpha, beta at 256 px, m over a VAE's KL, learning rate
    (0.25, 0.05, 1.5, 1e-3),
    (0.25, 0.2, 4.0, 1e-3),
    (0.0, 0.2, 4.0, 1e-3),
    (0.25, 0.05, 15.0, 1e-3),
    (0.25, 0.75, 4.0, 1e-3),
    (1.0, 0.2, 4.0, 1e-3),
    (0.1, 0.2, 2.0, 1e-3),
    (0.5, 0.1, 2.0, 1e-3),
    (0.25, 0.2, 15.0, 1e-3),
    (0.15, 0.4, 3.0, 1e-3),
    (0.25, 0.05, 4.0, 1e-3),
    (0.25, 2.0, 2.0, 1e-3),
    (0.5, 0.75, 1.5, 1e-3),
    (0.0, 0.01, 4.0, 1e-3),
    (0.25, 0.05, 1.5, 2e-4),
    (0.25, 0.2, 3.0, 2e-4),
    (0.1, 0.2, 2.0, 2e-4),
    (0.25, 0.05, 4.0, 2e-4),
    (0.25, 0.75, 2.0, 2e-4),
    (0.25, 0.05, 15.0, 2e-4),
)


@dataclass(frozen=True)
class Job:
    """One setting to train."""

    out: Path
    data: str
    image_size: int
    device: str
    number: int
    most: int


def settings(job: Job, images: ImageSet) -> TrainConfig:
    """Return the settings of the shared warm-up as a run."""
    scale = NUMBERS_AT_256 / images.train.shape[1:].numel()
    return TrainConfig(
        data=job.data, image_size=job.image_size, channels=images.channels, latent=64 if job.image_size < 64 else 128,
        alpha=0.0, beta=0.2 * scale, warmup_beta=0.2 * scale, warmup_steps=WARMUP, steps=WARMUP,
        log_every=100, checkpoint_every=500, picture_every=10**6,
    )  # fmt: skip


def train(job: Job) -> str:
    """Train a setting and write its snapshots; number -1 is the warm-up."""
    device = find_device(job.device)
    tune_process(device)
    images = load_images(job.data, job.image_size)
    warmup, config = job.out / "warmup", settings(job, images)
    with torch.cuda.stream(torch.cuda.Stream(device)) if device.type == "cuda" else nullcontext():
        if job.number < 0:
            Trainer(config, images, warmup, device).run()
            return "warm-up"
        return _train_setting(job, config, images, device)


def _train_setting(job: Job, config: TrainConfig, images: ImageSet, device: torch.device) -> str:
    warmup = job.out / "warmup"
    alpha, beta_256, ratio, lr = SETTINGS[job.number]
    beta = beta_256 * NUMBERS_AT_256 / images.train.shape[1:].numel()
    config = replace(config, lr=lr, alpha=alpha, beta=beta, steps=WARMUP + STEPS[-1])
    kl = vae_kl(config, eigenvalues(images.train), read_metrics(warmup))
    name = f"alpha{alpha:g}-beta{beta_256:g}-ratio{ratio:g}-lr{lr:g}"
    trainer = Trainer(replace(config, m=ratio * kl), images, job.out / name, device, start=warmup)
    real = scored_images(images, job.most)
    for step in STEPS:
        try:
            trainer.run(WARMUP + step)
        except DivergedError:
            return f"{name} diverged before step {step}"
        save_snapshot(job.out / f"{name}-{step:05d}.npz", outputs_of(trainer.evaluated, real))
    return name


def save_snapshot(path: Path, shown: Outputs) -> None:
    """Write reconstructions and samples as uint8 (N, C, S, S)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    reconstructions, samples = (
        (images * 255).round().byte().numpy() for images in (shown.reconstructions, shown.samples)
    )
    np.savez_compressed(path, reconstructions=reconstructions, samples=samples)


def read_snapshot(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return reconstructions and samples as uint8."""
    with np.load(path) as arrays:
        return torch.from_numpy(arrays["reconstructions"]), torch.from_numpy(arrays["samples"])


def take(runs: Path, out: Path, most: int) -> None:
    """Write a snapshot of each run below a folder that has a checkpoint."""
    for params in sorted(runs.rglob(PARAMS)):
        folder = params.parent
        if not (folder / CHECKPOINT).exists():
            continue
        config, step = read_config(folder), int(read_metrics(folder)[-1]["step"])
        real = scored_images(load_images(**config.images), most)
        save_snapshot(out / f"{folder.name}-{step:05d}.npz", outputs_of(load_run(folder, "cpu"), real))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", default="orl-faces", help="as introvae-train takes it [orl-faces]")
    parser.add_argument("--image-size", type=int, default=32, metavar="N", help="pixels [32]")
    parser.add_argument("--device", default="auto", help="as introvae-train takes it [auto]")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="settings at once [1]")
    parser.add_argument("--images", type=int, default=80, metavar="N", help="images of each kind [80]")
    parser.add_argument("--runs", type=Path, metavar="FOLDER", help="take the runs below this folder, and train none")
    args = parser.parse_args()
    if args.runs:
        take(args.runs, args.out, args.images)
        return
    jobs = [Job(args.out, args.data, args.image_size, args.device, n, args.images) for n in range(-1, len(SETTINGS))]
    print(train(jobs[0]), flush=True)
    executor: Executor = (
        ThreadPoolExecutor(args.workers)
        if find_device(args.device).type == "cuda"
        else ProcessPoolExecutor(args.workers, multiprocessing.get_context("spawn"))
    )
    with executor as pool:
        for done in pool.map(train, jobs[1:]):
            print(done, flush=True)


if __name__ == "__main__":
    main()
