"""Encoder and Decoder: the paper's residual networks for every image size, channel count and width.

A network halves (or doubles) its resolution once for each entry of `widths` and meets its linear layer at
4x4, so it works at 4 * 2^len(widths) pixels; smaller images are padded to that size and cropped back.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAK = 0.2
BASE = 4  # side of the feature map at the linear layer
LOGVAR_BOUND = 20.0  # exp(20) is far from float32's overflow at exp(88)
EVALUATION_BATCH = 256  # images at a time, so that memory does not grow with the set


def normalisation(kind: str, channels: int) -> nn.Module:
    """The norm after a convolution: "group" (up to 8 groups), "batch" or "none"."""
    if kind == "group":
        return nn.GroupNorm(math.gcd(8, channels), channels)
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.Identity()


class ResidualBlock(nn.Module):
    """conv 3x3, norm, leaky ReLU, conv 3x3, norm, added to the input (1x1 convolution if widths differ).

    Activations work in place: neither a norm's nor a convolution's gradient needs its own output.
    """

    def __init__(self, inputs: int, outputs: int, norm: str) -> None:
        super().__init__()
        bias = norm == "none"  # a norm's own shift makes a bias before it redundant
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)
        self.norm1 = normalisation(norm, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=bias)
        self.norm2 = normalisation(norm, outputs)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.norm1(self.conv1(x)), LEAK, inplace=True)
        return F.leaky_relu(self.norm2(self.conv2(y)) + self.skip(x), LEAK, inplace=True)


class Encoder(nn.Module):
    """Images (N, C, S, S) in [0, 1] to the mean and log-variance of q(z|x), each (N, latent)."""

    def __init__(self, image_size: int, channels: int, latent: int, widths: Sequence[int], norm: str) -> None:
        super().__init__()
        self.padding = _padding(image_size, widths)
        layers: list[nn.Module] = [
            nn.Conv2d(channels, widths[0], 5, padding=2, bias=norm == "none"),
            normalisation(norm, widths[0]),
            nn.LeakyReLU(LEAK, inplace=True),
            nn.AvgPool2d(2),
        ]
        for inputs, outputs in pairwise(widths):
            layers += [ResidualBlock(inputs, outputs, norm), nn.AvgPool2d(2)]
        layers.append(ResidualBlock(widths[-1], widths[-1], norm))
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1] * BASE**2, 2 * latent)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.features(F.pad(x, self.padding))
        mu, raw = _full_precision(self.head(y.flatten(1))).chunk(2, dim=1)
        return mu, LOGVAR_BOUND * torch.tanh(raw / LOGVAR_BOUND)


class Decoder(nn.Module):
    """Latent vectors (N, latent) to images (N, C, S, S), in [0, 1] if `output` is "sigmoid"."""

    def __init__(
        self, image_size: int, channels: int, latent: int, widths: Sequence[int], norm: str, output: str
    ) -> None:
        super().__init__()
        self.padding = _padding(image_size, widths)
        self.width = widths[-1]
        self.output = output
        self.head = nn.Linear(latent, self.width * BASE**2)
        layers: list[nn.Module] = []
        inputs = self.width
        for outputs in reversed(widths):
            layers += [ResidualBlock(inputs, outputs, norm), nn.Upsample(scale_factor=2)]
            inputs = outputs
        layers += [ResidualBlock(inputs, inputs, norm), nn.Conv2d(inputs, channels, 5, padding=2)]
        self.features = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        y = F.relu(self.head(z)).unflatten(1, (self.width, BASE, BASE))
        y = _full_precision(F.pad(self.features(y), [-side for side in self.padding]))
        return torch.sigmoid(y) if self.output == "sigmoid" else y


class IntroVAE(nn.Module):
    """The two networks, and what they do to images once trained: in evaluation mode, without gradients."""

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (N, C, S, S) in [0, 1] to the mean and log-variance of q(z|x), each (N, z)."""
        parts = self._evaluate(self.encoder, images)
        mu, logvar = zip(*parts, strict=True)
        return torch.cat(mu), torch.cat(logvar)

    def decode(self, z: Tensor) -> Tensor:
        """Latent vectors (N, z) to images (N, C, S, S), clamped to [0, 1]."""
        return torch.cat(self._evaluate(self.decoder, z)).clamp(0, 1)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Dec(mean of q(z|x)), images (N, C, S, S) in [0, 1]."""
        return self.decode(self.encode(images)[0])

    @torch.no_grad()
    def _evaluate(self, network: nn.Module, x: Tensor) -> list[Any]:
        training = network.training
        network.eval()
        outputs = [network(part) for part in x.split(EVALUATION_BATCH)]
        network.train(training)
        return outputs


def build(image_size: int, channels: int, latent: int, widths: Sequence[int], norm: str, output: str) -> IntroVAE:
    """Both networks with PyTorch's initial weights, drawn from the global generator."""
    return IntroVAE(
        Encoder(image_size, channels, latent, widths, norm),
        Decoder(image_size, channels, latent, widths, norm, output),
    )


def _padding(image_size: int, widths: Sequence[int]) -> list[int]:
    """Left, right, top and bottom pixels that bring an image to the network's size."""
    missing = BASE * 2 ** len(widths) - image_size
    if missing < 0:
        raise ValueError(f"{len(widths)} widths reach {image_size + missing} px, less than {image_size} px")
    return [missing // 2, missing - missing // 2] * 2


def _full_precision(x: Tensor) -> Tensor:
    """Under autocast the losses still see at least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
