"""The score, which falls with every known failure."""

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import score
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from score import BLUR, COPIES, FAILURES, Failure, cards, copies_change_nothing, halves
from spoiling import blurred_noise, jpeg
from torch import Tensor

from analysis.evaluate import score_run
from analysis.measures.features import local_features
from analysis.measures.score import score_images, weighted, weights_of
from analysis.outputs import outputs_of, scored_images
from introvae.data.image_set import ImageSet, load_images
from introvae.errors import UserError
from introvae.runs.record import PARTS, Scores
from introvae.training.trainer import Trainer

GRAY = [failure for failure in FAILURES if not failure.colored]
Sets = list[tuple[Tensor, Tensor]]  # of real images and all others, for each seed


def drawn(data: ImageSet, images: int, seeds: int) -> Sets:
    whole = torch.cat([data.train[:], data.validation[:], data.test[:]])
    return [halves(whole, images, seed) for seed in range(seeds)]


@pytest.fixture(scope="module")
def draws(faces: ImageSet) -> Sets:
    """80 real faces and 320 others of the same people, three times."""
    return drawn(faces, 80, 3)


@pytest.fixture(scope="module")
def sets(draws: Sets) -> tuple[Tensor, Tensor]:
    """Real images, and as many others that serve as perfect samples."""
    real, pool = draws[0]
    return real, pool[: len(real)]


@pytest.fixture(scope="module", autouse=True)
def known() -> Iterator[dict[bytes, Scores]]:
    """Scores of the benchmark's functions by their images: each is computed once."""
    scores: dict[bytes, Scores] = {}

    def once(*images: Tensor) -> Scores:
        digest = hashlib.sha256()
        for x in images:
            digest.update(str(x.shape).encode() + x.contiguous().numpy().tobytes())
        key = digest.digest()
        if key not in scores:
            scores[key] = score_images(*images)
        return scores[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score, "score_images", once)
        yield scores


@pytest.fixture(scope="module")
def blur(draws: Sets) -> float:
    """The score of a blur of sigma 1 px."""
    return cards(BLUR, *draws[0], seed=0)[2].score


def test_perfect_output_scores_near_1(draws: Sets) -> None:
    for real, pool in draws:
        card = score_images(real, real, pool[:80])
        assert card.score > 0.95
        assert card.reconstruction == card.informativeness == 1


def test_reconstruction_compares_details_with_their_variance(sets: tuple[Tensor, Tensor]) -> None:
    real, others = sets
    noisy = (real + 0.05 * torch.randn(real.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    x, y = (local_features(images).flatten(1) for images in (real, noisy))
    deviation = x.std(0, correction=0)
    scale = deviation.clamp(min=0.1 * deviation.mean())
    error = ((y - x) / scale).square().sum() / ((x - x.mean(0)) / scale).square().sum()
    assert score_images(real, noisy, others).reconstruction == pytest.approx(math.exp(-error / 2))
    assert score_images(real, others, others).reconstruction < 0.5


@pytest.mark.parametrize("failure", GRAY, ids=lambda failure: failure.name)
def test_score_falls_with_every_failure(draws: Sets, blur: float, failure: Failure) -> None:
    intact, worst = [card.score for card in cards(replace(failure, steps=failure.steps[-1:]), *draws[0], seed=0)]
    assert worst < intact and (worst < blur or not failure.below), (intact, worst, blur)


@pytest.mark.slow
@pytest.mark.parametrize("failure", GRAY, ids=lambda failure: failure.name)
def test_score_falls_as_every_failure_grows(draws: Sets, blur: float, failure: Failure) -> None:
    found = [card.score for card in cards(failure, *draws[0], seed=0)]
    assert all(a > b for a, b in pairwise(found)), found
    assert found[-1] < blur or not failure.below, (found, blur)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.05, 0.1, 0.2])  # half of 80 would leave too few faces
def test_copies_among_the_real_images_change_nothing(draws: Sets, share: float) -> None:
    without, copied, error = copies_change_nothing(draws, share)
    assert abs(copied - without) <= min(2 * error, 0.05), (without, copied, error)


@pytest.mark.parametrize("change", [lambda x: x.flip(-1), lambda x: jpeg(x, 90, torch.Generator())])
def test_mirrored_and_compressed_copies_count_once(draws: Sets, change: Callable[[Tensor], Tensor]) -> None:
    real, pool = draws[0]
    copied = torch.cat([real[:64], change(real[:16])])
    assert score_images(copied, copied, pool[:80]) == score_images(real[:64], real[:64], pool[:80])


@pytest.mark.slow
@pytest.mark.parametrize(("size", "channels"), [(64, 1), (64, 3)])
def test_score_falls_with_every_failure_of_larger_images_and_in_color(size: int, channels: int) -> None:
    found = drawn(load_images("orl-faces", size, channels), 80, 1)[0]
    if channels == 3:  # ORL's faces are gray: each gets a tint of its own
        g = torch.Generator().manual_seed(0)
        real, pool = (x * (1 - 0.4 * torch.rand(len(x), 3, 1, 1, generator=g)) for x in found)
        found = real, pool
    blur = cards(BLUR, *found, seed=0)[2].score
    for failure in FAILURES if channels == 3 else GRAY:
        if channels == 3 and failure.target == "pool":
            continue  # the first component is the tint, of which half a range is no missing kind of face
        values = [card.score for card in cards(failure, *found, seed=0)]
        assert all(a > b for a, b in pairwise(values)), (failure.name, values)
        assert values[-1] < blur or not failure.below, (failure.name, values, blur)


