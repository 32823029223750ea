"""Features of images: those of the published network, whatever else the process does."""

import pytest
import torch
from torch.nn import functional as F

from analysis.measures.features import features, network
from introvae.data.image_set import ImageSet, to_float


def test_features_are_those_of_the_eleventh_block(faces: ImageSet) -> None:
    """The network's own pass over one image at a time, with the output of a block caught."""
    images = to_float(faces.validation[:3]).repeat(1, 1, 2, 2)  # 64 px need no other size
    caught: list[torch.Tensor] = []
    handle = network()._blocks[10].register_forward_hook(lambda module, inputs, output: caught.append(output))
    try:
        for image in images:
            network()((image.expand(1, 3, -1, -1) * 255 - 127) / 128)
    finally:
        handle.remove()
    expected = torch.cat(caught).mean((2, 3))
    found = features(images)
    assert found.shape == (3, 112) and found.dtype == torch.float64
    torch.testing.assert_close(found, expected.double(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_any_batch_size_gives_the_same(real: torch.Tensor, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    expected = features(real[:7])
    monkeypatch.setattr("analysis.measures.features.BATCH", batch)
    torch.testing.assert_close(features(real[:7]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("size", "side"), [(8, 64), (32, 64), (64, 64), (100, 100), (128, 128), (256, 128)])
def test_small_images_are_enlarged_and_large_ones_reduced(size: int, side: int) -> None:
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    resized = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
    torch.testing.assert_close(features(images), features(resized), rtol=1e-4, atol=1e-5)


def test_gray_images_are_images_in_color(real: torch.Tensor) -> None:
    torch.testing.assert_close(features(real[:4]), features(real[:4].expand(-1, 3, -1, -1)))
    assert torch.equal(features(real[:4].double()), features(real[:4]))


def test_global_randomness_and_gradients_are_left_alone(real: torch.Tensor) -> None:
    network.cache_clear()  # the network is built again
    before = torch.get_rng_state()
    found = features(real[:2].clone().requires_grad_())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled() and not found.requires_grad
    assert not network().training and not any(weight.requires_grad for weight in network().parameters())
