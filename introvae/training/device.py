"""The one seam between the code and the device it runs on."""

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


def choose_device(name: str) -> torch.device:
    """ "auto" takes CUDA, then MPS, then the CPU; "cuda" under torchrun is the process's own device.

    Raises UserError if the device named is not there.
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
    if device.type == "cpu":
        keep_freed_memory()
    if device.type == "cuda":  # convolutions use TF32 by default, dense layers do not
        torch.backends.cuda.matmul.fp32_precision = "tf32"
    return device


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """bfloat16 in the networks if precision is "bf16"; parameters, losses and optimiser stay in float32.

    Without the cache of cast weights: the decoder's update must see the encoder that was just updated.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)


def adam(network: nn.Module, lr: float) -> torch.optim.Adam:
    """Adam with PyTorch's defaults, as the paper's authors run it; fused wherever there is real memory."""
    fused = next(network.parameters()).device.type != "meta"
    return torch.optim.Adam(network.parameters(), lr, fused=fused)


def compile_networks(networks: Iterable[nn.Module], backend: str | Callable[..., Any] = "inductor") -> None:
    """Compile each network on its first call; the losses around them stay as they are, so weights may change."""
    torch._functorch.config.donated_buffer = False  # the decoder's graph on z is backpropagated twice
    warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")  # PyTorch's own, on z
    for network in networks:
        network.compile(backend=backend)


def keep_freed_memory() -> None:
    """Let the C library keep the memory that a step frees for the next one.

    By default it returns large blocks to the system at once, and each step's activations are faulted in page by page
    again. Elsewhere than on Linux's glibc nothing changes.
    """
    if glibc := _glibc():
        glibc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        glibc.mallopt(M_MMAP_THRESHOLD, 2**25)  # the largest that glibc accepts


def release_freed_memory(device: torch.device) -> None:
    """Give back what PyTorch or the C library keeps of freed memory, once there is none left."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    if glibc := _glibc():
        glibc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "mallopt") else None
