"""Encoder, decoder and the model of both, for every network family, image size, channel count and width.

The residual families ("residual", "official", "paper") halve or double the resolution once for each entry of
`widths` and have their dense layers at 4x4, so they work at 4 * 2^len(widths) pixels. "plain" does so with strided
convolutions and has its dense layers wherever `widths` end; "mlp" has dense layers only. Images of another size are
padded to the network's and cropped back.

In every family the encoder's last layer gives a mean and a number `raw` for each latent dimension, and the log-variance
is 20 tanh(raw / 20): between -20 and 20, and nearly `raw` itself around 0. The paper sets no bound.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from introvae.config import BASE, RESIDUAL, TrainConfig
from introvae.data.convert import AnyImages, as_images
from introvae.nn.batch_norm import KINDS, Kind, choose_statistics
from introvae.nn.blocks import LEAK, Block, Segment
from introvae.nn.group_norm import normalization
from introvae.randomness import generator, normal

LOGVAR_BOUND = 20.0  # exp(20) is far from float32's overflow at exp(88)
EVALUATION_BATCH = 256  # images at a time; bounds the memory
CPU_BATCH = 32  # larger batches do not fit the cache of a CPU


class Encoder(nn.Module):
    """Network from images (N, C, S, S) in [0, 1] to the mean and log-variance of q(z|x), each (N, z)."""

    kinds = KINDS

    def __init__(self, c: TrainConfig) -> None:
        super().__init__()
        self.channels = c.channels
        self.image_size, self.fit = c.image_size, c.fit
        self.white = 0  # of images of more than 8 bits, if the training images tell
        self.padding = _padding(c)
        width, side = _inner(c)
        self.features = nn.Sequential(*_encoder_layers(c))
        self.dense = _dense([width * side**2, *c.hidden])
        self.head = nn.Linear((c.hidden or (width * side**2,))[-1], 2 * c.latent)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.dense(self.features(F.pad(x, self.padding)).flatten(1))
        mu, raw = _full_precision(self.head(y)).chunk(2, dim=1)
        return mu, LOGVAR_BOUND * torch.tanh(raw / LOGVAR_BOUND)


class Decoder(nn.Module):
    """Network from latent vectors (N, z) to images (N, C, S, S), in [0, 1] if `output` is "sigmoid"."""

    kinds = KINDS[1:]

    def __init__(self, c: TrainConfig) -> None:
        super().__init__()
        self.latent = c.latent
        self.padding = _padding(c)
        self.output = c.output
        self.inner = _inner(c)
        width, side = self.inner
        self.dense = _dense([c.latent, *c.decoder_hidden])
        self.head = nn.Linear((c.decoder_hidden or (c.latent,))[-1], width * side**2)
        self.features = nn.Sequential(*_decoder_layers(c))

    def forward(self, z: Tensor) -> Tensor:
        width, side = self.inner
        y = self.features(self.head(self.dense(z)).unflatten(1, (width, side, side)))
        y = _full_precision(F.pad(y, [-edge for edge in self.padding]))
        return torch.sigmoid(y) if self.output == "sigmoid" else y


class IntroVAE(nn.Module):
    """The encoder and the decoder, and their use once trained: in evaluation mode, without gradients.

    Images may be PIL images of any size, uint8 or float arrays and tensors, or lists of these; see
    :func:`introvae.data.convert.as_images`. Results are on the model's device.

    With batch normalization each kind of image has statistics of its own, as it had in training
    (`introvae.nn.batch_norm`); with another norm or none, `kind` changes nothing.
    """

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def encode(self, images: AnyImages, kind: Kind = "real") -> tuple[Tensor, Tensor]:
        """Compute the mean and log-variance of q(z|x).

        Args:
            images: The images.
            kind: "real", or for images that the model has made "reconstruction" or "sample".

        Returns:
            The mean and the log-variance, each (N, z); N is 1 for a single image.

        Raises:
            ValueError: If images have another size or number of channels than the model's, or values outside [0, 1],
                or if there is no such kind.
        """
        encoder = self.encoder
        x = as_images(images, encoder.channels, encoder.image_size, encoder.fit, encoder.white)
        mu, logvar = zip(*self._evaluate(self.encoder, x, kind), strict=True)
        return torch.cat(mu), torch.cat(logvar)

    def decode(self, z: Tensor, kind: Kind = "reconstruction") -> Tensor:
        """Decode latent vectors to images.

        Args:
            z: Latent vectors, (N, z).
            kind: "reconstruction" for encodings and what lies between them, "sample" for noise, z ~ N(0, I).

        Returns:
            Images (N, C, S, S), float in [0, 1].

        Raises:
            ValueError: If `z` is not a tensor of this shape, or if there is no such kind.
        """
        if not isinstance(z, Tensor) or z.ndim != 2 or z.shape[1] != self.decoder.latent:
            found = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
            raise ValueError(f"latent vectors are {found}; this model takes a tensor (N, {self.decoder.latent})")
        return torch.cat(self._evaluate(self.decoder, z, kind)).clamp(0, 1)

    def reconstruct(self, images: AnyImages) -> Tensor:
        """Decode the mean of q(z|x) to images (N, C, S, S), float in [0, 1]; raises ValueError as `encode` does."""
        return self.decode(self.encode(images)[0])

    def sample(self, count: int, seed: int = 0, truncation: float | None = None) -> Tensor:
        """Decode z ~ N(0, I), the same for the same seed on one kind of device.

        Args:
            count: Number of images.
            seed: Seed of z.
            truncation: If given, numbers of z outside [-truncation, truncation] are drawn again: more typical
                images, less variety.

        Returns:
            Images (count, C, S, S), float in [0, 1].

        Raises:
            ValueError: If an argument is out of range.
        """
        if count < 1 or seed < 0 or (truncation is not None and not truncation > 0):
            raise ValueError(
                f"count is {count}, seed {seed}, truncation {truncation}; allowed: 1 or more, 0 or more, more than 0"
            )
        shape, device = (count, self.decoder.latent), next(self.parameters()).device
        if truncation is None:
            return self.decode(normal(shape, seed, "samples", device=device), "sample")
        z = torch.empty(shape, device=device)
        draws = generator(seed, "samples", device=device)
        return self.decode(nn.init.trunc_normal_(z, a=-truncation, b=truncation, generator=draws), "sample")

    @torch.no_grad()
    def _evaluate(self, network: Encoder | Decoder, x: Tensor, kind: Kind) -> list[Any]:
        """Call `forward` itself, as a compiled network would be compiled again for each size of the last part."""
        if kind not in network.kinds:
            raise ValueError(f"kind is {kind!r}; allowed: {', '.join(network.kinds)}")
        x = x.to(next(self.parameters()))  # its device and type
        training = network.training
        network.eval()
        choose_statistics(network, kind)
        batch = CPU_BATCH if x.device.type == "cpu" else EVALUATION_BATCH
        outputs = [network.forward(part) for part in x.split(batch)]
        network.train(training)
        return outputs


def build(c: TrainConfig) -> IntroVAE:
    """Build both networks with PyTorch's initial weights, drawn from the global generator; `channels` is 1 or 3."""
    return IntroVAE(Encoder(c), Decoder(c))


