"""Structure and diversity of samples against real images."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import spoiling
import torch
from helpers import blurred
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from score import halves

from analysis.measures.features import features
from analysis.measures.neighbors import NEIGHBORS, SCALE, Pairs, blurred_like, diversity, structure
from analysis.measures.sharpness import laplacian_variance, power_spectrum
from introvae.data.image_set import ImageSet, load_images, to_float

SETS = st.tuples(st.integers(1, 5), st.just(1), st.just(8), st.just(8))
IMAGES = hnp.arrays(np.float32, SETS, elements=st.floats(0, 1, width=32))
NOTHING = torch.Generator()  # for what draws nothing


@pytest.fixture(scope="module")
def sets(faces: ImageSet) -> tuple[torch.Tensor, torch.Tensor]:
    """80 real images, and 80 others of the same people."""
    real, pool = halves(torch.cat([faces.train[:], faces.validation[:], faces.test[:]]), 80, seed=0)
    return real, pool[:80]


def of_points(
    real: np.ndarray, samples: np.ndarray, real_quarters: np.ndarray | None = None, quarters: np.ndarray | None = None
) -> Pairs:
    """Compute pairs of points (N, D), by loops; those of quarters are others if they are given."""
    c, d = real if real_quarters is None else real_quarters, samples if quarters is None else quarters

    def kernel(x: np.ndarray, y: np.ndarray) -> torch.Tensor:
        return torch.tensor([[(float(a @ b) / len(a) + 1) ** 3 for b in y] for a in x], dtype=torch.float64)

    def distance(x: np.ndarray, y: np.ndarray) -> torch.Tensor:
        return torch.tensor([[float(np.linalg.norm(a - b)) for b in y] for a in x], dtype=torch.float64)

    return Pairs(
        real=kernel(real, real), samples=kernel(samples, samples), between=kernel(samples, real),
        real_distance=distance(real, real), samples_distance=distance(samples, samples),
        distance=distance(samples, real), real_nearest=distance(c, c).fill_diagonal_(torch.inf).amin(1),
        nearest=distance(d, c).amin(1),
    )  # fmt: skip


def discrepancy(pairs: Pairs) -> float:
    """Sum the unbiased estimate term by term."""
    real, samples, between = (x.numpy() for x in (pairs.real, pairs.samples, pairs.between))
    n, m = len(real), len(samples)
    among_real = sum(real[i, j] for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    among_samples = sum(samples[i, j] for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return among_real + among_samples - 2 * sum(between[i, j] for i in range(m) for j in range(n)) / (m * n)


def chance(pairs: Pairs) -> float:
    """Return the discrepancy's standard error for samples that are real images, by the second moment of the kernel."""
    kernel, n, m = pairs.real.numpy(), len(pairs.real), len(pairs.samples)
    middle = np.eye(n) - 1 / n
    centered = middle @ kernel @ middle
    square = sum(centered[i, j] ** 2 for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return (1 / n + 1 / m) * math.sqrt(2 * square)


def nearness(pairs: Pairs) -> float:
    return min(1.0, np.mean(pairs.real_nearest.tolist()) / np.mean(pairs.nearest.tolist()))


def likeness(pairs: Pairs) -> float:
    return nearness(pairs) / (1 + math.log(1 + max(0.0, discrepancy(pairs) - 3 * chance(pairs)) / SCALE))


def variety(pairs: Pairs) -> float:
    """Compute soft coverage and distinctness image by image."""
    real, samples, between = (x.numpy() for x in (pairs.real_distance, pairs.samples_distance, pairs.distance))
    n = len(real)
    covered = 0.0
    for i in range(n):
        radius = sorted(real[i])[min(NEIGHBORS, n - 1)]
        covered += min(1.0, radius / min(between[:, i])) / n
    expected = 1 - math.comb(n - 1, NEIGHBORS) / math.comb(n + len(samples) - 1, NEIGHBORS)
    own, usual = (np.array([sorted(row)[1] for row in x]) for x in (samples, real))
    typical = sorted(usual)[(n - 1) // 2]
    distinct = np.minimum(1, own / typical).mean() / np.minimum(1, usual / typical).mean()
    return math.sqrt(min(1.0, covered / expected) * min(1.0, distinct))


@pytest.mark.parametrize(("n", "m"), [(16, 16), (12, 9), (7, 20)])
@pytest.mark.parametrize("shift", [0, 0.5, 2])
def test_structure_and_diversity_equal_their_formulas(n: int, m: int, shift: float) -> None:
    draws = np.random.default_rng(0)
    real, samples = draws.normal(size=(n, 6)), draws.normal(shift, 1.5, size=(m, 6))
    pairs = of_points(real, samples, draws.normal(size=(n, 4)), draws.normal(shift, 1, size=(m, 4)))
    assert structure(pairs) == pytest.approx(likeness(pairs))
    assert diversity(pairs) == pytest.approx(variety(pairs))


def test_pairs_are_those_of_features_in_units_of_their_deviation(sets: tuple[torch.Tensor, torch.Tensor]) -> None:
    real, samples = (x[:12] for x in sets)
    points: list[np.ndarray] = []
    for pair in zip(features(blurred_like(real, samples)), features(samples), strict=True):
        a, b = (x.numpy() for x in pair)
        deviation = a.std(0)
        scale = np.maximum(deviation, 0.1 * deviation.mean())
        points += (a - a.mean(0)) / scale, (b - a.mean(0)) / scale
    found, expected = Pairs.of(real, samples), of_points(*points)
    for name, value in vars(expected).items():
        torch.testing.assert_close(getattr(found, name), value, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("n", "m"), [(12, 12), (10, 20), (16, 5)])
def test_coverage_of_other_draws_is_as_expected(n: int, m: int) -> None:
    """A ball is missed if the five nearest of the n - 1 other real images and m samples are all real ones."""
    draws, reached = np.random.default_rng(0), []
    for _ in range(1500):
        real, samples = draws.normal(size=(n, 3)), draws.normal(size=(m, 3))
        radius = np.sort(np.linalg.norm(real[:, None] - real, axis=2), 1)[:, NEIGHBORS]
        reached.append((np.linalg.norm(real[:, None] - samples, axis=2).min(1) <= radius).mean())
    expected = 1 - math.comb(n - 1, NEIGHBORS) / math.comb(n + m - 1, NEIGHBORS)
    assert np.mean(reached) == pytest.approx(expected, abs=4 * np.std(reached) / len(reached) ** 0.5)
    found = [diversity(of_points(draws.normal(size=(n, 3)), draws.normal(size=(m, 3)))) for _ in range(100)]
    assert 0.9 < np.mean(found) <= 1


def test_the_discrepancy_of_other_draws_is_rarely_above_its_allowance() -> None:
    draws = np.random.default_rng(0)
    pairs = [of_points(*draws.normal(size=(2, 20, 8))) for _ in range(60)]
    assert np.mean([structure(x) == pytest.approx(nearness(x)) for x in pairs]) > 0.9
    assert np.mean([nearness(x) for x in pairs]) > 0.9


@pytest.mark.parametrize("sigma", [0, 1, 2])
def test_other_real_images_have_structure_and_diversity_however_blurred(
    sets: tuple[torch.Tensor, torch.Tensor], sigma: float
) -> None:
    real, others = sets
    pairs = Pairs.of(real, blurred(others, sigma))
    assert structure(pairs) > 0.7 and diversity(pairs) > 0.9


WRONG: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "two averaged": lambda x: spoiling.double(x, 1, NOTHING),
    "two averaged, with contrast": lambda x: spoiling.double(x, 1.4, NOTHING),
    "4x4 shuffled": lambda x: spoiling.shuffled(x, 4, torch.Generator().manual_seed(0)),
    "8x8 shuffled": lambda x: spoiling.shuffled(x, 8, torch.Generator().manual_seed(0)),
    "upside down": lambda x: x.flip(-2),
    "plaid": lambda x: spoiling.plaid(x, 0.1, torch.Generator().manual_seed(0)),
    "noise": lambda x: torch.rand(x.shape, generator=torch.Generator().manual_seed(0)),
}


@pytest.mark.parametrize("spoil", WRONG.values(), ids=WRONG)
def test_what_no_real_image_shows_has_no_structure(
    sets: tuple[torch.Tensor, torch.Tensor], spoil: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    real, others = sets
    assert structure(Pairs.of(real, spoil(others))) < 0.5 * structure(Pairs.of(real, others))


def test_samples_that_each_have_a_copy_have_no_diversity(sets: tuple[torch.Tensor, torch.Tensor]) -> None:
    real, others = sets
    assert diversity(Pairs.of(real, others.repeat(2, 1, 1, 1))) < 1e-2
    assert diversity(Pairs.of(real, others[:1].expand_as(others))) < 1e-2


def test_diversity_falls_with_the_share_of_equal_samples(sets: tuple[torch.Tensor, torch.Tensor]) -> None:
    real, others = sets
    values = []
    for count in (0, 10, 30, 50, 70, 80):
        samples = others.clone()
        samples[:count] = others[-1]
        values.append(diversity(Pairs.of(real, samples)))
    assert values == sorted(values, reverse=True) and len(set(values)) == len(values)


def test_rows_that_are_kept_are_the_pairs_of_those_images(sets: tuple[torch.Tensor, torch.Tensor]) -> None:
    rows, columns = torch.arange(5, 60), torch.arange(0, 70, 2)
    pairs = Pairs.of(*sets)
    kept = pairs.keep(rows, columns)
    parts = {
        (rows, rows): ("real", "real_distance"),
        (columns, columns): ("samples", "samples_distance"),
        (columns, rows): ("between", "distance"),
    }
    assert torch.equal(kept.real_nearest, pairs.real_nearest[rows])
    assert torch.equal(kept.nearest, pairs.nearest[columns])
    for (x, y), names in parts.items():
        for name in names:
            assert torch.equal(getattr(kept, name), getattr(pairs, name)[x][:, y])


def relative_error(images: torch.Tensor) -> np.ndarray:
    """Return the standard error of the power spectrum, relative to it."""
    powers = np.stack([power_spectrum(image[None]).numpy() for image in images])
    return powers.std(0) / powers.mean(0) / len(powers) ** 0.5


@pytest.mark.parametrize("data", ["orl-faces", "mnist-5k"])
def test_other_real_images_are_as_sharp(data: str) -> None:
    """Chance alone blurs nothing: digits, on black, would otherwise ring, and differ by that."""
    images = load_images(data, 32)
    for seed in range(2):
        real, pool = halves(torch.cat([images.train[:500], images.validation[:], images.test[:]]), 80, seed)
        torch.testing.assert_close(blurred_like(real, pool[:80]), real, rtol=0, atol=0.02)
        assert structure(Pairs.of(real, pool[:80])) > 0.7


@pytest.mark.parametrize(("size", "channels"), [(32, 1), (64, 3)])
@pytest.mark.parametrize("sigma", [1, 2])
def test_real_images_get_the_sharpness_of_blurred_ones(size: int, channels: int, sigma: float) -> None:
    """Power agrees, but for two standard errors, where a third is left; fainter, gains differ much within a radius."""
    real = to_float(load_images("orl-faces", size, channels).validation[:])
    samples = blurred(real, sigma)
    found = blurred_like(real, samples)
    power, wanted, sharp = (power_spectrum(x).numpy() for x in (found, samples, real))
    left = wanted > sharp / 3
    assert left.sum() >= 3
    allowed = 1 + 2 * np.hypot(relative_error(samples), relative_error(real))
    np.testing.assert_array_less(0.9 * wanted[left], power[left])
    np.testing.assert_array_less(power[left], 1.1 * (allowed * wanted)[left])
    assert 0.65 < laplacian_variance(found) / laplacian_variance(samples) < 1.35 * allowed.max()
    assert laplacian_variance(samples) < 0.2 * laplacian_variance(real)
    assert found.shape == real.shape and found.dtype == real.dtype
    assert found.min() >= 0 and found.max() <= 1


def test_sharper_samples_change_nothing(sets: tuple[torch.Tensor, torch.Tensor]) -> None:
    real, _ = sets
    for samples in (real, spoiling.sharpened(real, 1, NOTHING), 2 * real):
        torch.testing.assert_close(blurred_like(real, samples), real, rtol=0, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 9, 33, 256])
def test_images_of_any_size_have_structure_and_diversity(size: int, channels: int) -> None:
    real, samples = torch.rand(2, 4, channels, size, size, generator=torch.Generator().manual_seed(0))
    pairs = Pairs.of(real, samples)
    assert 0 <= structure(pairs) <= 1 and 0 <= diversity(pairs) <= 1
    assert structure(Pairs.of(real, real)) == 1


@pytest.mark.parametrize("n", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("m", [1, 2, 16])
def test_any_number_of_images_has_structure_and_diversity(n: int, m: int, real: torch.Tensor) -> None:
    pairs = Pairs.of(real[:n], real[-m:])
    assert 0 <= structure(pairs) <= 1 and 0 <= diversity(pairs) <= 1


def test_images_that_are_all_alike_have_no_diversity_but_where_real_ones_are(real: torch.Tensor) -> None:
    flat = torch.full_like(real[:6], 0.5)
    for a, b in ((flat, flat), (flat, real[:6]), (real[:6], flat)):
        pairs = Pairs.of(a, b)
        assert 0 <= structure(pairs) <= 1 and 0 <= diversity(pairs) <= 1
    assert structure(Pairs.of(flat, flat)) == 1 and diversity(Pairs.of(real[:6], flat)) < 1e-2


@settings(max_examples=25)
@given(IMAGES, IMAGES)
def test_structure_and_diversity_are_in_range_in_any_order(a: np.ndarray, b: np.ndarray) -> None:
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    pairs, turned = Pairs.of(x, y), Pairs.of(x.flip(0), y.flip(0))
    for measure in (structure, diversity):
        assert 0 <= measure(pairs) <= 1
        assert measure(turned) == pytest.approx(measure(pairs), rel=1e-3, abs=1e-3)
