"""Sharpness against SciPy, scikit-image and NumPy, and the invariants of each measure."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers import blurred, noisy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import laplace
from skimage.measure import blur_effect as skimage_blur_effect

from analysis.measures.sharpness import (
    blur_effect,
    high_frequency_share,
    laplacian_variance,
    plane_power,
    power_spectrum,
    spectral_divergence,
)
from introvae.data.image_set import ImageSet, to_float

POWERS = hnp.arrays(np.float64, (3, 8, 5), elements=st.floats(1e-6, 1e6))


def wave(periods: int, side: int = 32) -> torch.Tensor:
    x = torch.arange(side) / side
    return (0.5 + 0.3 * torch.sin(2 * torch.pi * periods * x)).expand(1, 1, side, side)


def written_out(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute power and radius with NumPy."""
    side = images.shape[-1]
    window = np.outer(np.hanning(side), np.hanning(side))
    power = np.mean([np.abs(np.fft.fft2((c - c.mean()) * window)) ** 2 for image in images for c in image], axis=0)
    f = np.fft.fftfreq(side) * side
    return power, np.sqrt(f[:, None] ** 2 + f**2)


@pytest.mark.parametrize("periods", [3, 6, 12])
def test_a_wave_has_its_power_at_its_frequency(periods: int) -> None:
    spectrum = power_spectrum(wave(periods))
    assert len(spectrum) == 17
    assert abs(int(spectrum.argmax()) - periods) <= 1


def test_power_spectrum_and_high_frequency_share_equal_numpy(faces: ImageSet) -> None:
    images = to_float(faces.validation[:6])
    power, radius = written_out(images.double().numpy())
    bins = np.rint(radius).astype(int)
    expected = [power[bins == r].mean() for r in range(17)]
    np.testing.assert_allclose(power_spectrum(images).numpy(), expected, rtol=1e-8)
    share = power[radius >= 8].sum() / power.sum()
    assert high_frequency_share(images) == pytest.approx(share, rel=1e-8)


def test_blur_lowers_and_noise_raises_the_high_frequency_share(real: torch.Tensor) -> None:
    blurs = [high_frequency_share(blurred(real, sigma)) for sigma in (0, 0.5, 1, 2)]
    noises = [high_frequency_share(noisy(real, sigma)) for sigma in (0, 0.02, 0.05, 0.1)]
    assert blurs == sorted(blurs, reverse=True) and blurs[-1] < 0.01 * blurs[0]
    assert noises == sorted(noises)
    assert high_frequency_share(torch.full((2, 1, 16, 16), 0.3)) == 0


@given(hnp.arrays(np.float64, (2, 3, 16, 16), elements=st.floats(0, 1)))
def test_high_frequency_share_is_in_range_and_ignores_brightness(images: np.ndarray) -> None:
    share = high_frequency_share(torch.from_numpy(images))
    assert 0 <= share <= 1
    if np.ptp(images) > 1e-3:
        assert high_frequency_share(torch.from_numpy(0.5 * images + 0.2)) == pytest.approx(share, rel=1e-6, abs=1e-9)


def divergence(real: torch.Tensor, images: torch.Tensor) -> float:
    return spectral_divergence(plane_power(images).mean(0), plane_power(real).mean(0))


