"""Batch normalization with statistics for each kind of image, measured once the weights are as they will be evaluated.

In training, real images, reconstructions and samples go through the networks in batches of their own, each normalized
by its own mean and variance. A network that normalizes all of them by one set of statistics has never been trained. So
evaluation has a set for each kind. None is tracked while training: the statistics of a moving average of weights follow
from these weights only, not from statistics of the weights that it averages.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Kind = Literal["real", "reconstruction", "sample"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class BatchNorm(nn.Module):
    """Batch normalization of maps (N, C, H, W); in training it is nn.BatchNorm2d without running statistics.

    Args:
        channels: Number of channels, C.

    Attributes:
        mean: Means in evaluation, (3, C), a row for each of KINDS; decoders leave that of real images unused.
        variance: Their variances, (3, C).
        row: The row that evaluation, or a measurement, is about.
        batch: Number of the batch, from 1, that is being measured; 0 in training.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(len(KINDS), channels))
        self.register_buffer("variance", torch.ones(len(KINDS), channels))
        self.row = self.batch = 0

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not self.batch:
            return F.batch_norm(x, None, None, self.weight, self.bias, training=True)
        mean, variance = self.mean[self.row], self.variance[self.row]
        share = 1 / self.batch if self.batch else 0.0  # for the mean over all batches so far
        return F.batch_norm(x, mean, variance, self.weight, self.bias, self.training, share)


def choose_statistics(network: nn.Module, kind: Kind) -> None:
    """Let evaluation normalize images of one kind: those that an encoder is given, or that a decoder makes."""
    for norm in batch_norms(network):
        norm.row = KINDS.index(kind)


@contextmanager
def measuring(network: nn.Module, kind: Kind, batch: int) -> Iterator[None]:
    """Make a pass in training mode count: statistics of this kind become the mean of the first `batch` batches'."""
    choose_statistics(network, kind)
    norms, training = batch_norms(network), network.training
    network.train()
    for norm in norms:
        norm.batch = batch
    try:
        yield
    finally:
        network.train(training)
        for norm in norms:
            norm.batch = 0


def batch_norms(network: nn.Module) -> list[BatchNorm]:
    """Return a network's batch normalizations."""
    return [module for module in network.modules() if isinstance(module, BatchNorm)]
