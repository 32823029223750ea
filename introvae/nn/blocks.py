"""Parts of the residual networks: three kinds of residual block, and segments that save memory."""

from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from introvae.config import TrainConfig
from introvae.nn.group_norm import normalization

LEAK = 0.2


class Block(nn.Module):
    """Residual block: two normalized 3x3 convolutions, added to the input; leaky ReLU in between and at the end.

    If the widths differ, a 1x1 convolution changes them. The family decides where it and the second norm are:

    - "residual": the 1x1 convolution on the skip path, the norm before the sum, which leaves a clean identity path;
    - "official": the same with the norm after the sum, as in the authors' code;
    - "paper": 1x1, 3x3 and 3x3 in a row, the sum over the 3x3 convolutions only, as in the paper's table.

    Activations work in place, since neither a norm nor a convolution needs its output for its gradient.
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
                self.widen = nn.Sequential(self.widen, normalization(norm, outputs), nn.LeakyReLU(LEAK, inplace=True))
        self.conv1 = nn.Conv2d(outputs if family == "paper" else inputs, outputs, 3, padding=1, bias=bias)
        self.norm1 = normalization(norm, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=bias)
        self.norm2 = normalization(norm, outputs)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.widen(x)
        y = F.leaky_relu(self.norm1(self.conv1(skip if self.family == "paper" else x)), LEAK, inplace=True)
        y = self.conv2(y)
        y = self.norm2(y + skip) if self.family == "official" else self.norm2(y) + skip
        return F.leaky_relu(y, LEAK, inplace=True)


class Segment(nn.Sequential):
    """Layers whose activations are recomputed in the backward pass if `activation_checkpointing` is on."""

    def __init__(self, c: TrainConfig, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.recompute = c.activation_checkpointing

    def forward(self, x: Tensor) -> Tensor:
        if self.recompute and self.training:
            return checkpoint(super().forward, x, use_reentrant=False)
        return super().forward(x)
