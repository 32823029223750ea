"""Reconstruction against scikit-image and formulas, and the invariants of each measure."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from helpers import blurred, noisy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import gaussian_filter
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from skimage.transform import downscale_local_mean
from spoiling import jpeg

from analysis.measures.collapse import image_collapse
from analysis.measures.reconstruction import (
    MOST_PSNR,
    SCALE_WEIGHTS,
    ms_ssim,
    ms_ssim_scales,
    mse,
    psnr,
    retrieval,
    ssim,
    variance_explained,
)
from introvae.data.image_set import ImageSet, to_float

IMAGES = hnp.arrays(np.float64, (2, 1, 24, 24), elements=st.floats(0, 1))


def ssim_and_structure(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return scikit-image's SSIM and its contrast-structure, which is SSIM divided by the luminance."""
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    value, ssim = structural_similarity(x, y, full=True, **options)
    mean_x, mean_y = (gaussian_filter(image, 1.5, truncate=3.5) for image in (x, y))
    luminance = (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)
    return float(value), float((ssim / luminance)[5:-5, 5:-5].mean())


@pytest.mark.parametrize("size", [16, 32, 48])
def test_ms_ssim_is_the_weighted_product_of_its_scales(faces: ImageSet, size: int) -> None:
    real = torch.nn.functional.interpolate(to_float(faces.validation[:4]), size=size, mode="bilinear")
    other = noisy(real, 0.1)
    scales = ms_ssim_scales(size)
    weights = np.array(SCALE_WEIGHTS[:scales]) / sum(SCALE_WEIGHTS[:scales])
    values = []
    for x, y in zip(real[:, 0].double().numpy(), other[:, 0].double().numpy(), strict=True):
        parts = []
        for scale in range(scales):
            if scale:
                x, y = downscale_local_mean(x, (2, 2)), downscale_local_mean(y, (2, 2))
            ssim, structure = ssim_and_structure(x, y)
            parts.append(ssim if scale == scales - 1 else structure)
        values.append(np.prod(np.maximum(parts, 0) ** weights))
    assert ms_ssim(real, other) == pytest.approx(np.mean(values), abs=1e-6)


@pytest.mark.parametrize(
    ("size", "scales"), [(11, 1), (16, 1), (22, 2), (32, 2), (64, 3), (128, 4), (256, 5), (1024, 5)]
)
def test_the_number_of_scales_depends_on_the_size(size: int, scales: int) -> None:
    assert ms_ssim_scales(size) == scales


def test_images_smaller_than_the_window_are_refused() -> None:
    with pytest.raises(ValueError, match="images of 10 px are smaller"):
        ms_ssim(torch.rand(1, 1, 10, 10), torch.rand(1, 1, 10, 10))


@given(IMAGES, IMAGES)
def test_ms_ssim_is_symmetric_in_range_and_1_for_itself(a: np.ndarray, b: np.ndarray) -> None:
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    assert ms_ssim(x, x) == pytest.approx(1)
    assert ms_ssim(x, y) == pytest.approx(ms_ssim(y, x))
    assert 0 <= ms_ssim(x, y) <= 1 + 1e-9


def test_ms_ssim_falls_with_noise(faces: ImageSet) -> None:
    real = to_float(faces.validation[:20])
    values = [ms_ssim(real, noisy(real, sigma)) for sigma in (0, 0.02, 0.05, 0.1, 0.3)]
    assert values == sorted(values, reverse=True) and values[-1] < 0.9


def test_variance_explained_of_known_reconstructions(faces: ImageSet) -> None:
    real = to_float(faces.validation[:20])
    mean = real.mean(0, keepdim=True).expand_as(real)
    assert variance_explained(real, real) == 1
    assert variance_explained(real, mean) == pytest.approx(0, abs=1e-6)
    assert variance_explained(real, 0.5 * (real + mean)) == pytest.approx(0.75, abs=1e-6)
    assert variance_explained(real, 1 - real) < 0
    gray = torch.full_like(real, 0.5)
    assert variance_explained(gray, gray) == 1 and variance_explained(gray, gray + 0.1) == -math.inf


def test_psnr_equals_scikit_image(real: torch.Tensor) -> None:
    other = noisy(real, 0.1)
    expected = peak_signal_noise_ratio(real.numpy(), other.numpy(), data_range=1)
    assert psnr(real, other) == pytest.approx(expected, abs=1e-3)
    assert psnr(real, real) == 100


