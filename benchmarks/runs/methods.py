"""A setting that a study found against other methods, on the same images, network, number of steps and test images.

    pip install --no-deps face_recognition_models==0.3.0 facenet-pytorch==2.6.0
    python benchmarks/runs/methods.py RUN --out FOLDER --csv docs/methods.csv     # trains for hours; resumes
    python benchmarks/runs/methods.py --csv docs/methods.csv                      # the table again, without training

RUN is the study's best run, whose settings all of these share but for what the name says:

- `found`: the run's own alpha and beta, and its m over the KL that the warm-up measures
- `authors`: alpha, the decoder's alpha, beta, m and hinge of the authors' script for 256 px (preset official-256-a),
  beta scaled by the numbers in an image and m by the KL
- `soft`: Soft-IntroVAE with the weights that its README recommends at 32 px (preset soft-cifar10), without warm-up
- `vae`: a VAE of the beta of RUN

Each is trained with seeds that the study has not seen. On test images it is measured by features that the score does
not use, of the networks of `benchmarks/runs/judges.py`: KID (less is better) and coverage of samples, and retrieval of
inputs by their reconstructions; the squared error is summed over a reconstruction's pixels and halved. Reconstructions
and samples of the first seed are drawn to FOLDER/methods.png.
"""

import json
import os
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # of small networks; several processes use more cores

import numpy as np
import pandas as pd
import torch
from judges import NETWORKS, Embed, detection, features, judge, recognition
from published import settings as published
from snapshots import read_snapshot, save_snapshot
from torch import Tensor

from analysis.measures.score import score_images
from analysis.measures.spectrum import eigenvalues, predicted_kl, vae_kl
from analysis.outputs import outputs_of, scored_images
from analysis.report.runs import read_runs
from analysis.report.sheets import Row, write_rows
from introvae.config import NUMBERS_AT_256, TrainConfig
from introvae.data.image_set import ImageSet, load_images, to_float
from introvae.files import write_atomically
from introvae.presets import load_preset
from introvae.runs.folder import read_metrics
from introvae.runs.pictures import lay_out
from introvae.runs.record import PARTS
from introvae.training.device import tune_process
from introvae.training.trainer import Trainer

CPU = torch.device("cpu")
METHODS = ("found", "authors", "soft", "vae")
SEEDS = (1, 2, 3)  # a study's own begins with 0
SHOWN = 12  # images of each kind
MEASURES = ("kid", "coverage", "retrieval")
JUDGED = [f"{network}_{measure}" for network in NETWORKS for measure in MEASURES]


def setting(method: str, run: TrainConfig, ratio: float, images: ImageSet) -> tuple[TrainConfig, float]:
    """Return the settings of a method but for m, and m over a VAE's KL."""
    if method == "found":
        return run, ratio
    if method == "vae":
        return replace(run, alpha=0.0), ratio
    if method == "soft":
        theirs = TrainConfig.from_dict(load_preset("soft-cifar10"))
        names = ("objective", "alpha", "beta", "beta_neg", "gamma_r")
        return replace(run, warmup_steps=0, **{name: getattr(theirs, name) for name in names}), ratio
    theirs = published()["official-256-a"]
    scale = NUMBERS_AT_256 / images.train.shape[1:].numel()
    values = {name: getattr(theirs, name) for name in ("alpha", "alpha_decoder", "hinge")}
    assert isinstance(theirs.beta, float)
    found = replace(run, beta=theirs.beta * scale, warmup_beta=None, **values)
    at_256 = predicted_kl(eigenvalues(images.train) * scale, theirs.beta, theirs.latent)
    return found, theirs.m / at_256


def train(run: TrainConfig, ratio: float, out: Path, job: tuple[int, str]) -> None:
    """Train a method with a seed, and write its outputs on test images."""
    seed, method = job
    path, folder = outputs_path(out, method, seed), out / f"{method}-seed{seed}"
    if path.exists():
        return
    tune_process(CPU)
    torch.set_num_threads(1)
    images = load_images(**run.images)
    config, ratio = setting(method, run, ratio, images)
    config = replace(config, seed=seed)
    start = None
    if config.warmup_steps:
        start = out / f"{method}-seed{seed}-warmup"
        beta = config.beta if config.warmup_beta is None else config.warmup_beta
        assert isinstance(beta, float)
        warmup = replace(config, alpha=0.0, beta=beta, warmup_beta=beta, steps=config.warmup_steps)
        Trainer(warmup, images, start, CPU).run()
        config = replace(config, m=ratio * vae_kl(config, eigenvalues(images.train), read_metrics(start)))
    trainer = Trainer(config, images, folder, CPU, start)
    trainer.run()
    save_snapshot(path, outputs_of(trainer.evaluated, scored_images(images, on="test"), "test"))
    print(f"{method}, seed {seed}: m {config.m:.4g}", flush=True)