def test_laplacian_variance_equals_scipy(real: torch.Tensor) -> None:
    inside = [laplace(image)[1:-1, 1:-1].var() for image in real[:, 0].double().numpy()]
    assert laplacian_variance(real) == pytest.approx(np.mean(inside), rel=1e-5)


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (1, 33), (3, 16), (3, 32)])
def test_plane_power_equals_numpy(channels: int, size: int) -> None:
    """Brightness is the mean of the channels times the root of 3; 1 / (255^2 12) is the variance of rounding."""
    images = torch.rand(2, channels, size, size, generator=torch.Generator().manual_seed(0))
    found = plane_power(images)
    assert found.shape == (2, channels, size, size // 2 + 1) and found.dtype == torch.float64
    window = np.outer(np.hanning(size), np.hanning(size))
    for image, powers in zip(images.double().numpy(), found.numpy(), strict=True):
        planes = [image[0]]
        if channels == 3:
            red, green, blue = image
            planes = [(red + green + blue) / 3**0.5, (red - green) / 2**0.5, (red + green - 2 * blue) / 6**0.5]
        for plane, power in zip(planes, powers, strict=True):
            whole = np.abs(np.fft.fft2((plane - plane.mean()) * window)) ** 2 + (window**2).sum() / 255**2 / 12
            np.testing.assert_allclose(power, whole[:, : size // 2 + 1], rtol=1e-8)


@given(POWERS, POWERS)
def test_spectral_divergence_is_its_formula_and_never_negative(a: np.ndarray, b: np.ndarray) -> None:
    terms = [
        0.5 * (a[c, i, j] / b[c, i, j] - 1 - np.log(a[c, i, j] / b[c, i, j]))
        for c in range(3) for i in range(8) for j in range(5) if i or j
    ]  # fmt: skip
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    assert spectral_divergence(x, y) == pytest.approx(np.mean(terms), rel=1e-9, abs=1e-12)
    assert spectral_divergence(x, y) >= 0
    assert spectral_divergence(x, x) == 0


@pytest.mark.parametrize("ratio", [1e-3, 0.5, 1, 2, 100])
def test_a_constant_ratio_of_powers_has_a_known_divergence(ratio: float) -> None:
    power = torch.rand(3, 8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.1
    expected = (ratio - 1 - np.log(ratio)) / 2
    assert spectral_divergence(ratio * power, power) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    brighter = ratio * power
    brighter[:, 0, 0] *= 7  # the mean is no matter of sharpness
    assert spectral_divergence(brighter, power) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_blur_costs_the_logarithm_of_what_is_lost(real: torch.Tensor) -> None:
    """Twice the sigma loses four times as many nats, as long as the power is well above that of rounding."""
    assert divergence(real, real) == 0
    values = [divergence(real, blurred(real, sigma)) for sigma in (0.3, 0.5, 1, 2)]
    assert all(0 < a < b for a, b in pairwise(values)), values
    power = plane_power(real).mean(0)
    lost = [spectral_divergence(share * power, power) for share in (1e-2, 1e-4, 1e-6)]
    assert lost[1] - lost[0] == pytest.approx(lost[2] - lost[1], rel=0.01) == pytest.approx(np.log(10), rel=0.01)


def test_noise_and_stripes_cost_in_proportion_to_their_power(real: torch.Tensor) -> None:
    """The logarithm hardly matters where they outweigh the real power."""
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    costs = [divergence(real, real + sigma * noise) for sigma in (0.01, 0.02, 0.4, 0.8)]
    assert 0 < costs[0] < costs[1] < costs[2] and costs[3] / costs[2] == pytest.approx(4, rel=0.05)
    stripes = torch.cos(torch.pi * torch.arange(32))
    costs = [divergence(real, real + height * stripes) for height in (0.05, 0.1, 0.2)]
    assert costs[1] / costs[0] == pytest.approx(4, rel=0.05) and costs[2] / costs[1] == pytest.approx(4, rel=0.05)


def test_corners_of_the_plane_count(real: torch.Tensor) -> None:
    """A checkerboard of single pixels lies beyond the radii of `power_spectrum`."""
    rows = torch.arange(32)
    checkerboard = ((rows[:, None] + rows) % 2).float()
    spoilt = real + 0.1 * (checkerboard - 0.5)
    torch.testing.assert_close(power_spectrum(spoilt), power_spectrum(real), rtol=0.05, atol=1e-6)
    assert divergence(real, spoilt) > 0.5


@pytest.mark.parametrize("share", [0.5, 1])
def test_lost_color_counts(share: float) -> None:
    real = torch.rand(20, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    gray = (1 - share) * real + share * real.mean(1, keepdim=True)
    found = divergence(real, gray)
    if share == 1:  # what remains is the power of rounding, far below that of the colors
        assert found > 2
    else:  # two of three channels have a quarter of their power
        assert found == pytest.approx(2 / 3 * 0.5 * (0.25 - 1 - np.log(0.25)), rel=1e-3)


def test_images_without_detail_have_a_finite_divergence(real: torch.Tensor) -> None:
    flat = torch.full_like(real, 0.5)
    assert divergence(flat, flat) == 0
    assert 1 < divergence(real, flat) < 20
    assert 1 < divergence(flat, real) < 1e6


def test_blur_effect_rises_with_blur(real: torch.Tensor) -> None:
    effects = [blur_effect(x) for x in (real, blurred(real, 1), blurred(real, 2))]
    assert all(a < b for a, b in pairwise(effects))
    assert blur_effect(torch.zeros(2, 1, 16, 16)) == 1


@pytest.mark.parametrize(("channels", "size"), [(1, 16), (3, 33)])
def test_blur_effect_is_the_mean_over_images_that_are_not_flat(channels: int, size: int) -> None:
    images = torch.rand(40, channels, size, size, generator=torch.Generator().manual_seed(0))
    flat = images[:3].mean((2, 3), keepdim=True).expand_as(images[:3])
    expected = [skimage_blur_effect(image, h_size=11) for image in images.double().mean(1).numpy()]
    assert blur_effect(torch.cat([flat, images])) == pytest.approx(np.mean(expected), abs=1e-9)
    assert blur_effect(flat) == 1


@given(hnp.arrays(np.float64, (2, 3, 16, 16), elements=st.integers(0, 255)))
def test_sharpness_ignores_brightness_and_follows_contrast(images: np.ndarray) -> None:
    """Variance and power are quadratic in contrast."""
    x = torch.from_numpy(images / 255)
    other = 0.5 * x + 0.2
    assert 0 <= blur_effect(x) <= 1
    assert (
        laplacian_variance(other) == pytest.approx(0.25 * laplacian_variance(x), rel=1e-6, abs=1e-15)
        and laplacian_variance(x) >= 0
    )
    torch.testing.assert_close(power_spectrum(other), 0.25 * power_spectrum(x), rtol=1e-6, atol=1e-12)
    assert (power_spectrum(x) >= 0).all()
    assert blur_effect(x.mT) == pytest.approx(blur_effect(x), abs=1e-9)
    assert divergence(x, x) == 0 <= divergence(x, x.flip(0).mT)
