"""MS-SSIM against scikit-image scale by scale, and the share of variance explained."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity
from skimage.transform import downscale_local_mean

from analysis.reconstruction import SCALE_WEIGHTS, ms_ssim, ms_ssim_scales, variance_explained
from introvae.data import ImageSet, to_float

IMAGES = hnp.arrays(np.float64, (2, 1, 24, 24), elements=st.floats(0, 1))


def noisy(images: torch.Tensor, sigma: float) -> torch.Tensor:
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (images + sigma * noise).clamp(0, 1)


def ssim_and_structure(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """scikit-image's SSIM, and its contrast-structure: the SSIM with the luminance's part divided out."""
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
def test_scales_that_a_size_allows(size: int, scales: int) -> None:
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


def test_more_noise_is_less_alike(faces: ImageSet) -> None:
    real = to_float(faces.validation[:20])
    values = [ms_ssim(real, noisy(real, sigma)) for sigma in (0, 0.02, 0.05, 0.1, 0.3)]
    assert values == sorted(values, reverse=True) and values[-1] < 0.9


def test_variance_explained(faces: ImageSet) -> None:
    real = to_float(faces.validation[:20])
    mean = real.mean(0, keepdim=True).expand_as(real)
    assert variance_explained(real, real) == 1
    assert variance_explained(real, mean) == pytest.approx(0, abs=1e-6)
    assert variance_explained(real, 0.5 * (real + mean)) == pytest.approx(0.75, abs=1e-6)
    assert variance_explained(real, 1 - real) < 0
    grey = torch.full_like(real, 0.5)
    assert variance_explained(grey, grey) == 1 and variance_explained(grey, grey + 0.1) == -math.inf
