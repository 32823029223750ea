"""Shapes and ranges of networks, and what a model accepts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from introvae.config import TrainConfig
from introvae.nn.batch_norm import KINDS
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


def same_image(channels: int) -> dict[str, Any]:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, channels), np.uint8)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    floats = {"float tensor": tensor[None] / 255, "float64 tensor": tensor / 255.0, "float array": pixels / 255}
    return {"PIL": picture, "list": [picture], "uint8 array": pixels, "uint8 tensor": tensor, **floats}


@pytest.mark.parametrize("channels", [1, 3])
def test_every_form_of_an_image_is_encoded_alike(channels: int) -> None:
    model = network(channels=channels)
    forms = same_image(channels)
    mu, logvar = model.encode(forms["float tensor"])
    again = model.reconstruct(forms["float tensor"])
    assert mu.shape == logvar.shape == (1, 6) and again.shape == (1, channels, 16, 16)
    for images in forms.values():
        torch.testing.assert_close(model.encode(images), (mu, logvar))
        torch.testing.assert_close(model.reconstruct(images), again)


def test_a_picture_of_any_size_and_mode_is_fitted() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8))
    for channels in (1, 3):
        assert network(channels=channels).reconstruct([picture, picture.convert("LA")]).shape == (2, channels, 16, 16)


def test_a_model_in_float64_computes_in_float64() -> None:
    model = network().double()
    assert model.encode(torch.rand(2, 1, 16, 16))[0].dtype == torch.float64
    assert model.decode(torch.zeros(2, 6)).dtype == torch.float64


def test_images_of_another_range_or_shape_are_refused() -> None:
    model = network()
    for call in (model.encode, model.reconstruct):
        with pytest.raises(ValueError, match=r"^values run from -1 to 1; images are float in \[0, 1\] or uint8$"):
            call(torch.linspace(-1, 1, 256).view(1, 1, 16, 16))
        with pytest.raises(ValueError, match=r"^a tensor of shape \(1, 3, 16, 16\); .* takes \(N, 1, 16, 16\)"):
            call(torch.rand(1, 3, 16, 16))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_inputs_are_moved_to_the_model() -> None:
    model = network().cuda()
    pixels = np.zeros((16, 16), np.uint8)
    results = [model.reconstruct(pixels), model.reconstruct(torch.from_numpy(pixels)[None].cuda())]
    results.append(model.decode(model.encode([pixels])[0].cpu()))
    for result in results:
        assert result.is_cuda
        torch.testing.assert_close(result, results[0])


@pytest.mark.parametrize(
    "z",
    [
        torch.zeros(6),
        torch.zeros(2, 7),
        torch.zeros(2, 6, 1),
        (torch.zeros(2, 6), torch.zeros(2, 6)),
        [[0.0] * 6],
    ],
)
def test_latent_vectors_of_another_form_are_refused(z: Any) -> None:
    with pytest.raises(ValueError, match=r"latent vectors are .*; this model takes a tensor \(N, 6\)"):
        network().decode(z)


@pytest.mark.parametrize("norm", ["group", "none"])
def test_without_batch_norm_the_kind_of_an_image_changes_nothing(norm: str) -> None:
    model, images = network(norm=norm), torch.rand(2, 1, 16, 16)
    assert len({tuple(model.encode(images, kind)[0].flatten().tolist()) for kind in KINDS}) == 1
    assert torch.equal(model.decode(images[:, 0, 0, :6]), model.decode(images[:, 0, 0, :6], "sample"))


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_an_unknown_kind_of_image_is_refused(norm: str) -> None:
    model: Any = network(norm=norm)
    with pytest.raises(ValueError, match=r"^kind is 'fake'; allowed: real, reconstruction, sample$"):
        model.encode(torch.rand(2, 1, 16, 16), "fake")
    with pytest.raises(ValueError, match=r"^kind is 'real'; allowed: reconstruction, sample$"):
        model.decode(torch.zeros(2, 6), kind="real")


@pytest.mark.parametrize("wrong", [{"count": 0}, {"count": 1, "seed": -1}, {"count": 1, "truncation": 0.0}])
def test_samples_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="allowed: 1 or more, 0 or more, more than 0"):
        network().sample(**wrong)
