"""Normalization after convolutions, with a group norm whose backward pass is fast on CPUs in channels_last layout."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from introvae.nn.batch_norm import BatchNorm

LARGE = 1024  # pixels; from here on PyTorch's backward pass in this layout takes several times as long as ours


def normalization(kind: str, channels: int) -> nn.Module:
    """Return the normalization called `kind`: "group" (up to 8 groups), "batch" or "none"."""
    if kind == "group":
        return GroupNorm(math.gcd(8, channels), channels)
    return BatchNorm(channels) if kind == "batch" else nn.Identity()


class GroupNorm(nn.GroupNorm):
    """nn.GroupNorm with its own backward pass for large maps (N, C, H, W) on a CPU in channels_last layout."""

    def forward(self, x: Tensor) -> Tensor:
        large = x.shape[2] * x.shape[3] >= LARGE and x.is_contiguous(memory_format=torch.channels_last)
        if large and x.device.type == "cpu" and x.dtype == self.weight.dtype:
            return _ChannelsLast.apply(x, self.weight, self.bias, self.num_groups, self.eps)
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class _ChannelsLast(torch.autograd.Function):
    """Group norm of maps in channels_last layout.

    With x' = (x - mean) / deviation over a group of D numbers and y = w x' + v,
    dL/dx = (w dL/dy - mean(w dL/dy) - x' mean(w dL/dy x')) / deviation,
    which is a x + b dL/dy + c with one a, b and c for each image and channel.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        n, c, h, w = x.shape
        y, mean, rate = torch.native_group_norm(x, weight, bias, n, c, h * w, groups, eps)
        ctx.save_for_backward(x, weight, mean, rate)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, rate = ctx.saved_tensors  # rate is 1 / deviation; both (N, groups)
        n, c, h, w = x.shape
        groups = mean.shape[1]
        rows, grads = (t.permute(0, 2, 3, 1).reshape(n, h * w, c) for t in (x, grad))
        grad_x = grads * rows  # reused for the result, as it is in the CPU's cache
        sums, products = grads.sum(1), grad_x.sum(1)  # (N, C), over pixels

        def over_group(values: Tensor) -> Tensor:
            return (weight * values).view(n, groups, -1).sum(2)

        def of_channel(values: Tensor) -> Tensor:
            return values.repeat_interleave(c // groups, 1)

        of_x = -(over_group(products) - mean * over_group(sums)) * rate**3 / (h * w * c // groups)
        constant = -of_x * mean - over_group(sums) * rate / (h * w * c // groups)
        torch.addcmul(of_channel(constant)[:, None], rows, of_channel(of_x)[:, None], out=grad_x)
        grad_x.addcmul_(grads, (weight * of_channel(rate))[:, None])
        grad_weight = grad_bias = None
        if ctx.needs_input_grad[1]:
            grad_weight = ((products - of_channel(mean) * sums) * of_channel(rate)).sum(0)
            grad_bias = sums.sum(0)
        return grad_x.view(n, h, w, c).permute(0, 3, 1, 2), grad_weight, grad_bias, None, None
