"""The score, which falls with every known failure."""

import math
from dataclasses import astuple, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from score import FAILURES, Failure, blurred_noise, cards, halves
from torch import Tensor

from analysis.evaluate import score_run
from analysis.measures.score import score_images, weighted, weights_of
from analysis.measures.sharpness import edge_energy, laplacian_variance, shared_energy
from analysis.outputs import outputs_of, scored_images
from introvae.data.image_set import ImageSet, load_images, to_float
from introvae.errors import UserError
from introvae.runs.record import PARTS, Scores
from introvae.training.trainer import Trainer


@pytest.fixture(scope="module")
def sets(faces: ImageSet) -> tuple[Tensor, Tensor]:
    """Real images, and other images of the same people that serve as perfect samples."""
    return to_float(faces.validation[:]), to_float(faces.train[::4])


def test_perfect_output_scores_near_1(sets: tuple[Tensor, Tensor]) -> None:
    real, samples = sets
    card = score_images(real, real, samples)
    assert card.score > 0.97
    assert card.reconstruction == card.informativeness == 1


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)
@pytest.mark.parametrize("target", ["reconstructions", "samples", "both"])
def test_score_falls_with_the_strength_of_every_failure(
    sets: tuple[Tensor, Tensor], failure: Failure, target: str
) -> None:
    if failure.target == "both":
        failure = replace(failure, target=target)
    found = [card.score for card in cards(failure, *sets, seed=0)]
    shuffled_samples = failure.target == "samples" and "shuffled" in failure.name
    compared = found[:2] if shuffled_samples else found  # 2x2 blocks leave no structure that could fall further
    assert all(a > b for a, b in pairwise(compared)), found


@pytest.mark.parametrize(
    ("size", "channels"), [(16, 1), (16, 3), (64, 3), (128, 1), pytest.param(256, 1, marks=pytest.mark.slow)]
)
def test_score_falls_with_every_failure_for_16_images_of_any_size(size: int, channels: int) -> None:
    data = load_images("orl-faces", size, channels)
    sets = halves(torch.cat([data.train[::10], data.validation[::10]]), 16, seed=0)
    for failure in FAILURES:
        found = [card.score for card in cards(failure, *sets, seed=0)]
        assert all(a > b for a, b in pairwise(found)), (failure.name, found)


def test_blur_does_not_hide_noise_of_the_same_laplacian_variance(sets: tuple[Tensor, Tensor]) -> None:
    real, _ = sets
    g = torch.Generator().manual_seed(0)
    fakes = [blurred_noise(real, sigma / 1000, g) for sigma in range(5, 80, 5)]
    likest = min(fakes, key=lambda x: abs(laplacian_variance(x) / laplacian_variance(real) - 1))
    assert laplacian_variance(likest) / laplacian_variance(real) == pytest.approx(1, abs=0.15)
    assert shared_energy(edge_energy(likest).mean(0), edge_energy(real).mean(0)) < 0.75


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_black_images_and_values_that_are_not_finite_score_0(sets: tuple[Tensor, Tensor], value: float) -> None:
    real, samples = sets
    bad = torch.full_like(real, value)
    assert score_images(real, bad, samples).score == 0
    assert score_images(real, real, bad).score == 0
    one_pixel = real.clone()
    one_pixel[3, 0, 5, 5] = math.nan
    nothing = Scores(score=0, stderr=0, **dict.fromkeys(PARTS, 0))
    assert score_images(real, one_pixel, samples) == score_images(one_pixel, real, samples) == nothing


@pytest.mark.parametrize("images", [
    torch.rand(4, 16, 16), torch.rand(4, 1, 4, 4), torch.zeros(4, 1, 16, 16, dtype=torch.uint8),
])  # fmt: skip
def test_what_is_not_a_batch_of_float_images_is_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match="images are float tensors"):
        score_images(images, images, images)


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


def test_standard_error_is_the_spread_over_sets_of_images(faces: ImageSet) -> None:
    whole = torch.cat([faces.train[:], faces.validation[:]])
    for spoil in (lambda x: x, lambda x: 0.6 * x + 0.4 * x.mean(0)):
        found = [
            score_images(real, spoil(real), spoil(others)) for real, others in (halves(whole, 60, s) for s in range(12))
        ]
        spread = np.std([card.score for card in found], ddof=1)
        assert 0.4 < np.mean([card.stderr for card in found]) / spread < 2.5


def test_standard_error_falls_with_the_number_of_images(faces: ImageSet) -> None:
    whole = torch.cat([faces.train[:], faces.validation[:]])
    spoilt = [
        (real, 0.6 * real + 0.4 * real.mean(0), others) for real, others in (halves(whole, n, 0) for n in (16, 200))
    ]
    few, many = (score_images(*images).stderr for images in spoilt)
    assert 0 < many < few


def test_weights_decide_which_parts_count(sets: tuple[Tensor, Tensor]) -> None:
    parts = {"reconstruction": 0.9, "sharpness": 0.4, "structure": 0.8, "diversity": 0.0, "informativeness": 1.0}
    assert weighted(parts, weights_of("sharpness")) == pytest.approx(0.4)
    assert weighted(parts, weights_of("sharpness=1,structure=3")) == pytest.approx((0.4 * 0.8**3) ** 0.25)
    assert weighted(parts, weights_of("diversity,structure")) == 0
    card = score_images(sets[0], blurred_noise(sets[0], 0.01, torch.Generator()), sets[1])
    assert weighted(vars(card), weights_of("score")) == pytest.approx(card.score)


@pytest.mark.parametrize(
    "text", ["", "sharp", "score=2", "structure=0", "structure=-1", "structure=x", "structure=inf"]
)
def test_only_parts_can_be_optimized(text: str) -> None:
    with pytest.raises(UserError, match=r"cannot optimize .*; give score, or parts .*: reconstruction, sharpness"):
        weights_of(text)


def test_a_run_is_scored_from_its_folder(trained: Trainer, small_faces: ImageSet, tmp_path: Path) -> None:
    real = scored_images(small_faces)
    shown = outputs_of(trained.evaluated, real)
    assert score_run(trained.folder) == score_images(real, shown.reconstructions, shown.samples)
    with pytest.raises(UserError, match="cannot read"):
        score_run(tmp_path / "nothing")
