"""The group norm equals PyTorch's, and is used where it is faster."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from introvae.nn.group_norm import LARGE, GroupNorm

SIDE = int(LARGE**0.5)


def kind(result: Tensor) -> str:
    return type(result.grad_fn).__name__


@pytest.mark.parametrize(("channels", "groups"), [(8, 8), (12, 4), (6, 1)])
def test_group_norm_of_large_maps_equals_pytorch(channels: int, groups: int) -> None:
    torch.manual_seed(0)
    norm = GroupNorm(groups, channels).double()
    torch.nn.init.normal_(norm.weight)
    x = 3 + 2 * torch.randn(3, channels, SIDE, SIDE + 1).double().contiguous(memory_format=torch.channels_last)
    results = []
    for call in (norm, lambda x: F.group_norm(x, groups, norm.weight, norm.bias)):
        leaf = x.clone().requires_grad_()
        y = call(leaf)
        inputs = (leaf, norm.weight, norm.bias)
        results.append((y, *torch.autograd.grad((y * torch.cos(7 * y)).sum(), inputs)))
    assert kind(results[0][0]) == "_ChannelsLastBackward"
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    assert results[0][0].is_contiguous(memory_format=torch.channels_last)
    assert results[0][1].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [(2, 8, SIDE - 1, SIDE), (2, 8, SIDE, SIDE)])
def test_small_maps_and_other_layouts_are_left_to_pytorch(size: tuple[int, ...]) -> None:
    y = GroupNorm(4, 8)(torch.rand(size, requires_grad=True))
    assert kind(y) == "NativeGroupNormBackward0"
