from collections.abc import Sequence

import pytest
import torch
from torch import nn

from introvae.config import TrainConfig
from introvae.nn.networks import IntroVAE, build


def network(
    size: int = 16, channels: int = 1, norm: str = "group", output: str = "sigmoid", latent: int = 6
) -> IntroVAE:
    torch.manual_seed(0)
    return build(TrainConfig(image_size=size, channels=channels, latent=latent, norm=norm, output=output))


@pytest.mark.parametrize("norm", ["group", "batch", "none"])
@pytest.mark.parametrize(("size", "channels"), [(16, 1), (28, 1), (30, 3), (32, 3), (50, 1), (64, 3)])
def test_shapes_for_every_size(size: int, channels: int, norm: str) -> None:
    model = network(size, channels, norm)
    images = torch.rand(2, channels, size, size)
    mu, logvar = model.encoder(images)
    assert mu.shape == logvar.shape == (2, 6)
    assert model.decoder(mu).shape == images.shape


@pytest.mark.parametrize("widths", [(5, 7), (12, 3, 24)])
def test_any_widths(widths: Sequence[int]) -> None:
    size = 4 * 2 ** len(widths)
    model = build(TrainConfig(image_size=size, channels=1, widths=tuple(widths)))
    assert model.decoder(model.encoder(torch.rand(2, 1, size, size))[0]).shape == (2, 1, size, size)


def test_log_variance_cannot_overflow_and_is_not_clipped() -> None:
    model = network(norm="none")
    with torch.no_grad():
        model.encoder.head.weight.mul_(1e6)
    _, logvar = model.encoder(torch.rand(4, 1, 16, 16))
    assert logvar.abs().max() > 15
    assert logvar.exp().isfinite().all()
    small = network(norm="none")
    _, logvar = small.encoder(torch.rand(4, 1, 16, 16))
    (gradient,) = torch.autograd.grad(logvar.sum(), small.encoder.head.bias)
    assert gradient[6:].min() > 0.9 * 4  # of the four images' full gradient: smooth and near 1 around 0


def test_a_convolution_before_a_norm_has_no_bias() -> None:
    for norm, expected in (("group", True), ("batch", True), ("none", False)):
        inner = [
            m for m in network(norm=norm).encoder.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)
        ]
        assert all((conv.bias is None) is expected for conv in inner)


def test_output_ranges() -> None:
    z = 100 * torch.randn(8, 6)
    sigmoid, linear = network(output="sigmoid").decoder(z), network(output="linear").decoder(z)
    assert sigmoid.min() >= 0 and sigmoid.max() <= 1
    assert linear.min() < 0
    assert network(output="linear").decode(z).min() == 0


def test_evaluation_leaves_the_model_as_it_was() -> None:
    model = network(norm="batch").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.rand(300, 1, 16, 16)  # more than one evaluation batch
    first = model.reconstruct(images)
    assert model.encoder.training and model.decoder.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    torch.testing.assert_close(first[:5], model.reconstruct(images[:5]))  # no batch statistics in it
    assert not first.requires_grad
