"""The power spectrum and the share of high frequencies."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import gaussian_filter

from analysis.sharpness import high_frequency_share, power_spectrum
from introvae.data import ImageSet, to_float


def wave(periods: int, side: int = 32) -> torch.Tensor:
    x = torch.arange(side) / side
    return (0.5 + 0.3 * torch.sin(2 * torch.pi * periods * x)).expand(1, 1, side, side)


def written_out(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Power and radius, with NumPy."""
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


def test_spectrum_and_share_equal_numpy(faces: ImageSet) -> None:
    images = to_float(faces.validation[:6])
    power, radius = written_out(images.double().numpy())
    bins = np.rint(radius).astype(int)
    expected = [power[bins == r].mean() for r in range(17)]
    np.testing.assert_allclose(power_spectrum(images).numpy(), expected, rtol=1e-8)
    share = power[radius >= 8].sum() / power.sum()
    assert high_frequency_share(images) == pytest.approx(share, rel=1e-8)


def test_blur_lowers_the_share_and_noise_raises_it(faces: ImageSet) -> None:
    real = to_float(faces.validation[:40])
    blurred = [
        high_frequency_share(torch.from_numpy(gaussian_filter(real.numpy(), (0, 0, sigma, sigma))))
        for sigma in (0, 0.5, 1, 2)
    ]
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    noisy = [high_frequency_share(real + sigma * noise) for sigma in (0, 0.02, 0.05, 0.1)]
    assert blurred == sorted(blurred, reverse=True) and blurred[-1] < 0.01 * blurred[0]
    assert noisy == sorted(noisy)
    assert high_frequency_share(torch.full((2, 1, 16, 16), 0.3)) == 0


@given(hnp.arrays(np.float64, (2, 3, 16, 16), elements=st.floats(0, 1)))
def test_share_is_in_range_and_knows_no_brightness(images: np.ndarray) -> None:
    share = high_frequency_share(torch.from_numpy(images))
    assert 0 <= share <= 1
    if np.ptp(images) > 1e-3:
        assert high_frequency_share(torch.from_numpy(0.5 * images + 0.2)) == pytest.approx(share, rel=1e-6, abs=1e-9)