def outputs_path(out: Path, method: str, seed: int) -> Path:
    return out / f"{method}-seed{seed}.npz"


class Measuring:
    """Measures outputs; what judges say of them is kept beside them."""

    def __init__(self, run: TrainConfig, out: Path) -> None:
        self.out = out
        self.real = (scored_images(load_images(**run.images), on="test") * 255).round().byte()

    @cached_property
    def networks(self) -> dict[str, tuple[Embed, Tensor]]:
        """Judges by name, each with its features of the real images."""
        embeds = zip(NETWORKS, (recognition(), detection()), strict=True)
        return {name: (embed, features(embed, self.real)) for name, embed in embeds}

    def __call__(self, job: tuple[int, str]) -> dict[str, Any]:
        seed, method = job
        path = outputs_path(self.out, method, seed)
        made = read_snapshot(path)
        pixels = [to_float(x) for x in (self.real, *made)]
        scores = score_images(*pixels)
        row: dict[str, Any] = {"method": method, "seed": seed}
        row["squared_error"] = (pixels[0] - pixels[1]).square().sum((1, 2, 3)).mean().item() / 2
        return row | {name: getattr(scores, name) for name in ("score", *PARTS)} | self._judged(path, made)

    def _judged(self, path: Path, made: tuple[Tensor, Tensor]) -> dict[str, float]:
        kept = path.with_suffix(".json")
        if kept.exists():
            known = json.loads(kept.read_text())
            return {name: known[name] for name in JUDGED}
        judged: dict[str, float] = {}
        for name, (embed, real) in self.networks.items():
            found = judge(real, *(features(embed, x) for x in made))
            judged |= {f"{name}_{measure}": found[f"_{measure}"] for measure in MEASURES}
        write_atomically(kept, json.dumps(judged).encode())
        return judged


def draw(run: TrainConfig, out: Path) -> None:
    """Draw the first seed's pictures of every method, below real ones."""
    real = scored_images(load_images(**run.images), on="test")
    rows = torch.linspace(0, len(real) - 1, SHOWN).long()

    def block(images: Tensor) -> np.ndarray:
        pixels = lay_out(images[None])
        return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, 2)

    others = rows[:-1] + (rows[1] // 2)
    sheet = [Row("test images", [block(real[rows]), block(real[others])])]
    for method in METHODS:
        reconstructions, samples = map(to_float, read_snapshot(outputs_path(out, method, SEEDS[0])))
        sheet.append(Row(method, [block(reconstructions[rows]), block(samples[:SHOWN])]))
    write_rows(out / "methods.png", ["reconstructions", "samples"], sheet)


def table(runs: pd.DataFrame) -> str:
    """Format mean and standard deviation over seeds of each method."""
    shown = ["score", *JUDGED, "squared_error"]
    lines = ["| method | seeds | " + " | ".join(name.replace("_", " ") for name in shown) + " |"]
    lines.append("|---" * (2 + len(shown)) + "|")
    for method in METHODS:
        of = runs[runs.method == method]
        cells = [f"{of[name].mean():.3g} ± {of[name].std():.2g}" for name in shown]
        lines.append(f"| {method} | {len(of)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="run folder of a study's best setting")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="train, and keep what is done in this folder")
    parser.add_argument("--csv", type=Path, required=True, metavar="FILE", help="table of all runs")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help="train these alone")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), metavar="N", help="processes [one a core]")
    args = parser.parse_args()
    if args.run:
        if not args.out:
            parser.error("RUN needs --out")
        (found,) = read_runs(args.run)
        assert found.config and found.margin_ratio, f"{args.run} has no setting, or its warm-up has not measured a KL"
        with ProcessPoolExecutor(args.workers) as pool:
            jobs = product(SEEDS, args.methods)
            list(pool.map(partial(train, found.config, found.margin_ratio, args.out), jobs))
        trained = (job for job in product(SEEDS, METHODS) if outputs_path(args.out, job[1], job[0]).exists())
        rows = map(Measuring(found.config, args.out), trained)
        pd.DataFrame(rows).to_csv(args.csv, index=False, float_format="%.5g")
        draw(found.config, args.out)
    print(table(pd.read_csv(args.csv)))


if __name__ == "__main__":
    main()
