"""Several processes, one device each, train one model on one global batch (started by torchrun).

Every process holds both networks and computes its slice of the global batch. Without torchrun there is one process,
and every function here leaves its argument as it is.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from introvae.errors import UserError


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun started: NCCL between CUDA devices, Gloo between CPUs."""
    if "WORLD_SIZE" not in os.environ:
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def share(batch: Tensor) -> Tensor:
    """This process's slice of a global batch (N, ...), N a multiple of the number of processes."""
    return batch.chunk(world_size())[rank()]


def average_gradients(network: nn.Module) -> None:
    """The gradients of the global batch's mean, by one all-reduce of all of them in a row."""
    if world_size() == 1:
        return
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    flat = torch.cat([grad.flatten() for grad in grads])
    dist.all_reduce(flat)
    flat /= world_size()
    torch._foreach_copy_(grads, [part.view_as(g) for part, g in zip(flat.split([g.numel() for g in grads]), grads)])


def global_mean(values: Tensor) -> Tensor:
    """The mean over the global batch, a scalar; its gradient is that of this process's part, to be averaged."""
    mean = values.mean()
    if world_size() == 1:
        return mean
    total = mean.detach().clone()
    dist.all_reduce(total)
    return mean + (total / world_size() - mean.detach())
