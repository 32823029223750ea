"""A small model with its optimizers, draws for its steps, and a counter of network passes."""

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from introvae.config import TrainConfig
from introvae.nn.blocks import Block, Segment
from introvae.nn.networks import IntroVAE, build
from introvae.training.device import adam
from introvae.training.schedule import Weights
from introvae.training.step import Noise, Optimizers, train_step

BATCH, LATENT = 6, 5
INTROVAE = Weights(alpha=0.3, alpha_decoder=0.4, beta=2.0, kl_weight=0.9, m=8.0)
SOFT = Weights(alpha=0.5, alpha_decoder=0.4, beta=2.0, kl_weight=0.9, m=0.0, objective="soft", scale=0.02, beta_neg=3.0)
VAE = Weights(alpha=0.0, alpha_decoder=0.0, beta=2.0, kl_weight=0.9, m=8.0)


def make(
    norm: str, dtype: torch.dtype = torch.float64, device: str = "cpu", **settings: Any
) -> tuple[IntroVAE, Optimizers]:
    torch.manual_seed(1)
    config = TrainConfig(image_size=16, channels=1, latent=LATENT, widths=(8, 12), norm=norm, **settings)
    model = build(config).to(device, dtype)
    with torch.no_grad():
        model.encoder.head.weight.mul_(3)  # energies that differ from image to image
    return model, Optimizers(adam(model.encoder, 1e-2), adam(model.decoder, 1e-2))


def draws(step: int, dtype: torch.dtype = torch.float64, device: str = "cpu") -> tuple[Tensor, Noise]:
    g = torch.Generator().manual_seed(step)
    x = torch.rand(BATCH, 1, 16, 16, generator=g, dtype=dtype)
    noise = torch.randn(4, BATCH, LATENT, generator=g, dtype=dtype).to(device)
    return x.to(device), Noise(noise[0], noise[1], noise[2:])


class PassCounter(TorchDispatchMode):
    """Counter of what one convolution of each network is asked for, in units of one batch."""

    def __init__(self, convolutions: dict[str, nn.Conv2d]) -> None:
        super().__init__()
        self.names = {conv.weight.data_ptr(): name for name, conv in convolutions.items()}
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default:
            self._add(args[1], "forward", args[0])
        elif func is torch.ops.aten.convolution_backward.default:
            asked_input, asked_weight, _ = args[10]
            if asked_input:
                self._add(args[2], "input gradient", args[1])
            if asked_weight:
                self._add(args[2], "weight gradient", args[1])
        return func(*args, **(kwargs or {}))

    def _add(self, weight: Tensor, kind: str, images: Tensor) -> None:
        if weight.data_ptr() in self.names:
            self.counts[f"{self.names[weight.data_ptr()]} {kind}"] += len(images) / BATCH  # type: ignore[assignment]


def inner_convolution(network: nn.Module) -> nn.Conv2d:
    """Return a convolution of the first residual block that lies between other layers."""
    segments = [module for module in network.modules() if isinstance(module, Segment)]
    blocks = [module for segment in segments[1:] for module in segment if isinstance(module, Block)]
    return blocks[0].conv1


def count_passes(norm: str, weights: Weights, **settings: Any) -> Counter[str]:
    model, optimizers = make(norm, **settings)
    counter = PassCounter({name: inner_convolution(net) for name, net in model.named_children()})
    with counter:
        train_step(model, optimizers, *draws(0), weights)
    return counter.counts


def passes(encoder: tuple[int, int, int], decoder: tuple[int, int, int]) -> dict[str, int]:
    kinds = ("forward", "weight gradient", "input gradient")
    counts = {"encoder": encoder, "decoder": decoder}
    return {f"{net} {kind}": n for net in counts for kind, n in zip(kinds, counts[net], strict=True)}