def _encoder_layers(c: TrainConfig) -> list[nn.Module]:
    if c.network == "mlp":
        return []
    bias = c.norm == "none"  # a norm's own shift makes a bias before it redundant
    if c.network == "plain":
        return [
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=bias),
                normalization(c.norm, outputs),
                nn.LeakyReLU(LEAK, inplace=True),
            )
            for inputs, outputs in pairwise((c.channels, *c.widths))
        ]
    first = (
        nn.Conv2d(c.channels, c.widths[0], 5, padding=2, bias=bias),
        normalization(c.norm, c.widths[0]),
        nn.LeakyReLU(LEAK, inplace=True),
        nn.AvgPool2d(2),
    )
    layers: list[nn.Module] = [Segment(c, *first)]
    for inputs, outputs in pairwise(c.widths):
        layers.append(Segment(c, Block(inputs, outputs, c.norm, c.network), nn.AvgPool2d(2)))
    layers.append(Segment(c, Block(c.widths[-1], c.widths[-1], c.norm, c.network)))
    return layers


def _decoder_layers(c: TrainConfig) -> list[nn.Module]:
    if c.network == "mlp":
        return []
    if c.network == "plain":
        layers: list[nn.Module] = [nn.LeakyReLU(LEAK, inplace=True)]
        for inputs, outputs in pairwise(reversed(c.widths)):
            layers += [
                nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=c.norm == "none"),
                normalization(c.norm, outputs),
                nn.LeakyReLU(LEAK, inplace=True),
            ]
        return [*layers, nn.ConvTranspose2d(c.widths[0], c.channels, 4, stride=2, padding=1)]
    layers = [nn.ReLU(inplace=True)]
    inputs = c.widths[-1]
    for outputs in reversed(c.widths):
        layers.append(Segment(c, Block(inputs, outputs, c.norm, c.network), nn.Upsample(scale_factor=2)))
        inputs = outputs
    layers.append(Segment(c, Block(inputs, inputs, c.norm, c.network)))
    return [*layers, nn.Conv2d(inputs, c.channels, 5, padding=2)]


def _dense(sizes: Sequence[int]) -> nn.Sequential:
    """Stack a dense layer and leaky ReLU from each size to the next."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(LEAK, inplace=True)]
    return nn.Sequential(*layers)


def _inner(c: TrainConfig) -> tuple[int, int]:
    """Channels and side of the feature map at the dense layers; for "mlp" it is the image itself."""
    if c.network == "mlp":
        return c.channels, c.image_size
    return c.widths[-1], BASE if c.network in RESIDUAL else -(-c.image_size // 2 ** len(c.widths))


def _padding(c: TrainConfig) -> list[int]:
    """Left, right, top and bottom padding that brings an image to the network's size."""
    missing = _inner(c)[1] * 2 ** len(c.widths) - c.image_size
    return [missing // 2, missing - missing // 2] * 2


def _full_precision(x: Tensor) -> Tensor:
    """Convert to at least float32, which the losses need under autocast."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
