"""Training steps replayed as CUDA graphs: launching the kernels of small networks one by one takes longest."""

import threading

import torch
from torch import Tensor

from introvae.nn.networks import IntroVAE
from introvae.training.schedule import Weights
from introvae.training.step import Noise, Optimizers, Terms, train_step

_RECORDING = threading.Lock()  # other runs of this process may train in other threads, but one records at a time
EAGER = 3  # steps in a row with the same weights before their graph is recorded: a schedule's last one step each


class GraphedStep:
    """`train_step` for one model and batch size on a CUDA device, recorded once and then replayed.

    A graph is recorded for each set of weights that lasts. The terms that a call returns are overwritten by the next
    call with the same weights.

    Args:
        model: The two networks, which are not compiled.
        optimizers: Their optimizers, which can be captured.
    """

    def __init__(self, model: IntroVAE, optimizers: Optimizers) -> None:
        self.model, self.optimizers = model, optimizers
        self._last: Weights | None = None
        self._in_a_row = 0
        self._recorded: dict[Weights, tuple[torch.cuda.CUDAGraph, list[Tensor], Terms]] = {}

    def __call__(self, x: Tensor, noise: Noise, w: Weights) -> Terms:
        """Update both networks once, as `train_step` does."""
        inputs = [tensor for tensor in (x, *noise) if tensor is not None]
        if w not in self._recorded:
            self._in_a_row = self._in_a_row + 1 if w == self._last else 1
            self._last = w
            if self._in_a_row <= EAGER:
                return train_step(self.model, self.optimizers, x, noise, w)
            own = [tensor.clone() for tensor in inputs]
            images, *draws = own
            graph = torch.cuda.CUDAGraph()
            with _RECORDING, torch.cuda.graph(graph, capture_error_mode="thread_local"):
                terms = train_step(self.model, self.optimizers, images, Noise(*draws), w)
            self._recorded[w] = graph, own, terms
        graph, own, terms = self._recorded[w]
        torch._foreach_copy_(own, inputs)
        graph.replay()
        return terms
