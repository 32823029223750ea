"""The one seam between the code and the device that it runs on."""

import ctypes
import sys
import warnings
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from introvae.errors import UserError
from introvae.training.distributed import local_rank

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def find_device(name: str) -> torch.device:
    """Return the device called `name`.

    "auto" is CUDA, else MPS, else the CPU; "cuda" under torchrun is the process's own device.

    Raises:
        UserError: If the device is not known, or not on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps"):
        raise UserError(f"--device {name} is not known; it takes auto, cpu, cuda, cuda:N or mps")
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", local_rank())
    there = {
        "cpu": True,
        "cuda": (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there[device.type]:
        raise UserError(f"--device {name} is not on this machine; --device auto takes what there is")
    return device


def tune_process(device: torch.device) -> None:
    """Set this process up for training on the device: a matter of commands and workers, never of the library.

    On CUDA dense layers use TF32, as convolutions do by default. On a CPU with glibc, memory that a step frees is kept
    for the next one: by default large blocks return to the system at once, and each step's activations are faulted in
    page by page again.
    """
    if device.type == "cuda":
        torch.backends.cuda.matmul.fp32_precision = "tf32"
    if device.type == "cpu" and sys.platform == "linux" and hasattr(glibc := ctypes.CDLL(None), "mallopt"):
        glibc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        glibc.mallopt(M_MMAP_THRESHOLD, 2**25)  # the largest that glibc accepts


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Compute networks in bfloat16 if precision is "bf16"; parameters, losses and optimizers stay in float32.

    Cast weights are not cached: the decoder's update must see the encoder that was just updated.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)


def adam(network: nn.Module, lr: float) -> torch.optim.Adam:
    """Return Adam with PyTorch's defaults, as the paper's authors run it; fused wherever there is real memory."""
    kind = next(network.parameters()).device.type
    return torch.optim.Adam(network.parameters(), lr, fused=kind != "meta", capturable=kind == "cuda")


def compile_networks(networks: Iterable[nn.Module], backend: str | Callable[..., Any] = "inductor") -> None:
    """Compile each network on its first call; the losses around them stay as they are, so that weights may change."""
    torch._functorch.config.donated_buffer = False  # the decoder's graph on z is backpropagated twice
    warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")  # PyTorch's own, on z
    for network in networks:
        network.compile(backend=backend)
