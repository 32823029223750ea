"""Speed of a worker for each core against one worker with all cores: ratio of adversarial steps a second.

    python benchmarks/speed/workers.py [--image-size 32] [--steps 30] [--rounds 5]

Rounds are interleaved. All processes of a side begin a round together, and the slowest of them ends it, so that time
spent waiting for each other counts. Networks are the default ones, with batches of 16.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from introvae.config import TrainConfig
from introvae.data.image_set import load_images
from introvae.training.trainer import Trainer


def work(threads: int, size: int, pipe: Connection) -> None:
    """Train as many more steps as the pipe asks for, again and again, and tell when they are done."""
    torch.set_num_threads(threads)
    images = load_images("orl-faces", size, 1)
    config = TrainConfig(image_size=size, channels=1, warmup_steps=0, steps=10**6, log_every=10**6,
                         checkpoint_every=10**6, picture_every=10**6)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, images, Path(folder), torch.device("cpu"))
        trainer.log = None  # nothing is to be written
        trainer.run(3)
        pipe.send(None)
        while steps := pipe.recv():
            trainer.run(trainer.step + steps)
            pipe.send(None)


class Side:
    """Processes that train at once."""

    def __init__(self, processes: int, threads: int, size: int) -> None:
        self.processes = processes
        context = multiprocessing.get_context("spawn")
        self.pipes = []
        for _ in range(processes):
            ours, theirs = context.Pipe()
            context.Process(target=work, args=(threads, size, theirs), daemon=True).start()
            self.pipes.append(ours)
        self._wait()

    def _wait(self) -> None:
        for pipe in self.pipes:
            pipe.recv()

    def speed(self, steps: int) -> float:
        """Return the steps a second of all processes."""
        start = time.perf_counter()
        for pipe in self.pipes:
            pipe.send(steps)
        self._wait()
        return self.processes * steps / (time.perf_counter() - start)

    def end(self) -> None:
        for pipe in self.pipes:
            pipe.send(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image-size", type=int, default=32, metavar="N", help="pixels [32]")
    parser.add_argument("--steps", type=int, default=30, metavar="N", help="steps of each process in a round [30]")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds [5]")
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    sides = [Side(cores, 1, args.image_size), Side(1, cores, args.image_size)]
    rounds = [[side.speed(args.steps) for side in sides] for _ in range(args.rounds)]
    for side in sides:
        side.end()
    ratios = [many / one for many, one in rounds]
    print(f"{cores} workers with a thread each against one with {cores} threads: {statistics.median(ratios):.2f}x the "
          f"steps a second (median of {args.rounds} rounds, {min(ratios):.2f} to {max(ratios):.2f})")  # fmt: skip


if __name__ == "__main__":
    main()
