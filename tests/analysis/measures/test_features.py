"""Features of images: those of the published network, whatever else the process does."""

import pytest
import torch
from torch.nn import functional as F

from analysis.measures.features import features, local_features, network, standardized
from introvae.data.image_set import ImageSet, to_float


@pytest.fixture
def caught(faces: ImageSet) -> dict[int, torch.Tensor]:
    """Outputs of three blocks in the network's own pass over one image at a time, by the block."""
    outputs: dict[int, list[torch.Tensor]] = {4: [], 6: [], 10: []}
    handles = [
        network()._blocks[block].register_forward_hook(lambda module, inputs, output, kept=kept: kept.append(output))
        for block, kept in outputs.items()
    ]
    try:
        for image in large(faces):
            network()((image.expand(1, 3, -1, -1) * 255 - 127) / 128)
    finally:
        for handle in handles:
            handle.remove()
    return {block: torch.cat(kept).double() for block, kept in outputs.items()}


def large(faces: ImageSet) -> torch.Tensor:
    return to_float(faces.validation[:3]).repeat(1, 1, 2, 2)  # 64 px need no other size


def test_features_are_those_of_the_eleventh_block_and_quarters_those_of_the_seventh(
    faces: ImageSet, caught: dict[int, torch.Tensor]
) -> None:
    whole, quarters = features(large(faces))
    assert whole.shape == (3, 112) and quarters.shape == (3, 320) and whole.dtype == quarters.dtype == torch.float64
    torch.testing.assert_close(whole, caught[10].mean((2, 3)), rtol=1e-4, atol=1e-5)
    expected = caught[6].unflatten(3, (2, 2)).unflatten(2, (2, 2)).mean((3, 5))  # 4 x 4 places
    torch.testing.assert_close(quarters, expected.flatten(1), rtol=1e-4, atol=1e-4)


def test_local_features_are_those_of_the_fifth_block(faces: ImageSet, caught: dict[int, torch.Tensor]) -> None:
    found = local_features(large(faces))
    assert found.shape == (3, 40, 4, 4) and found.dtype == torch.float64
    expected = caught[4].unflatten(3, (4, 2)).unflatten(2, (4, 2)).mean((3, 5))  # 8 x 8 places, in cells of 2 x 2
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_features_are_measured_by_their_deviation_among_the_reference() -> None:
    reference, others = torch.randn(2, 9, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    reference = reference * torch.tensor([1, 2, 3, 4, 1e-9]) + 7  # the last hardly varies
    found, found_others = standardized(reference, others)
    deviation = reference.std(0, correction=0)
    scale = torch.cat([deviation[:4], 0.1 * deviation.mean()[None]])
    torch.testing.assert_close(found, (reference - reference.mean(0)) / scale)
    torch.testing.assert_close(found_others, (others - reference.mean(0)) / scale)


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
    assert all(map(torch.equal, features(real[:4].double()), features(real[:4])))


def test_global_randomness_and_gradients_are_left_alone(real: torch.Tensor) -> None:
    network.cache_clear()  # the network is built again
    before = torch.get_rng_state()
    found = features(real[:2].clone().requires_grad_())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled() and not any(x.requires_grad for x in found)
    assert not network().training and not any(weight.requires_grad for weight in network().parameters())
