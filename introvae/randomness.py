"""Every random draw is a function of (seed, stream, step): nothing to save, and a resumed run draws the same."""

import numpy as np
import torch
from torch import Tensor

STREAMS = (
    "weights",
    "order",
    "mirror",
    "posterior",
    "prior",
    "pictures",
    "split",
    "trial",
    "sampler",
    "score",
    "fakes",
    "samples",
    "pairs",
    "information",
    "distance",
)


def derive(seed: int, stream: str, index: int = 0) -> int:
    """A 63-bit seed for one named stream of draws at one index (a step, an epoch or a slot)."""
    entropy = np.random.SeedSequence((seed, STREAMS.index(stream), index))
    return int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(seed: int, stream: str, index: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(derive(seed, stream, index))


def normal(
    shape: tuple[int, ...], seed: int, stream: str, index: int = 0, device: torch.device | str = "cpu"
) -> Tensor:
    """Standard normal noise, the same for the same arguments on one kind of device."""
    return torch.randn(shape, generator=generator(seed, stream, index, device), device=device)
