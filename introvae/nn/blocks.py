"""What the residual networks are made of: the three residual blocks, and segments that save memory."""

from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from introvae.config import TrainConfig
from introvae.nn.group_norm import normalisation

LEAK = 0.2


class Block(nn.Module):
    """Two 3x3 convolutions, each with a norm, added to the input; leaky ReLU in between and at the end.

    Where the widths differ a 1x1 convolution changes them. `family` says where it and the second norm stand:

    - "residual": the 1x1 convolution on the way past, the norm before the sum, which leaves a clean identity path;
    - "official": the same, the norm after the sum, as in the authors' code;
    - "paper": 1x1, 3x3, 3x3 in a row, the sum over the 3x3 convolutions only, as the paper's table lists them.

    Activations work in place: neither a norm's nor a convolution's gradient needs its own output.
    """

    def __init__(self, inputs: int, outputs: int, norm: str, family: str) -> None:
        super().__init__()
        bias = norm == "none"  # a norm's own shift makes a bias before it redundant
        self.family = family
        self.widen: nn.Module = nn.Identity()
        if inputs != outputs:
            in_a_row = family == "paper"
            self.widen = nn.Conv2d(inputs, outputs, 1, bias=bias and in_a_row)
            if in_a_row:
                self.widen = nn.Sequential(self.widen, normalisation(norm, outputs), nn.LeakyReLU(LEAK, inplace=True))
        self.conv1 = nn.Conv2d(outputs if family == "paper" else inputs, outputs, 3, padding=1, bias=bias)
        self.norm1 = normalisation(norm, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=bias)
        self.norm2 = normalisation(norm, outputs)

    def forward(self, x: Tensor) -> Tensor:
        past = self.widen(x)
        y = F.leaky_relu(self.norm1(self.conv1(past if self.family == "paper" else x)), LEAK, inplace=True)
        y = self.conv2(y)
        y = self.norm2(y + past) if self.family == "official" else self.norm2(y) + past
        return F.leaky_relu(y, LEAK, inplace=True)


class Segment(nn.Sequential):
    """Layers whose activations are computed again in the backward pass if `activation_checkpointing` is on."""

    def __init__(self, c: TrainConfig, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.recompute = c.activation_checkpointing

    def forward(self, x: Tensor) -> Tensor:
        if self.recompute and self.training:
            return checkpoint(super().forward, x, use_reentrant=False, context_fn=self._contexts)
        return super().forward(x)

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _Seen(self)


class _Seen(AbstractContextManager[None]):
    """The buffers have seen this batch, so that computing it again works on copies of them.

    Entered once for each backward pass, so a context of contextlib, which is used up, would not do.
    """

    def __init__(self, segment: Segment) -> None:
        self.norms = [module for module in segment.modules() if isinstance(module, nn.BatchNorm2d)]
        self.buffers = [dict(norm.named_buffers()) for norm in self.norms]

    def __enter__(self) -> None:
        for norm, buffers in zip(self.norms, self.buffers, strict=True):
            for name, buffer in buffers.items():
                setattr(norm, name, buffer.clone())

    def __exit__(self, *_: object) -> None:
        for norm, buffers in zip(self.norms, self.buffers, strict=True):
            for name, buffer in buffers.items():
                setattr(norm, name, buffer)
