"""Spread of the score within the last tenth of a run: the weights of a step, and moving averages of several lengths.

    python benchmarks/scores/stability.py [--image-size 16] [--steps 400 1600] [--seeds 3]

Each seed trains the default settings after one warm-up, with the averages side by side. Those named by a decay count
steps from the first of the warm-up, as runs of earlier versions did: their decay is at most (1 + t) / (10 + t). "0.998
within a tenth" is what runs use: a tenth of what has been trained since the warm-up, at most 500 steps. At eight steps
within the last tenth of each length validation images are scored. Shown are the mean over the seeds of the mean and of
the standard deviation over the eight steps.
"""

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from analysis.measures.score import score_images
from analysis.measures.spectrum import eigenvalues, vae_kl
from analysis.outputs import outputs_of, scored_images
from introvae.config import NUMBERS_AT_256, TrainConfig
from introvae.data.image_set import ImageSet, load_images
from introvae.nn.networks import IntroVAE
from introvae.runs.folder import read_metrics
from introvae.training.device import find_device, tune_process
from introvae.training.state import MovingAverage
from introvae.training.trainer import Trainer

ALPHA, BETA, RATIO = 0.25, 0.2, 3.0  # beta at 256x256x3 and m/KL
DECAYS = (0.98, 0.995, 0.998)
LOOKS, EVERY = 8, 10  # looks within the last tenth; steps between logs


def looks(steps: int) -> list[int]:
    """Return the steps within the last tenth at which a run is scored."""
    tenth = steps / 10
    return sorted({EVERY * round((steps - tenth * part / (LOOKS - 1)) / EVERY) for part in range(LOOKS)})


def train(images: ImageSet, steps: list[int], seed: int, warmup: int, out: Path) -> dict[tuple[int, str], list[float]]:
    """Train a run; return the scores by length and by the weights that are scored."""
    device = find_device("auto")
    beta = BETA * NUMBERS_AT_256 / images.train.shape[1:].numel()
    config = TrainConfig(
        image_size=images.train.shape[-1], channels=images.channels, alpha=0.0, beta=beta, warmup_steps=warmup,
        steps=warmup, seed=seed, log_every=EVERY, checkpoint_every=10 * EVERY, picture_every=10**6,
    )  # fmt: skip
    Trainer(config, images, out / "warmup", device).run()
    config = replace(config, alpha=ALPHA, steps=warmup + max(steps))
    config = replace(config, m=RATIO * vae_kl(config, eigenvalues(images.train), read_metrics(out / "warmup")))
    trainer = Trainer(config, images, out / "run", device, start=out / "warmup")
    averages = {f"decay {decay:g}": MovingAverage(trainer.model, decay) for decay in DECAYS}
    advance = trainer.state.advance

    def advance_all() -> None:
        for average in averages.values():
            average.update(trainer.step)  # counted from the first step of the warm-up
        advance()

    trainer.state.advance = advance_all  # type: ignore[method-assign]
    real = scored_images(images, 80)
    found: dict[tuple[int, str], list[float]] = {}
    for length in sorted(steps):
        for look in looks(length):
            trainer.run(warmup + look)
            kept = trainer.evaluated
            weights: dict[str, IntroVAE] = {"of the step": trainer.model}
            weights |= {name: average.model for name, average in averages.items()} | {"0.998 within a tenth": kept}
            for name, model in weights.items():
                found.setdefault((length, name), []).append(_score(model, real))
    return found


def _score(model: IntroVAE, real: torch.Tensor) -> float:
    outputs = outputs_of(model, real)
    return score_images(outputs.real, outputs.reconstructions, outputs.samples).score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image-size", type=int, default=16, metavar="N", help="pixels [16]")
    parser.add_argument("--steps", type=int, nargs="+", default=[400, 1600], help="after the warm-up [400 1600]")
    parser.add_argument("--warmup", type=int, default=1000, metavar="N", help="steps of the warm-up [1000]")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="runs [3]")
    args = parser.parse_args()
    tune_process(find_device("auto"))
    images = load_images("orl-faces", args.image_size)
    runs = []
    for seed in range(args.seeds):
        with tempfile.TemporaryDirectory() as out:
            runs.append(train(images, args.steps, seed, args.warmup, Path(out)))
    print("| weights | " + " | ".join(f"{length} steps" for length in args.steps) + " |")
    print("|---" * (1 + len(args.steps)) + "|")
    for name in dict.fromkeys(name for _, name in runs[0]):
        cells = []
        for length in args.steps:
            scores = [run[length, name] for run in runs]
            mean = statistics.mean(map(statistics.mean, scores))
            cells.append(f"{mean:.3f} ± {statistics.mean(map(statistics.stdev, scores)):.4f}")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
