"""Sharpness against SciPy, scikit-image and NumPy, and the invariants of each measure."""

import math

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
    edge_energy,
    high_frequency_share,
    laplacian_variance,
    power_spectrum,
    shared_energy,
)
from introvae.data.image_set import ImageSet, to_float

ENERGIES = hnp.arrays(np.float64, 5, elements=st.floats(1e-6, 1e6))


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


def shared_by_sets(real: torch.Tensor, images: torch.Tensor) -> float:
    return shared_energy(edge_energy(images).mean(0), edge_energy(real).mean(0))


def test_laplacian_variance_equals_scipy(real: torch.Tensor) -> None:
    inside = [laplace(image)[1:-1, 1:-1].var() for image in real[:, 0].double().numpy()]
    assert laplacian_variance(real) == pytest.approx(np.mean(inside), rel=1e-5)


def test_blur_and_noise_both_lower_the_shared_energy(real: torch.Tensor) -> None:
    assert shared_by_sets(real, real) == 1
    blurs = [shared_by_sets(real, blurred(real, s)) for s in (0.3, 0.5, 1, 2)]
    noises = [shared_by_sets(real, noisy(real, s)) for s in (0.02, 0.05, 0.1)]
    for values in (blurs, noises):
        assert values == sorted(values, reverse=True) and 0 < values[-1] < values[0] < 1
    effects = [blur_effect(x) for x in (real, blurred(real, 1), blurred(real, 2))]
    assert effects == sorted(effects) and effects[0] < effects[-1]
    assert blur_effect(torch.zeros(2, 1, 16, 16)) == 1


def test_edge_energy_equals_numpy(faces: ImageSet) -> None:
    images = to_float(faces.validation[:3])
    found = edge_energy(images)
    for image, energies in zip(images.double().numpy(), found.numpy(), strict=True):
        power, radius = written_out(image[None])
        expected = [(power * radius**4)[np.rint(radius) == r].sum() for r in range(17)]
        np.testing.assert_allclose(energies, expected, rtol=1e-8)


@given(ENERGIES, ENERGIES, st.floats(0, 1))
def test_shared_energy_is_symmetric_and_in_range(a: np.ndarray, b: np.ndarray, tolerance: float) -> None:
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    shared = shared_energy(x, y)
    assert 0 <= shared <= 1 and shared == pytest.approx(shared_energy(y, x))
    assert shared == pytest.approx(math.sqrt(np.minimum(a, b).sum() / np.maximum(a, b).sum()), abs=1e-7)
    assert shared_energy(x, x) == 1 and shared_energy(4 * x, x) == pytest.approx(0.5)
    assert shared_energy(x, y, tolerance) >= shared and shared_energy(x, y, tolerance * (x - y).abs().max() + 1e6) == 1
    mixed = shared_energy(0.5 * x + 0.5 * y, y)
    assert mixed >= shared - 1e-9  # falls with the distance


def test_energy_shared_with_flat_images_is_0() -> None:
    nothing, something = torch.zeros(3), torch.ones(3)
    assert shared_energy(nothing, nothing) == 1
    assert shared_energy(nothing, something) == shared_energy(something, nothing) == 0


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
    assert 0 <= shared_by_sets(x, x.flip(0)) <= 1 and shared_by_sets(x, x) == 1
