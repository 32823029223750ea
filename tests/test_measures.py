"""Each single measure against a reference, and its invariants."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import gaussian_filter, laplace
from skimage.metrics import peak_signal_noise_ratio

from analysis import collapse, diversity, reconstruction, sharpness
from introvae.data import ImageSet, to_float
from introvae.losses import kl_divergence

IMAGES = hnp.arrays(np.float64, (3, 1, 16, 16), elements=st.floats(0, 1))


@pytest.fixture(scope="module")
def real(faces: ImageSet) -> torch.Tensor:
    return to_float(faces.validation[:])


def blurred(images: torch.Tensor, sigma: float) -> torch.Tensor:
    return torch.from_numpy(gaussian_filter(images.numpy(), (0, 0, sigma, sigma)))


def noisy(images: torch.Tensor, sigma: float) -> torch.Tensor:
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (images + sigma * noise).clamp(0, 1)


def test_psnr_equals_scikit_image(real: torch.Tensor) -> None:
    other = noisy(real, 0.1)
    expected = peak_signal_noise_ratio(real.numpy(), other.numpy(), data_range=1)
    assert reconstruction.psnr(real, other) == pytest.approx(expected, abs=1e-3)
    assert reconstruction.psnr(real, real) == 100


@given(IMAGES)
def test_reconstruction_of_itself_is_perfect(images: np.ndarray) -> None:
    x = torch.from_numpy(images)
    assert reconstruction.mse(x, x) == 0
    assert reconstruction.ssim(x, x) == pytest.approx(1)
    assert reconstruction.relative_error(x, x) == 0


def test_ssim_falls_and_relative_error_rises(real: torch.Tensor) -> None:
    noisier = [real, noisy(real, 0.05), noisy(real, 0.1), noisy(real, 0.2)]
    similarities = [reconstruction.ssim(real, x) for x in noisier]
    errors = [reconstruction.relative_error(real, x) for x in noisier]
    assert similarities == sorted(similarities, reverse=True) and errors == sorted(errors)
    mean = real.mean(0, keepdim=True).expand_as(real)
    assert reconstruction.relative_error(real, mean) == pytest.approx(1)
    grey = torch.full_like(real, 0.5)
    assert reconstruction.relative_error(grey, grey) == 0
    assert reconstruction.relative_error(grey, grey + 0.1) == math.inf


def test_retrieval_is_the_share_nearest_to_its_own_input(real: torch.Tensor) -> None:
    assert reconstruction.retrieval(real, real) == 1
    half = torch.cat([real[:40], real[:40]])
    assert reconstruction.retrieval(real, half) == 0.5
    assert reconstruction.retrieval(real, real[:1].expand_as(real)) == 1 / 80
    assert reconstruction.retrieval(real, real.roll(1, 0)) == 0
    assert reconstruction.retrieval(real[:1], real[1:2]) == 1


def test_laplacian_variance_equals_scipy(real: torch.Tensor) -> None:
    inside = [laplace(image)[1:-1, 1:-1].var() for image in real[:, 0].double().numpy()]
    assert sharpness.laplacian_variance(real) == pytest.approx(np.mean(inside), rel=1e-5)


def test_blur_and_noise_are_both_less_sharp_than_the_real_images(real: torch.Tensor) -> None:
    assert sharpness.relative_sharpness(real, real) == 1
    blurs = [sharpness.relative_sharpness(real, blurred(real, s)) for s in (0.3, 0.5, 1, 2)]
    noises = [sharpness.relative_sharpness(real, noisy(real, s)) for s in (0.02, 0.05, 0.1)]
    for values in (blurs, noises):
        assert values == sorted(values, reverse=True) and 0 < values[-1] < values[0] < 1
    effects = [sharpness.blur_effect(x) for x in (real, blurred(real, 1), blurred(real, 2))]
    assert effects == sorted(effects) and effects[0] < effects[-1]
    assert sharpness.blur_effect(torch.zeros(2, 1, 16, 16)) == 1


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_agreement_is_symmetric_and_in_range(a: float, b: float) -> None:
    assert sharpness.agreement(a, b) == pytest.approx(sharpness.agreement(b, a))
    assert 0 <= sharpness.agreement(a, b) <= 1
    assert sharpness.agreement(a, a) == 1
    assert sharpness.agreement(4 * a, a) == pytest.approx(0.5)


def test_agreement_with_nothing_is_nothing() -> None:
    assert sharpness.agreement(0, 0) == 1
    assert sharpness.agreement(0, 1) == sharpness.agreement(1, 0) == sharpness.agreement(math.nan, 1) == 0


def test_active_units_are_counted_at_each_threshold() -> None:
    deviations = torch.tensor([0.0, 0.05, 0.2, 1.0])  # variances 0, .0025, .04, 1
    mu = deviations * torch.tensor([[-1.0], [1.0]]) / math.sqrt(2)
    assert collapse.active_units(mu) == {"0.001": 3, "0.01": 2, "0.1": 1}
    assert collapse.active_units(mu[:1]) == {"0.001": 0, "0.01": 0, "0.1": 0}


@given(hnp.arrays(np.float64, (4, 3), elements=st.floats(-5, 5)))
def test_kl_per_dimension_sums_to_the_energy(values: np.ndarray) -> None:
    mu = torch.from_numpy(values)
    parts = collapse.kl_per_dimension(mu, mu.flip(0))
    assert (parts >= 0).all()
    assert parts.sum().item() == pytest.approx(kl_divergence(mu, mu.flip(0)).mean().item())


def test_collapse_is_seen_in_the_images(real: torch.Tensor, faces: ImageSet) -> None:
    others = to_float(faces.train[::4])
    assert collapse.image_collapse(real, real, others) == ""
    alike = real[:1].expand_as(real)
    assert collapse.image_collapse(real, alike, others).startswith("input ignored (retrieval 0.013)")
    assert collapse.image_collapse(real, real, alike).startswith("samples alike (variance ratio 0.000)")
    blurred_vae = collapse.image_collapse(real, blurred(real, 2), blurred(others, 2))
    assert blurred_vae == ""


def test_variance_ratio(real: torch.Tensor) -> None:
    assert diversity.variance_ratio(real, real) == 1
    assert diversity.variance_ratio(real, real[:1].expand_as(real)) == pytest.approx(0, abs=1e-9)
    centred = real.mean(0) + (real - real.mean(0)) / 2
    assert diversity.variance_ratio(real, centred) == pytest.approx(0.25, rel=1e-4)
    assert diversity.variance_ratio(real[:1], real[:1]) == 1


def test_structure_and_coverage(real: torch.Tensor, faces: ImageSet) -> None:
    others = to_float(faces.train[::4])
    assert diversity.structure(real, real) == diversity.coverage(real, real) == 1
    assert diversity.structure(real, others) > 0.9 and diversity.coverage(real, others) > 0.9
    alike = others[:1].expand_as(others)
    assert diversity.structure(real, alike) > 0.8  # one face is a face
    assert diversity.coverage(real, alike) == 0
    garbage = torch.rand(80, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert diversity.structure(real, garbage) < 0.2
    few = others[:10].repeat(8, 1, 1, 1)
    assert diversity.coverage(real, few) < diversity.coverage(real, others)


@given(IMAGES, IMAGES)
def test_structure_and_coverage_are_in_range(a: np.ndarray, b: np.ndarray) -> None:
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    assert 0 <= diversity.structure(x, y) <= 1
    assert 0 <= diversity.coverage(x, y) <= 1
    assert diversity.structure(x, x) == pytest.approx(1)
