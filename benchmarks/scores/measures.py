"""Seconds that it takes to measure a run with 1,000 validation images, part by part.

    python benchmarks/scores/measures.py [--image-size N] [--threads N]

The images are ORL faces in color and their mirror images, repeated; the networks are the default ones of that size,
with initial weights. CPU seconds hardly depend on what else the machine does; wall seconds do.
"""

import argparse
import time
from collections.abc import Callable

import torch

from analysis.measures import run_measures as measures
from analysis.measures.score import score_images
from analysis.measures.spectrum import eigenvalues, vae_kl
from analysis.outputs import MOST_SCORED, outputs_of, scored_images
from introvae.config import TrainConfig
from introvae.data.image_set import ImageSet, load_images
from introvae.training.state import build_model

PARTS = (
    "_reconstruction", "_sharpness", "_blur_and_power", "_latents", "_networks", "_novelty", "_distance",
)  # fmt: skip


def timed(name: str, function: Callable, seconds: dict[str, float]) -> Callable:
    """Return the function with its CPU time kept in `seconds`."""

    def call(*arguments: object) -> object:
        start = time.process_time()
        result = function(*arguments)
        seconds[name] = time.process_time() - start
        return result

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image-size", type=int, default=64, metavar="N", help="pixels [64]")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), metavar="N", help="threads [all cores]")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    faces = load_images("orl-faces", args.image_size, 3)
    whole = torch.cat([faces.train[:], faces.validation[:], faces.test[:]])
    whole = torch.cat([whole, whole.flip(-1), whole])[:MOST_SCORED]
    images = ImageSet("faces", whole, whole, whole)
    config = TrainConfig(image_size=args.image_size, channels=3)
    model = build_model(config, torch.device("cpu")).eval()
    spectrum = eigenvalues(images.train)
    seconds: dict[str, float] = {}
    for name in PARTS:
        setattr(measures, name, timed(name, getattr(measures, name), seconds))
    wall, start = time.perf_counter(), time.process_time()
    outputs = outputs_of(model, scored_images(images))
    measures.quick_measures(outputs, config, spectrum, vae_kl(config, spectrum, []))
    measures.thorough_measures(model, outputs, config, images.train)
    timed("score", score_images, seconds)(outputs.real, outputs.reconstructions, outputs.samples)
    total, elapsed = time.process_time() - start, time.perf_counter() - wall
    seconds["networks on all images"] = total - sum(seconds.values())
    for name, value in sorted(seconds.items(), key=lambda pair: -pair[1]):
        print(f"{value:6.1f} CPU seconds  {name.strip('_').replace('_', ' ')}")
    print(f"{total:6.1f} CPU seconds, {elapsed:.1f} s in all with {args.threads} threads")


if __name__ == "__main__":
    main()
