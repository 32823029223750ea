"""The one seam between the code and the device it runs on."""

import re
from contextlib import AbstractContextManager

import torch
from torch import nn

from introvae.errors import UserError


def choose_device(name: str) -> torch.device:
    """ "auto" takes CUDA, then MPS, then the CPU. Raises UserError if the device named is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps"):
        raise UserError(f"--device {name} is not known; it takes auto, cpu, cuda, cuda:N or mps")
    there = {
        "cpu": True,
        "cuda": (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there[device.type]:
        raise UserError(f"--device {name} is not on this machine; --device auto takes what there is")
    return device


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator refused: PyTorch's, Python's, or one of a library's whose message says so."""
    words = r"out of memory|can't allocate memory|ALLOC_FAILED|could not create a primitive$"
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or bool(re.search(words, str(error)))


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """bfloat16 in the networks if precision is "bf16"; parameters, losses and optimiser stay in float32.

    Without the cache of cast weights: the decoder's update must see the encoder that was just updated.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)


def adam(network: nn.Module, lr: float) -> torch.optim.Adam:
    """Adam with PyTorch's defaults, as the paper's authors run it; fused wherever there is real memory."""
    fused = next(network.parameters()).device.type != "meta"
    return torch.optim.Adam(network.parameters(), lr, fused=fused)
