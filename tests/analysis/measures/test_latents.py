"""Walks through hand-made latent spaces, and their smoothness."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from analysis.measures.collapse import kl_per_dimension
from analysis.measures.latents import (
    POINTS,
    VISIBLE,
    decoded,
    interpolation,
    latent_smoothness,
    pairs,
    plane,
    smoothness,
    traversals,
)
from introvae.nn.networks import Decoder, Encoder, IntroVAE

STEPS = POINTS - 1
seeds = st.integers(0, 2**32 - 1)


class Pixels(nn.Module):
    """An encoder whose means are the pixels."""

    kinds = Encoder.kinds

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images.flatten(1), torch.zeros_like(images.flatten(1))


class Painter(nn.Module):
    """A decoder in whose images each dimension moves one of four rows by `weight`, with a jump at 0 if given."""

    kinds = Decoder.kinds

    def __init__(self, weight: list[float], jump: float = 0.0) -> None:
        super().__init__()
        self.weight, self.jump, self.latent = nn.Parameter(torch.tensor(weight)), jump, len(weight)

    def forward(self, z: Tensor) -> Tensor:
        rows = 0.5 + self.weight * (z + self.jump * (z > 0))
        return rows[:, None, :, None].expand(-1, 1, -1, 4)


def painting(weight: list[float], jump: float = 0.0) -> IntroVAE:
    return IntroVAE(Pixels(), Painter(weight, jump))  # type: ignore[arg-type]


def encoded(seed: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return means and log-variances (40, 4); later dimensions are wider."""
    mu = torch.randn(40, 4, generator=torch.Generator().manual_seed(seed)) * scale * torch.arange(1, 5)
    return mu, torch.zeros_like(mu)


def walks(seed: int, count: int = 3) -> Tensor:
    return torch.rand(count, POINTS, 1, 4, 4, generator=torch.Generator().manual_seed(seed))


def straight(seed: int, count: int = 3) -> Tensor:
    a, b = walks(seed, count)[:, :2].flatten(2).unbind(1)
    return interpolation(a, b).unflatten(2, (1, 4, 4))


def test_an_interpolation_has_even_steps_and_both_ends() -> None:
    a, b = torch.randn(2, 5, 3)
    z = interpolation(a, b, 9)
    assert z.shape == (5, 9, 3)
    torch.testing.assert_close(z[:, 0], a)
    torch.testing.assert_close(z[:, -1], b)
    torch.testing.assert_close(z.diff(dim=1), ((b - a) / 8)[:, None].expand(-1, 8, -1))


def test_the_corners_of_a_plane_are_the_encodings() -> None:
    a, b, c = torch.randn(3, 6)
    z = plane(a, b, c, 5)
    assert z.shape == (5, 5, 6)
    for corner, expected in ((z[0, 0], a), (z[0, -1], b), (z[-1, 0], c), (z[-1, -1], b + c - a)):
        torch.testing.assert_close(corner, expected)
    torch.testing.assert_close(z[1, 2], a + 0.5 * (b - a) + 0.25 * (c - a))


def test_traversals_run_through_the_range_seen_and_begin_with_the_dimension_furthest_from_the_prior() -> None:
    mu, logvar = encoded(0)
    found = traversals(mu, logvar, 3, 5)
    kl = kl_per_dimension(mu, logvar)
    assert found.dimensions.tolist() == [3, 2, 1]
    torch.testing.assert_close(found.kl, kl[[3, 2, 1]])
    for z, dimension in zip(found.z, found.dimensions, strict=True):
        assert (z[0, dimension], z[-1, dimension]) == (mu[:, dimension].min(), mu[:, dimension].max())
        assert not z[:, torch.arange(4) != dimension].any()


def test_there_are_no_more_traversals_than_dimensions() -> None:
    assert traversals(*encoded(0)).z.shape == (4, POINTS, 4)


