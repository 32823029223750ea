"""The score falls on every known failure."""

import math
from collections.abc import Callable
from dataclasses import astuple
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import gaussian_filter
from torch import Tensor

from analysis.score import PARTS, ScoreCard, score_images
from introvae.data import ImageSet, to_float

Spoil = Callable[[Tensor, float], Tensor]


def blur(images: Tensor, sigma: float) -> Tensor:
    return torch.from_numpy(gaussian_filter(images.numpy(), (0, 0, sigma, sigma)))


def noise(images: Tensor, sigma: float) -> Tensor:
    return (images + sigma * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)


def alike(images: Tensor, share: float) -> Tensor:
    """A share of the images becomes the first one."""
    spoilt = images.clone()
    spoilt[: round(share * len(images))] = images[0]
    return spoilt


def mean(images: Tensor, share: float) -> Tensor:
    return (1 - share) * images + share * images.mean(0, keepdim=True)


def shuffle(images: Tensor, blocks: float) -> Tensor:
    """Texture without structure: blocks x blocks tiles of each image in random order."""
    count, side = int(blocks), images.shape[-1] // int(blocks)
    tiles = images.unfold(2, side, side).unfold(3, side, side).flatten(2, 3)
    g = torch.Generator().manual_seed(0)
    order = torch.stack([torch.randperm(count**2, generator=g) for _ in images])
    mixed = torch.stack([image[:, o] for image, o in zip(tiles, order, strict=True)])
    rows = mixed.unflatten(2, (count, count)).permute(0, 1, 2, 4, 3, 5)
    return rows.reshape(images.shape)


@pytest.fixture(scope="module")
def sets(faces: ImageSet) -> tuple[Tensor, Tensor]:
    """Real images, and as many others of the same people that serve as perfect samples."""
    return to_float(faces.validation[:]), to_float(faces.train[::4])


def test_perfect_output_scores_near_1(sets: tuple[Tensor, Tensor]) -> None:
    real, samples = sets
    card = score_images(real, real, samples)
    assert card.score > 0.97
    assert card.reconstruction == card.informativeness == 1


@pytest.mark.parametrize("target", ["reconstructions", "samples", "both"])
@pytest.mark.parametrize(
    ("spoil", "strengths"),
    [(blur, (0.5, 1, 2)), (noise, (0.02, 0.05, 0.1)), (mean, (0.2, 0.5, 1)), (alike, (0.3, 0.6, 1))],
)
def test_score_falls_with_the_strength_of_a_failure(
    sets: tuple[Tensor, Tensor], spoil: Spoil, strengths: tuple[float, ...], target: str
) -> None:
    real, samples = sets
    scores = [score_images(real, real, samples).score]
    for strength in strengths:
        reconstructions = real if target == "samples" else spoil(real, strength)
        spoilt = samples if target == "reconstructions" else spoil(samples, strength)
        scores.append(score_images(real, reconstructions, spoilt).score)
    assert all(a > b for a, b in pairwise(scores)), scores


@pytest.mark.parametrize("blocks", [2, 4, 8])
def test_score_falls_for_texture_without_structure(sets: tuple[Tensor, Tensor], blocks: int) -> None:
    real, samples = sets
    card = score_images(real, real, shuffle(samples, blocks))
    assert card.structure < 0.05
    assert card.score < score_images(real, blur(real, 1.5), blur(samples, 1.5)).score


def test_sharp_but_alike_is_worse_than_blurred_but_faithful(sets: tuple[Tensor, Tensor]) -> None:
    real, samples = sets
    vae = score_images(real, blur(real, 1.5), blur(samples, 1.5)).score
    two = real[[0, 20]].repeat(40, 1, 1, 1)
    assert score_images(real, two, samples).score < vae
    assert score_images(real, real, two).score < vae
    assert score_images(real, two, two).score == 0


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_black_and_not_finite_score_0(sets: tuple[Tensor, Tensor], value: float) -> None:
    real, samples = sets
    bad = torch.full_like(real, value)
    assert score_images(real, bad, samples).score == 0
    assert score_images(real, real, bad).score == 0
    one_pixel = real.clone()
    one_pixel[3, 0, 5, 5] = math.nan
    assert score_images(real, one_pixel, samples) == ScoreCard(0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "images", [torch.zeros(5, 1, 16, 16), torch.full((5, 3, 16, 16), 0.5), torch.rand(1, 1, 16, 16)]
)
def test_constant_and_single_images_have_a_score(images: Tensor) -> None:
    assert all(0 <= value <= 1 for value in astuple(score_images(images, images, images)))


@given(hnp.arrays(np.float32, (3, 4, 1, 16, 16), elements=st.floats(0, 1, width=32)))
def test_every_part_is_between_0_and_1(images: np.ndarray) -> None:
    card = score_images(*torch.from_numpy(images))
    assert all(0 <= value <= 1 for value in astuple(card))
    parts = [getattr(card, name) for name in PARTS]
    assert card.score == pytest.approx(math.prod(parts) ** 0.2)


def test_images_that_do_not_fit_together_are_refused(sets: tuple[Tensor, Tensor]) -> None:
    real, samples = sets
    with pytest.raises(ValueError, match="do not fit together"):
        score_images(real, real[:3], samples)
    with pytest.raises(ValueError, match="do not fit together"):
        score_images(real, real, samples[:0])
