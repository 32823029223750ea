"""What to say when memory does not suffice."""

import re

import torch

from introvae import networks
from introvae.config import TrainConfig


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator refused: PyTorch's, Python's, or one of a library's whose message says so."""
    words = r"out of memory|can't allocate memory|ALLOC_FAILED|could not create a primitive$"
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or bool(re.search(words, str(error)))


def networks_need(config: TrainConfig) -> str:
    """What the networks take in training before any image, in words, and what to do about it."""
    with torch.device("meta"):
        model = networks.build(config)
    numbers = sum(parameter.numel() for parameter in model.parameters())
    return (
        f"the networks, their gradients and Adam's state alone take {16 * numbers / 2**30:.3g} GiB; "
        "halving --widths takes that to about a quarter"
    )