@pytest.mark.slow
def test_copies_of_half_of_the_images_change_nothing(faces: ImageSet) -> None:
    sets = drawn(faces, 160, 3)
    for share in COPIES:
        without, copied, error = copies_change_nothing(sets, share)
        assert abs(copied - without) <= min(2 * error, 0.05), (share, without, copied, error)


def test_a_score_of_80_small_images_takes_no_longer_than_a_rung_may(sets: tuple[Tensor, Tensor]) -> None:
    """Process time, which other processes hardly lengthen; the network is loaded before."""
    real, samples = sets
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        score_images(real[:8], real[:8], samples[:8])
        start = time.process_time()
        score_images(real, real, samples)
        assert time.process_time() - start < 1.5
    finally:
        torch.set_num_threads(threads)


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
    torch.rand(4, 1, 16, 24), torch.rand(4, 1, 24, 16), torch.rand(4, 2, 16, 16), torch.rand(4, 4, 16, 16),
])  # fmt: skip
def test_what_is_not_a_batch_of_float_images_is_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match="images are float tensors"):
        score_images(images, images, images)


@pytest.mark.parametrize("images", [torch.zeros(5, 1, 16, 16), torch.full((5, 3, 16, 16), 0.5)])
def test_images_that_are_all_alike_have_a_score(images: Tensor) -> None:
    assert all(0 <= value <= 1 for value in astuple(score_images(images, images, images)))


@pytest.mark.parametrize("count", [1, 2, 16])
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 33)])
def test_any_number_of_images_has_a_score(count: int, channels: int, size: int) -> None:
    real, samples = torch.rand(2, count, channels, size, size, generator=torch.Generator().manual_seed(0))
    for a, b in ((real, samples), (real[:1], samples), (real, samples[:1])):
        assert all(0 <= value <= 1 for value in astuple(score_images(a, a, b)))


def test_large_images_have_a_score() -> None:
    real, samples = torch.rand(2, 2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    assert all(0 <= value <= 1 for value in astuple(score_images(real, real, samples)))


@settings(max_examples=25)
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


def test_what_is_no_image_is_refused(sets: tuple[Tensor, Tensor]) -> None:
    """Images in [0, 255] or [-1, 1] would have a score, which says nothing."""
    real, samples = sets
    for scale, shift in ((255, 0), (2, -1)):
        with pytest.raises(ValueError, match=r"^values run from .*; images are float in \[0, 1\]$"):
            score_images(*(scale * images + shift for images in (real, real, samples)))
    rounded = real / real.max() + 1e-6
    assert rounded.max() > 1 and score_images(rounded, rounded, samples).score > 0.5
    others: list[Any] = [[real], real.numpy(), real[0, 0, 0, 0], (255 * real).byte()]
    for images in others:
        with pytest.raises(ValueError, match=r"^images are float tensors \(N, C, S, S\), gray or RGB, of 8 px"):
            score_images(images, images, images)


@pytest.mark.slow
def test_standard_error_is_the_spread_over_sets_of_images(faces: ImageSet) -> None:
    for spoil in (lambda x: x, lambda x: 0.6 * x + 0.4 * x.mean(0)):
        found = [score_images(real, spoil(real), spoil(pool[:60])) for real, pool in drawn(faces, 60, 12)]
        spread = np.std([card.score for card in found], ddof=1)
        assert 0.4 < np.mean([card.stderr for card in found]) / spread < 2.5


def test_standard_error_falls_with_the_number_of_images(faces: ImageSet) -> None:
    few, many = (
        score_images(real, 0.6 * real + 0.4 * real.mean(0), 0.6 * pool[:n] + 0.4 * pool[:n].mean(0)).stderr
        for n in (16, 200)
        for real, pool in drawn(faces, n, 1)
    )
    assert 0 < many < few


def test_weights_decide_which_parts_count(sets: tuple[Tensor, Tensor]) -> None:
    parts = {"reconstruction": 0.9, "sharpness": 0.4, "structure": 0.8, "diversity": 0.0, "informativeness": 1.0}
    assert weighted(parts, weights_of("sharpness")) == pytest.approx(0.4)
    assert weighted(parts, weights_of("sharpness=1,structure=3")) == pytest.approx((0.4 * 0.8**3) ** 0.25)
    assert weighted(parts, weights_of("diversity,structure")) == 0
    for extreme in ("1e308", "5e-324"):
        text = f"sharpness={extreme},structure={extreme}"
        assert weighted(parts, weights_of(text)) == pytest.approx((0.4 * 0.8) ** 0.5)
    assert weighted(parts, weights_of("sharpness=1e308,diversity=5e-324")) == pytest.approx(0.4)
    card = score_images(sets[0], blurred_noise(sets[0], 0.01, torch.Generator()), sets[1])
    assert weighted(vars(card), weights_of("score")) == pytest.approx(card.score)


@pytest.mark.parametrize(
    "text",
    ["", "sharp", "score=2", "structure=0", "structure=-1", "structure=x", "structure=inf", "structure,structure=2"],
)
def test_only_parts_can_be_optimized(text: str) -> None:
    with pytest.raises(UserError, match=r"cannot optimize .*; give score, or parts .*: reconstruction, sharpness"):
        weights_of(text)


def test_a_run_is_scored_from_its_folder(trained: Trainer, small_faces: ImageSet, tmp_path: Path) -> None:
    real = scored_images(small_faces)
    shown = outputs_of(trained.evaluated, real)
    assert score_run(trained.folder) == score_images(real, shown.reconstructions, shown.samples)
    with pytest.raises(UserError, match="there is no run"):
        score_run(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"^on is 'train'; allowed: validation, test$"):
        score_run(trained.folder, on="train")  # type: ignore[arg-type]