@pytest.mark.parametrize("images", [2, 3, 12, 80])
def test_pairs_are_far_apart_in_the_set(images: int) -> None:
    first, second = pairs(images, 6)
    assert len(first) == len(second) == min(6, images // 2)
    assert ((second - first) == images // 2).all() and second.max() < images


def test_a_linear_decoder_is_perfectly_smooth() -> None:
    found = latent_smoothness(painting([0.01, 0.02, 0.03, 0.04]), *encoded(1))
    assert found.keys() == {"traversal_smoothness", "interpolation_smoothness"}
    assert list(found.values()) == pytest.approx([1, 1], abs=1e-4)


def test_larger_jumps_lower_the_smoothness_of_both_kinds_of_walks() -> None:
    jumps = [0.0, 0.5, 1.0, 2.0, 8.0, 64.0]
    found = [latent_smoothness(painting([0.001] * 4, jump), *encoded(2)) for jump in jumps]
    for name in found[0]:
        values = [scores[name] for scores in found]
        assert values == sorted(values, reverse=True) and len(set(values)) == len(values)
    assert found[-1]["traversal_smoothness"] < 0.1


def test_a_dead_dimension_does_not_count_and_a_dead_decoder_is_not_smooth() -> None:
    alive, with_dead = (latent_smoothness(painting([x, 0.01, 0.01, 0.01], 2.0), *encoded(3)) for x in (0.01, 0.0))
    assert with_dead["traversal_smoothness"] == pytest.approx(alive["traversal_smoothness"], abs=0.1)
    of_dead = traversals(*encoded(3)).z[-1:]
    assert smoothness(decoded(painting([0.0, 0.01, 0.01, 0.01]), of_dead)) == 0
    assert set(latent_smoothness(painting([0.0] * 4), *encoded(3)).values()) == {0.0}


def test_a_change_too_small_for_8_bits_is_not_smooth() -> None:
    steps = torch.linspace(0, 1, POINTS)[None, :, None, None, None].expand(1, POINTS, 3, 4, 4)
    assert smoothness(steps * VISIBLE * 0.9) == 0
    assert smoothness(steps * VISIBLE * 1.1) == pytest.approx(1, abs=1e-4)


@given(seeds)
def test_smoothness_is_between_0_and_1(seed: int) -> None:
    assert 0 <= smoothness(walks(seed)) <= 1


@given(seeds)
def test_a_straight_even_walk_is_perfectly_smooth(seed: int) -> None:
    assert smoothness(straight(seed)) == pytest.approx(1, abs=1e-4)


@given(seeds, st.floats(0.5, 1), st.floats(0, 0.5))
def test_contrast_brightness_direction_and_number_of_walks_do_not_count(seed: int, scale: float, shift: float) -> None:
    images = walks(seed)
    still = images[:1, :1].expand(1, POINTS, 1, 4, 4)
    for same in (images * scale + shift, images.flip(1), images.repeat(2, 1, 1, 1, 1), torch.cat((images, still))):
        assert smoothness(same) == pytest.approx(smoothness(images), rel=1e-4)


@given(seeds, st.integers(0, STEPS - 1), st.floats(0.01, 50), st.floats(1.05, 10))
def test_a_larger_jump_lowers_smoothness_more(seed: int, where: int, size: float, factor: float) -> None:
    images = straight(seed).double()
    whole = (images[:, -1] - images[:, 0])[:, None]
    after = (torch.arange(POINTS) > where).view(1, -1, 1, 1, 1)
    smaller, larger = (smoothness(images + jump * whole * after) for jump in (size, size * factor))
    assert 1 / STEPS < larger < smaller < 1


@given(seeds, st.integers(0, STEPS - 1))
def test_a_single_jump_and_a_walk_back_are_least_smooth(seed: int, where: int) -> None:
    images = straight(seed)
    after = (torch.arange(POINTS) > where).view(1, -1, 1, 1, 1)
    assert smoothness(torch.where(after, images[:, -1:], images[:, :1])) == pytest.approx(1 / STEPS, rel=1e-4)
    assert smoothness(torch.cat((images, images.flip(1)), 1)) == 0


@given(seeds, st.permutations(range(1, STEPS)))
def test_no_order_of_the_points_is_smoother_than_along_the_line(seed: int, order: list[int]) -> None:
    images = straight(seed)
    assert smoothness(images[:, [0, *order, STEPS]]) <= smoothness(images) + 1e-6
