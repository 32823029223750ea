"""Ways to a faster training step that were tried, each against the step as it is.

    python benchmarks/speed/attempts.py [--image-size 64] [--latent 128] [--channels 3] [--processes 5]

All take the same update in residual networks with group norm, in float32 on a CPU (OMP_NUM_THREADS sets its threads):

- norm and activation: both in one autograd function with one backward pass;
- sums in place: the residual sum takes the memory of the branch;
- folded upsampling: the 3x3 convolution of an enlarged map as four 2x2 convolutions of the small one, whose results
  are interleaved, for less than half of its multiplications.

Each has several processes, as those of `benchmarks/speed/step.py`, and ratios are meant as there.
"""

import argparse
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import torch
from step import Contender, ratio, seconds_of_steps, started
from torch import Tensor, nn
from torch.nn import functional as F

from introvae.config import TrainConfig
from introvae.nn.blocks import LEAK, Block
from introvae.nn.group_norm import GroupNorm, _ChannelsLast
from introvae.nn.networks import IntroVAE
from introvae.training.step import train_step

PHASES = torch.tensor([[[1.0, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]])  # of 2: taps of 2 from taps of 3


class _NormAndActivation(torch.autograd.Function):
    """Group norm, then leaky ReLU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        n, c, h, w = x.shape
        y, mean, rate = torch.native_group_norm(x, weight, bias, n, c, h * w, groups, eps)
        F.leaky_relu(y, LEAK, inplace=True)
        ctx.save_for_backward(x, weight, mean, rate, y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *saved, y = ctx.saved_tensors
        own = SimpleNamespace(saved_tensors=saved, needs_input_grad=ctx.needs_input_grad)
        return _ChannelsLast.backward(own, torch.ops.aten.leaky_relu_backward(grad, y, LEAK, True))


class _FoldedUpsampling(torch.autograd.Function):
    """3x3 convolution, without a bias, of a map in channels_last layout that is enlarged to twice its size."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        n, c, h, w = x.shape
        o, taps = len(weight), PHASES.to(weight)
        small = torch.einsum("pak,qbl,oikl->pqoiab", taps, taps, weight).reshape(4 * o, c, 2, 2)
        small = small.contiguous(memory_format=torch.channels_last)
        y = F.conv2d(x, small, padding=1).permute(0, 2, 3, 1)
        out = x.new_empty(n, h, 2, w, 2, o)
        for phase, (row, column) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
            out[:, :, row, :, column] = y[:, row : row + h, column : column + w, phase * o : (phase + 1) * o]
        ctx.save_for_backward(x, small)
        return out.view(n, 2 * h, 2 * w, o).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, small = ctx.saved_tensors
        n, c, h, w = x.shape
        o, taps = len(small) // 4, PHASES.to(small)
        grads = grad.permute(0, 2, 3, 1).reshape(n, h, 2, w, 2, o)
        grad_y = x.new_zeros(n, h + 1, w + 1, 4 * o)
        for phase, (row, column) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
            part = grads[:, :, row, :, column]
            grad_y[:, row : row + h, column : column + w, phase * o : (phase + 1) * o] = part
        wanted = [*ctx.needs_input_grad, False]
        grad_x, grad_small, _ = torch.ops.aten.convolution_backward(
            grad_y.permute(0, 3, 1, 2), x, small, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, wanted
        )
        if grad_small is not None:
            grad_small = torch.einsum("pak,qbl,pqoiab->oikl", taps, taps, grad_small.reshape(2, 2, o, c, 2, 2))
        return grad_x, grad_small


class _NormActivationBlock(Block):
    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm1
        assert isinstance(norm, GroupNorm)
        y = _NormAndActivation.apply(self.conv1(x), norm.weight, norm.bias, norm.num_groups, norm.eps)
        return F.leaky_relu(self.norm2(self.conv2(y)) + self.widen(x), LEAK, inplace=True)


class _InPlaceBlock(Block):
    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.norm1(self.conv1(x)), LEAK, inplace=True)
        return F.leaky_relu(self.norm2(self.conv2(y)).add_(self.widen(x)), LEAK, inplace=True)


class _FoldedBlock(Block):
    def forward(self, x: Tensor) -> Tensor:
        skip = F.interpolate(self.widen(x), scale_factor=2)
        y = F.leaky_relu(self.norm1(_FoldedUpsampling.apply(x, self.conv1.weight)), LEAK, inplace=True)
        return F.leaky_relu(self.norm2(self.conv2(y)) + skip, LEAK, inplace=True)


def norm_and_activation(model: IntroVAE) -> None:
    _turn(model, _NormActivationBlock)


def sums_in_place(model: IntroVAE) -> None:
    _turn(model, _InPlaceBlock)


def folded_upsampling(model: IntroVAE) -> None:
    segments = [layer for layer in model.decoder.features if isinstance(layer, nn.Sequential)]
    for before, after in pairwise(segments):
        del before[-1]
        _turn(after, _FoldedBlock)


def _turn(network: nn.Module, kind: type[Block]) -> None:
    for module in network.modules():
        if isinstance(module, Block):
            module.__class__ = kind


CONTENDERS = (
    Contender("as it is", train_step),
    Contender("norm and activation", train_step, change=norm_and_activation),
    Contender("sums in place", train_step, change=sums_in_place),
    Contender("folded upsampling", train_step, change=folded_upsampling),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--latent", type=int, default=128)
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--processes", type=int, default=5, help="processes of each attempt")
    parser.add_argument("--rounds", type=int, default=8, help="steps of each process")
    arguments = vars(parser.parse_args())
    processes, rounds, widths = (arguments.pop(name) for name in ("processes", "rounds", "widths"))
    config = TrainConfig(widths=tuple(widths), **arguments)
    lines = started(CONTENDERS * processes, config, torch.device("cpu"))
    seconds = seconds_of_steps(lines, rounds, steps=1).view(processes, len(CONTENDERS))
    print(f"{torch.get_num_threads()} threads, {config.image_size} px, {processes} processes, {rounds} rounds")
    for contender, own in zip(CONTENDERS, seconds.T, strict=True):
        print(f"{contender.name:20} {1000 * own.mean():7.1f} ms, faster by {ratio(seconds[:, 0], own)}")
    for line in lines:
        line.send(None)


if __name__ == "__main__":
    main()
