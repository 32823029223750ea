"""Two processes that train one model on slices of the same batches."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
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


def work(rank: int, folder: Path, jobs: list[tuple[Callable[..., Any], tuple[Any, ...]]]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=PROCESSES)
    results = [job(*arguments) for job, arguments in jobs]
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()
    threads = [(thread / "comm").read_text() for thread in Path("/proc/self/task").iterdir()]
    (folder / f"{rank}.threads").write_text("".join(threads))
