"""Two processes that train one model on slices of the same batches: a script for test_distributed.py.

    python processes.py FOLDER

The processes are forked from this one, which has done the slow imports. Each leaves its results and the names of the
threads that it ended with in FOLDER.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from steps import INTROVAE, SOFT, VAE, draws, make
from torch import Tensor

from introvae.training.distributed import share
from introvae.training.schedule import Weights
from introvae.training.step import Noise, train_step

PROCESSES = 2
CASES = {
    "group": ("group", INTROVAE),
    "none": ("none", INTROVAE),
    "batch hinge": ("group", replace(INTROVAE, hinge="batch", m=2.5)),
    "soft": ("group", SOFT),
    "vae": ("none", VAE),
}


def train(norm: str, weights: Weights, steps: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Train on this process's slices of the batches that `draws` gives, and return the state."""
    model, optimizers = make(norm, dtype)
    for step in range(steps):
        x, noise = draws(step, dtype)
        assert noise.prior is not None and noise.fakes is not None
        fakes = share(noise.fakes.transpose(0, 1)).transpose(0, 1)
        train_step(model, optimizers, share(x), Noise(share(noise.posterior), share(noise.prior), fakes), weights)
    return model.state_dict()


def first_gradients(norm: str, weights: Weights) -> dict[str, Tensor]:
    """Return the gradients of one step in float32; Adam's first moment keeps a tenth of them."""
    model, optimizers = make(norm, torch.float32)
    x, noise = draws(0, torch.float32)
    assert noise.prior is not None
    train_step(model, optimizers, share(x), Noise(share(noise.posterior), share(noise.prior)), weights)
    networks = zip(optimizers, model.children(), strict=True)
    return {
        f"{index}.{name}": 10 * optimizer.state[p]["exp_avg"]
        for index, (optimizer, network) in enumerate(networks)
        for name, p in network.named_parameters()
    }


JOBS: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    *((train, (norm, weights, 20, torch.float64)) for norm, weights in CASES.values()),
    *((first_gradients, (norm, INTROVAE)) for norm in ("group", "none")),
]


def work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=PROCESSES)
    results = [job(*arguments) for job, arguments in JOBS]
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()
    threads = [(thread / "comm").read_text() for thread in Path("/proc/self/task").iterdir()]
    (folder / f"{rank}.threads").write_text("".join(threads))


if __name__ == "__main__":
    import torch._dynamo  # which Adam imports, here once

    mp.start_processes(work, (Path(sys.argv[1]),), PROCESSES, start_method="fork")
