"""Random draws as a function of (seed, stream, index): nothing to save, and a resumed run draws the same."""

import numpy as np
import torch
from torch import Tensor

STREAMS = (  # a name's position is part of its seeds, so new ones go to the end
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
    "statistics",
)


def derive(seed: int, stream: str, index: int = 0) -> int:
    """Derive a 63-bit seed for one of STREAMS at one index, such as a step, an epoch or a trial of a study."""
    entropy = np.random.SeedSequence((seed, STREAMS.index(stream), index))
    return int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(seed: int, stream: str, index: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator on a device with a seed from `derive`."""
    return torch.Generator(device).manual_seed(derive(seed, stream, index))


def normal(
    shape: tuple[int, ...], seed: int, stream: str, index: int = 0, device: torch.device | str = "cpu"
) -> Tensor:
    """Draw standard normal noise, the same for the same arguments on one kind of device."""
    return torch.randn(shape, generator=generator(seed, stream, index, device), device=device)
