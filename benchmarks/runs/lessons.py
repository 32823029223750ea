"""Lessons on the VAE inside an IntroVAE: ten trainings on digits, and a table of their measures.

    python benchmarks/runs/lessons.py [--out FOLDER] [--steps N]
    introvae-report predictions/lessons --open        # pictures, traversals, curves, and a GIF of each training

The lessons are those of yukunchen113's pages on the VAE and the beta-VAE: an autoencoder (no KL), a VAE, a KL weight
that rises slowly, networks of low capacity, and larger and falling weights. The same command resumes them.
"""

import argparse
from pathlib import Path

from torch import Tensor

from analysis.measures.spectrum import eigenvalues, predicted_kl
from analysis.report.runs import Run, read_runs
from analysis.train import main as train
from introvae.data.image_set import load_images
from introvae.training.schedule import value_at

CONV, LOW = "vae-mnist-conv", "vae-mnist-mlp"
LESSONS = {  # name -> preset and weight of the KL; without one the preset's, which rises from 0 to 1
    "autoencoder": ("ae-mnist", None),
    "vae": (CONV, "1"),
    "annealing": (CONV, None),
    "low-capacity": (LOW, None),
    "weight-10": (CONV, "10"),
    "weight-100": (CONV, "100"),
    "weight-1000": (CONV, "1000"),
    "weight-10000": (CONV, "10000"),
    "falling-from-100": (CONV, "0:100,1500:1"),
    "falling-from-10000": (CONV, "0:10000,1500:1"),
}
MEASURES = {  # headings of the table
    "kl": "KL", "active_units_0.01": "active", "mse": "MSE", "retrieval": "retrieval", "sharpness_samples": "sharpness",
    "variance_ratio": "variance", "traversal_smoothness": "traversals",
}  # fmt: skip


def row(run: Run, spectrum: Tensor) -> list[str]:
    config = run.config
    assert config is not None  # it was trained just now
    weight = value_at(config.kl_weight, config.steps)
    beta = value_at(config.beta, config.steps)
    predicted = f"{predicted_kl(spectrum, beta / weight, config.latent):.1f}" if weight else "-"
    measured = [f"{run.numbers[name]:.3g}" if name in run.numbers else "-" for name in MEASURES]
    return [run.folder.name, f"{weight:g}", predicted, *measured]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("predictions/lessons"), help="folder for the runs [predictions/lessons]"
    )
    parser.add_argument("--steps", type=int, default=3000, help="steps of each training [3000]")
    args = parser.parse_args()
    for name, (preset, weight) in LESSONS.items():
        weights = [] if weight is None else ["--kl-weight", weight]
        code = train(["--preset", preset, *weights, "--steps", str(args.steps), "--out", str(args.out / name)])
        if code:
            raise SystemExit(code)
    runs = {run.folder.name: run for run in read_runs(args.out)}
    config = runs["vae"].config  # all have its images
    assert config is not None
    spectrum = eigenvalues(load_images(config.data, config.image_size).train)
    lines = [["lesson", "weight", "predicted KL", *MEASURES.values()], ["---"] * (3 + len(MEASURES))]
    for cells in [*lines, *(row(runs[name], spectrum) for name in LESSONS)]:
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
