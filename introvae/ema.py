"""An exponential moving average of a model's weights, for evaluation and pictures."""

import copy

import torch
from torch import Tensor

from introvae.networks import IntroVAE


class MovingAverage:
    """The average of parameters and buffers; `decay` in (0, 1) is reached slowly, so that early weights are forgotten.

    At update t, counted from 0, the decay is min(decay, (1 + t) / (10 + t)).
    """

    def __init__(self, model: IntroVAE, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._own = _tensors(self.model)
        self._averaged = _tensors(model)

    def update(self, t: int) -> None:
        """Move towards the model that was given at the start, as it is now."""
        weight = 1 - min(self.decay, (1 + t) / (10 + t))
        torch._foreach_lerp_(self._own, self._averaged, weight)


def _tensors(model: IntroVAE) -> list[Tensor]:
    """Every parameter and buffer but batch norm's counters, which evaluation does not look at."""
    return [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
