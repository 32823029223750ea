"""Distributed training: processes that torchrun started, one device each, train one model on one global batch.

Every process holds both networks and computes its slice of the global batch. Without torchrun there is one process,
and every function here leaves its argument as it is.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

# Imported after a group began, its default arguments keep that group for ever: Gloo's threads then outlive it, and one
# that lets go of a tensor while Python shuts down aborts the process.
import torch.distributed.nn.functional
from torch import Tensor, nn


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


def local_rank() -> int:
    """Return the number of this process among those of this machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Tell whether this process is the one that writes and prints."""
    return not dist.is_initialized() or dist.get_rank() == 0


@contextmanager
def first_alone() -> Iterator[None]:
    """Let the first process go through before the others, which then find what it wrote or repaired."""
    if not is_first():
        dist.barrier()
    yield
    if is_first() and dist.is_initialized():
        dist.barrier()


def share(batch: Tensor) -> Tensor:
    """Return this process's slice of a global batch (N, ...), N a multiple of the number of processes."""
    return batch.chunk(world_size())[dist.get_rank()] if dist.is_initialized() else batch


def gather(rows: Tensor) -> Tensor:
    """Return the rows (N, k) of all processes in their order, (world size x N, k)."""
    if not dist.is_initialized():
        return rows
    parts = [torch.empty_like(rows) for _ in range(world_size())]
    dist.all_gather(parts, rows)
    return torch.cat(parts)


def average_gradients(network: nn.Module) -> None:
    """Replace gradients by those of the global batch's mean, with one all-reduce of all of them."""
    if not dist.is_initialized():
        return
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    flat = torch.cat([grad.flatten() for grad in grads])
    dist.all_reduce(flat)
    parts = (flat / world_size()).split([grad.numel() for grad in grads])
    for grad, part in zip(grads, parts, strict=True):
        grad.copy_(part.view_as(grad))


def global_mean(values: Tensor) -> Tensor:
    """Return the mean over the global batch, a scalar; its gradient is that of this process's slice, to be averaged."""
    mean = values.mean()
    if not dist.is_initialized():
        return mean
    total = mean.detach().clone()
    dist.all_reduce(total)
    return mean + (total / world_size() - mean.detach())
