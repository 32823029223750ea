"""Structure and diversity of samples against real images."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import cdist

from analysis.measures.neighbors import Pairs, diversity, structure
from introvae.data.image_set import ImageSet, to_float

IMAGES = hnp.arrays(np.float64, st.tuples(st.integers(2, 6), st.just(1), st.just(16), st.just(16)),
                    elements=st.floats(0, 1))  # fmt: skip


@pytest.fixture(scope="module")
def real(faces: ImageSet) -> torch.Tensor:
    return to_float(faces.validation[:])


@pytest.fixture(scope="module")
def others(faces: ImageSet) -> torch.Tensor:
    return to_float(faces.train[::4])


def written_out(real: np.ndarray, samples: np.ndarray) -> tuple[float, float]:
    """Compute structure and diversity of gray 16 px images from their formulas, loop by loop."""

    def pooled(images: np.ndarray, side: int) -> np.ndarray:
        step = images.shape[-1] // side
        return images[:, 0].reshape(len(images), side, step, side, step).mean((2, 4))

    def doubled(image: np.ndarray) -> np.ndarray:
        """Enlarge bilinearly from 8 to 16 px: each new pixel lies a quarter of an old one off a center."""
        at = np.clip((np.arange(16) + 0.5) / 2 - 0.5, 0, 7)
        low, share = np.minimum(at.astype(int), 6), at - np.minimum(at.astype(int), 6)
        weights = np.zeros((16, 8))
        weights[np.arange(16), low] = 1 - share
        weights[np.arange(16), low + 1] += share
        return weights @ image @ weights.T

    def relative(values: list[float], own: list[float]) -> float:
        error = np.std(own) * np.sqrt(1 / len(values) + 1 / len(own))
        return min(1.0, np.mean(values) / (np.mean(own) - 2 * error))

    def inside(points: np.ndarray, centers: np.ndarray, skip_own: bool = False) -> list[float]:
        found = []
        for i, point in enumerate(points):
            best = 0.0
            for j, center in enumerate(centers):
                if not (skip_own and i == j):
                    radius = np.sort(np.linalg.norm(centers - center, axis=1))[3]
                    best = max(best, min(1.0, radius / np.linalg.norm(point - center)) ** 8)
            found.append(best)
        return found

    sides = {side: (pooled(real, side).reshape(len(real), -1), pooled(samples, side).reshape(len(samples), -1))
             for side in (8, 16)}  # fmt: skip
    x, y = sides[8]
    precision = relative(inside(y, x), inside(x, x, True))
    details = []
    for images in (real, samples):
        fine, coarse = pooled(images, 16), pooled(images, 8)
        detail = np.stack([f - doubled(c) for f, c in zip(fine, coarse, strict=True)]).reshape(len(images), -1)
        details.append(detail / np.linalg.norm(detail, axis=1, keepdims=True))
    cosines, own = details[1] @ details[0].T, details[0] @ details[0].T
    np.fill_diagonal(own, -1)
    likeness = relative(list(cosines.max(1)), list(own.max(1))) ** 16
    varieties = []
    for x, y in sides.values():
        apart, expected = (np.sort(cdist(z, z), 1)[:, 1] for z in (y, x))
        typical = np.sort(expected)[(len(expected) - 1) // 2]
        ratio = np.mean(np.minimum(1, apart / typical)) / np.mean(np.minimum(1, expected / typical))
        varieties.append(np.mean(inside(x, y)) * min(1, ratio))
    return float(precision * likeness), float(np.prod(varieties) ** 0.25)


def test_structure_and_diversity_equal_their_formulas(small_faces: ImageSet) -> None:
    """Values agree to 1e-6 in float64, as distances from matrix products keep half the digits."""
    real = to_float(small_faces.validation[:12]).double()
    for samples in (to_float(small_faces.train[::31]).double(), torch.rand(9, 1, 16, 16).double()):
        pairs = Pairs.of(real, samples)
        expected = written_out(real.numpy(), samples.numpy())
        assert (structure(pairs), diversity(pairs)) == pytest.approx(expected, rel=1e-6)


def test_other_real_images_have_structure_and_diversity(real: torch.Tensor, others: torch.Tensor) -> None:
    itself = Pairs.of(real, real)
    assert structure(itself) == 1 and diversity(itself) == pytest.approx(1)
    pairs = Pairs.of(real, others)
    assert structure(pairs) > 0.95 and diversity(pairs) > 0.95


def test_one_face_repeated_has_structure_without_diversity(real: torch.Tensor, others: torch.Tensor) -> None:
    pairs = Pairs.of(real, others[:1].expand_as(others))
    assert structure(pairs) > 0.8
    assert diversity(pairs) < 1e-6


def test_noise_has_no_structure(real: torch.Tensor) -> None:
    noise = torch.rand(real.shape, generator=torch.Generator().manual_seed(0))
    assert structure(Pairs.of(real, noise)) < 0.05


def test_diversity_falls_with_the_share_of_equal_samples(real: torch.Tensor, others: torch.Tensor) -> None:
    values = []
    for count in (0, 10, 30, 50, 70, 80):
        samples = others.clone()
        samples[:count] = others[-1]
        values.append(diversity(Pairs.of(real, samples)))
    assert values == sorted(values, reverse=True) and len(set(values)) == len(values)


def test_rows_that_are_kept_give_the_same_as_those_images_alone(real: torch.Tensor, others: torch.Tensor) -> None:
    rows, columns = torch.arange(5, 60), torch.arange(0, 70, 2)
    kept, fresh = Pairs.of(real, others).keep(rows, columns), Pairs.of(real[rows], others[columns])
    assert structure(kept) == pytest.approx(structure(fresh))
    assert diversity(kept) == pytest.approx(diversity(fresh), rel=1e-6)


@given(IMAGES, IMAGES)
def test_structure_and_diversity_are_in_range_in_any_order(a: np.ndarray, b: np.ndarray) -> None:
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    pairs, turned = Pairs.of(x, y), Pairs.of(x.flip(0), y.flip(0))
    for measure in (structure, diversity):
        assert 0 <= measure(pairs) <= 1
        assert measure(turned) == pytest.approx(measure(pairs), rel=1e-4, abs=1e-4)
    assert structure(Pairs.of(x, x)) == pytest.approx(1)
