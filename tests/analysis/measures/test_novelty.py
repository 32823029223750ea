"""Variety and novelty against their formulas, and the invariants of each measure."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial import KDTree
from skimage.measure import block_reduce

from analysis.measures.novelty import ms_ssim_among, nearest_distances, nearest_training, variance_ratio
from analysis.measures.reconstruction import ms_ssim
from introvae.data.image_set import ImageSet, to_float
from introvae.data.pixel_cache import ImageRows

IMAGES = hnp.arrays(np.float64, (3, 1, 16, 16), elements=st.floats(0, 1))


def test_variance_ratio_of_known_sets(real: torch.Tensor) -> None:
    assert variance_ratio(real, real) == 1
    assert variance_ratio(real, real[:1].expand_as(real)) == pytest.approx(0, abs=1e-9)
    centered = real.mean(0) + (real - real.mean(0)) / 2
    assert variance_ratio(real, centered) == pytest.approx(0.25, rel=1e-4)
    assert variance_ratio(real[:1], real[:1]) == 1


def averaged(images: torch.Tensor, side: int) -> np.ndarray:
    factor = images.shape[-1] // side
    return block_reduce(images.double().numpy(), (1, 1, factor, factor), np.mean)


@given(IMAGES, IMAGES, st.floats(0.1, 1))
def test_variance_ratio_is_the_ratio_of_total_variances(a: np.ndarray, b: np.ndarray, contrast: float) -> None:
    total, other = a.var(0).sum(), b.var(0).sum()
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    if total > 1e-6:
        assert variance_ratio(x, y) == pytest.approx(other / total, rel=1e-9)
        assert variance_ratio(x, contrast * x) == pytest.approx(contrast**2)


def test_ms_ssim_among_images_is_the_mean_over_pairs(real: torch.Tensor) -> None:
    assert ms_ssim_among(real[:2]) == pytest.approx(ms_ssim(real[:1], real[1:2]), abs=1e-12)
    pairs = [ms_ssim(real[[i]], real[[j]]) for i in range(12) for j in range(i)]
    found = ms_ssim_among(real[:12])
    assert min(pairs) < found < max(pairs) and found == pytest.approx(np.mean(pairs), abs=0.1)
    with pytest.raises(ValueError, match="1 images make no pair"):
        ms_ssim_among(real[:1])


def test_ms_ssim_among_images_rises_as_they_become_alike(real: torch.Tensor) -> None:
    towards = [(1 - share) * real + share * real.mean(0) for share in (0, 0.3, 0.6, 0.9, 1)]
    values = [ms_ssim_among(x) for x in towards]
    assert all(a < b for a, b in pairwise(values)) and values[-1] == pytest.approx(1)


@given(hnp.arrays(np.float64, (4, 1, 16, 16), elements=st.floats(0, 1)))
def test_ms_ssim_among_is_in_range(images: np.ndarray) -> None:
    assert 0 <= ms_ssim_among(torch.from_numpy(images)) <= 1 + 1e-9


@pytest.mark.parametrize("side", [16, 32])
def test_nearest_distances_equal_scipy(faces: ImageSet, small_faces: ImageSet, side: int) -> None:
    images = faces if side == 32 else small_faces
    points = averaged(to_float(images.validation[:]), 16).reshape(80, -1)
    train = averaged(to_float(images.train[:]), 16)
    expected, _ = KDTree(np.concatenate([train, train[..., ::-1]]).reshape(480, -1)).query(points)
    np.testing.assert_allclose(nearest_distances(to_float(images.validation[:]), images.train), expected, rtol=1e-5)


def test_training_images_as_samples_are_found_out(faces: ImageSet, real: torch.Tensor) -> None:
    train = to_float(faces.train[:])
    assert nearest_training(real, real, faces.train) == 1
    assert nearest_training(real, train[::3], faces.train) == 0
    assert nearest_training(real, train[::3].flip(-1), faces.train) == 0
    mixtures = [nearest_training(real, 0.5 * (1 + share) * train[::3] + 0.5 * (1 - share) * real, faces.train)
                for share in (0, 0.3, 0.6, 0.9)]  # fmt: skip
    assert mixtures == sorted(mixtures, reverse=True) and mixtures[-1] < 0.3
    assert nearest_training(train[:9], train[9:20], faces.train) == 1
    assert nearest_training(train[:9], real, faces.train) == math.inf


def test_a_training_set_in_a_file_is_read_in_parts(
    faces: ImageSet, real: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = nearest_training(real, real.flip(-2), faces.train)
    rows = ImageRows(faces.train[:].numpy())
    sizes: list[int] = []

    def read(self: ImageRows, index: slice) -> torch.Tensor:
        sizes.append(index.stop - index.start)
        return torch.from_numpy(self.pixels[self.rows[index]])

    monkeypatch.setattr(ImageRows, "__getitem__", read)
    monkeypatch.setattr("analysis.measures.novelty.CHUNK", 100)
    assert nearest_training(real, real.flip(-2), rows) == pytest.approx(found, rel=1e-9)
    assert sizes == [100] * 3


@given(IMAGES, st.integers(0, 2))
def test_nearest_distance_is_never_above_that_to_any_training_image(images: np.ndarray, index: int) -> None:
    pixels = torch.from_numpy((images * 255).astype(np.uint8))
    found = nearest_distances(to_float(pixels), pixels[[index]])
    assert found[index] == 0 and (found >= 0).all()
    assert (nearest_distances(to_float(pixels), pixels) == 0).all()
