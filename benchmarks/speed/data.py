"""Share of a training step's time that its data take, for images on the device and images in a file.

    python benchmarks/speed/data.py [--device NAME] [--steps N]

The default settings (ORL faces, 32 px) are trained in the warm-up, whose steps are the shortest. Each call for a batch
is timed, with the device idle before and after it. The streamed set is the same faces, written 320 times into a
memory-mapped file.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from introvae.commands.options import DEVICE_HELP
from introvae.config import TrainConfig
from introvae.data.batches import Batches
from introvae.data.image_set import ImageSet, load_images
from introvae.data.pixel_cache import ImageRows, Images
from introvae.training.device import find_device, tune_process
from introvae.training.trainer import Trainer

WARM = 20  # steps before the clock starts
COPIES = 320


class TimedBatches(Batches):
    """Batches that sum the seconds of their calls."""

    seconds = 0.0

    def __init__(self, images: Images, config: TrainConfig, device: torch.device) -> None:
        super().__init__(images, config.batch_size, config.mirror, device)
        self.device = device

    def __call__(self, seed: int, step: int) -> Tensor:
        self._wait()
        start = time.perf_counter()
        x = super().__call__(seed, step)
        self._wait()
        self.seconds += time.perf_counter() - start
        return x

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def measure(images: ImageSet, steps: int, device: torch.device, folder: Path) -> tuple[float, float]:
    """Return the milliseconds of a step, and how many of them its data take."""
    last = WARM + steps
    config = TrainConfig(
        channels=images.channels, steps=last, warmup_steps=last, log_every=last, checkpoint_every=last,
        picture_every=last,
    )  # fmt: skip
    trainer = Trainer(config, images, folder, device)
    trainer.batches = batches = TimedBatches(images.train, config, device)
    trainer.run(until=WARM)
    batches.seconds = 0.0
    speeds: list[float] = []
    trainer.run(on_log=lambda row: speeds.append(row["images_per_second"]))
    return config.batch_size / speeds[-1] * 1000, batches.seconds / steps * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help=f"{DEVICE_HELP} [auto]")
    parser.add_argument("--steps", type=int, default=200, help="steps to time [200]")
    args = parser.parse_args()
    device = find_device(args.device)
    tune_process(device)
    resident = load_images("orl-faces", 32)
    faces = resident.train[:].numpy()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "faces.u8").open("wb") as file:
            for _ in range(COPIES):
                file.write(faces.tobytes())
        pixels = np.memmap(folder / "faces.u8", np.uint8, "r", shape=(COPIES * len(faces), *faces.shape[1:]))
        streamed = replace(resident, train=ImageRows(pixels))
        for kind, images in (("on the device", resident.to(device)), ("streamed", streamed)):
            step, data = measure(images, args.steps, device, folder / kind)
            print(f"{kind}: {step:.2f} ms a step, {data:.3f} ms of it for data ({data / step:.2%})")


if __name__ == "__main__":
    main()