@given(IMAGES)
def test_real_images_as_reconstructions_are_perfect(images: np.ndarray) -> None:
    x = torch.from_numpy(images)
    assert mse(x, x) == 0
    assert ssim(x, x) == pytest.approx(1)
    assert variance_explained(x, x) == 1


def test_ssim_and_variance_explained_fall_with_noise(real: torch.Tensor) -> None:
    noisier = [real, noisy(real, 0.05), noisy(real, 0.1), noisy(real, 0.2)]
    similarities = [ssim(real, x) for x in noisier]
    explained = [variance_explained(real, x) for x in noisier]
    assert similarities == sorted(similarities, reverse=True) and explained == sorted(explained, reverse=True)


def test_retrieval_of_known_reconstructions(real: torch.Tensor) -> None:
    assert retrieval(real, real) == 1
    half = torch.cat([real[:40], real[:40]])
    assert retrieval(real, half) == 0.5
    assert retrieval(real, real[:1].expand_as(real)) == 1 / 80
    assert retrieval(real, real.roll(1, 0)) == 0
    assert retrieval(real[:1], real[1:2]) == 1


@pytest.mark.parametrize("copy", [lambda x: x, lambda x: x.flip(-1), lambda x: jpeg(x, 90, torch.Generator())])
def test_copies_among_the_real_images_are_no_rivals(
    real: torch.Tensor, copy: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """A verdict depends on retrieval: a folder that holds each picture twice must not count as ignored."""
    twice = torch.cat([real[:40], copy(real[:40])])
    assert retrieval(twice, twice) == retrieval(twice, blurred(twice, 1)) == 1
    assert not image_collapse(twice, blurred(twice, 1), real)
    assert retrieval(twice, twice[:1].expand_as(twice)) == 1 / 40
    assert image_collapse(twice, twice[:1].expand_as(twice), real).startswith("input ignored")


@pytest.mark.parametrize(("channels", "size"), [(1, 16), (3, 33)])
def test_mse_and_ssim_equal_scikit_image(channels: int, size: int) -> None:
    x = torch.rand(40, channels, size, size, generator=torch.Generator().manual_seed(0))
    y = noisy(x, 0.2)
    assert mse(x, y) == pytest.approx(mean_squared_error(x.numpy(), y.numpy()), rel=1e-6)
    pairs = zip(x.double().numpy(), y.double().numpy(), strict=True)
    expected = [structural_similarity(a, b, data_range=1, channel_axis=0) for a, b in pairs]
    assert ssim(x, y) == pytest.approx(np.mean(expected), abs=1e-9)


@given(IMAGES, IMAGES)
def test_errors_and_similarities_are_symmetric_and_in_range(a: np.ndarray, b: np.ndarray) -> None:
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    assert mse(x, y) == mse(y, x) >= 0
    assert psnr(x, x) == MOST_PSNR >= psnr(x, y) == psnr(y, x) >= 0
    assert ssim(x, y) == pytest.approx(ssim(y, x)) and -1 - 1e-9 <= ssim(x, y) <= 1 + 1e-9
    variance = np.square(a - a.mean(0)).mean()
    if variance > 1e-9:
        assert variance_explained(x, y) == pytest.approx(1 - np.square(a - b).mean() / variance, abs=1e-6)
    assert variance_explained(x, y) <= 1


@given(hnp.arrays(np.float64, (2, 5, 1, 2, 2), elements=st.integers(0, 9)))
def test_retrieval_is_the_share_closest_to_their_own_input(images: np.ndarray) -> None:
    """Pixels are whole numbers, so that ties are exact; an image as close to another input is not retrieved."""
    x, y = images
    same = [[(a == b).all() or (a == b[..., ::-1]).all() for b in x] for a in x]
    kept = [i for i in range(5) if not any(same[i][:i])]
    distances = np.square(y[kept][:, None] - x[kept]).sum((2, 3, 4))
    own = distances.diagonal()
    expected = [own[i] < np.delete(distances[i], i).min(initial=math.inf) for i in range(len(kept))]
    found = retrieval(torch.from_numpy(x), torch.from_numpy(y))
    assert 0 <= found <= 1 and found == pytest.approx(np.mean(expected))
