"""Trials that several processes train together: torchrun inside a task, and what each of its processes does."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import torch
import torch.distributed as dist

from introvae.config import TrainConfig
from introvae.data.image_set import load_images
from introvae.errors import DivergedError
from introvae.training.device import find_device, tune_process
from introvae.training.distributed import is_first, process_group
from introvae.training.trainer import Trainer
from sweeps.plan import Plan
from sweeps.tasks.fence import Fence, Superseded

DIVERGED = "diverged: "


def train_together(plan: Plan, until: int, attempt: str, device: str, processes: int) -> None:
    """Train a run to a step by `processes` processes, which leave a checkpoint there, or where they are told to stop.

    Raises:
        DivergedError: If the run diverges.
        RuntimeError: If a process fails otherwise.
    """
    words = [json.dumps(plan.config.to_dict()), plan.folder, plan.warmup or "", until, attempt, device]
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m", __name__]
    reader, writer = os.pipe()  # which closes once this process is gone
    try:
        command = [sys.executable, "-m", *torchrun, *map(str, words)]
        done = subprocess.run(
            command, stdin=reader, capture_output=True, text=True, start_new_session=True,  # no Ctrl-C
            env=os.environ | {"PYTHONSAFEPATH": "1"},  # or a folder "sweeps" here would stand for ours
        )  # fmt: skip
    finally:
        os.close(reader)
        os.close(writer)
    for line in done.stdout.splitlines():
        if line.startswith(DIVERGED):
            raise DivergedError(line.removeprefix(DIVERGED))
    if done.returncode:
        raise RuntimeError(f"{processes} processes that train together failed: {done.stderr[-400:]}")


def main(config: str, folder: str, warmup: str, until: str, attempt: str, device_name: str) -> None:
    """Train as one of the processes."""
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    settings, fence = TrainConfig.from_dict(json.loads(config)), Fence(Path(folder), attempt)
    device = find_device(device_name)
    tune_process(device)

    def stop() -> bool:
        """Tell whether all are to stop, as the first process sees it."""
        told = torch.zeros(1, device=device)
        if is_first():
            try:
                told += fence()
            except Superseded:
                told += 2
        dist.broadcast(told, 0)
        if told > 1:
            raise Superseded
        return bool(told)

    images = load_images(**settings.images)
    with process_group(device):
        try:
            Trainer(settings, images, folder, device, Path(warmup) if warmup else None).run(int(until), stop=stop)
        except DivergedError as error:
            if is_first():
                print(f"{DIVERGED}{error}", flush=True)
        except Superseded:
            pass


if __name__ == "__main__":
    main(*sys.argv[1:])
