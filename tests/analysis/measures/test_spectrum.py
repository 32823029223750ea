"""Predictions from the covariance of the training images against NumPy and the formulas."""

import math

import numpy as np
import pytest
import torch
from helpers import tiny_config
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from analysis.measures.spectrum import (
    beta_range,
    eigenvalues,
    predicted_active_units,
    predicted_kl,
    vae_kl,
    warmup_correction,
)
from introvae.data.image_set import ImageSet

FALLING = torch.tensor([4.0, 2.0, 1.0, 0.5], dtype=torch.float64)


@pytest.mark.parametrize("count", [40, 320])  # fewer and more images than the 256 pixels
def test_eigenvalues_are_those_of_the_covariance(small_faces: ImageSet, count: int) -> None:
    images = torch.cat([small_faces.train[:], small_faces.validation[:]])[:count]
    covariance = np.cov(images.numpy().reshape(count, -1).astype(float) / 255, rowvar=False)
    expected = np.linalg.eigvalsh(covariance)[::-1]
    found = eigenvalues(images).numpy()
    assert len(found) <= min(count - 1, 256)
    np.testing.assert_allclose(found, expected[: len(found)], rtol=1e-8)
    assert found.sum() == pytest.approx(np.trace(covariance))


def test_eigenvalues_of_images_with_many_pixels() -> None:
    images = torch.randint(256, (6, 3, 40, 40), dtype=torch.uint8)
    centered = images.double().flatten(1) / 255 - images.double().flatten(1).mean(0) / 255
    expected = torch.linalg.svdvals(centered)[:5] ** 2 / 5
    torch.testing.assert_close(eigenvalues(images), expected)


def test_predictions_follow_the_formula() -> None:
    assert predicted_kl(FALLING, 1.0, 4) == pytest.approx(0.5 * (math.log(4) + math.log(2)))
    assert predicted_kl(FALLING, 1.0, 1) == pytest.approx(0.5 * math.log(4))
    assert predicted_active_units(FALLING, 1.0, 4) == 2
    assert predicted_active_units(FALLING, 10.0, 3) == 3


def test_below_the_collapse_threshold_nothing_is_coded(small_faces: ImageSet) -> None:
    spectrum = eigenvalues(small_faces.train)
    threshold = 1 / spectrum[0].item()
    assert predicted_kl(spectrum, 0.999 * threshold, 8) == predicted_active_units(spectrum, 0.999 * threshold, 8) == 0
    assert predicted_kl(spectrum, 1.01 * threshold, 8) > 0


def test_range_of_beta_goes_from_a_quarter_of_the_units_to_past_all(small_faces: ImageSet) -> None:
    spectrum = eigenvalues(small_faces.train)
    low, high = beta_range(spectrum, 16)
    assert predicted_active_units(spectrum, 1.001 * low, 16) == 5
    assert predicted_active_units(spectrum, high / 9.99, 16) == 16 > predicted_active_units(spectrum, high / 10.01, 16)
    with pytest.raises(ValueError, match="all alike"):
        beta_range(eigenvalues(torch.full((5, 1, 16, 16), 7, dtype=torch.uint8)), 16)


def test_vae_kl_scales_the_prediction_by_what_the_warm_up_measured() -> None:
    config = tiny_config(beta=4.0, latent=4, warmup_steps=10, warmup_beta=1.0)
    rows = [{"step": 5, "beta": 1.0, "kl_real": 9.0}, {"step": 10, "beta": 1.0, "kl_real": 0.5},
            {"step": 12, "beta": 4.0, "kl_real": 99.0}]  # fmt: skip
    correction = 0.5 / predicted_kl(FALLING, 1.0, 4)
    assert vae_kl(config, FALLING, rows) == pytest.approx(correction * predicted_kl(FALLING, 4.0, 4))
    assert warmup_correction(config, FALLING, rows) == pytest.approx(correction)
    cold = tiny_config(beta=4.0, latent=4, warmup_steps=0)
    assert (
        vae_kl(cold, FALLING, rows) == predicted_kl(FALLING, 4.0, 4) and warmup_correction(cold, FALLING, rows) is None
    )
    dark = [{"step": 10, "beta": 0.1, "kl_real": 0.5}]  # where nothing is predicted, nothing can be compared
    assert warmup_correction(config, FALLING, dark) is None


@given(
    st.lists(st.floats(1e-6, 1e3), min_size=4, max_size=9), st.floats(1e-3, 1e3), st.floats(1, 10), st.integers(1, 12)
)
def test_predictions_rise_with_beta_and_with_the_latent_dimensions(
    values: list[float], beta: float, factor: float, latent: int
) -> None:
    spectrum = torch.tensor(sorted(values, reverse=True), dtype=torch.float64)
    expected = 0.5 * sum(max(0.0, math.log(beta * value)) for value in spectrum.tolist()[:latent])
    assert predicted_kl(spectrum, beta, latent) == pytest.approx(expected, abs=1e-9)
    for predicted in (predicted_kl, predicted_active_units):
        assert 0 <= predicted(spectrum, beta, latent) <= predicted(spectrum, factor * beta, latent) + 1e-12
        assert predicted(spectrum, beta, latent) <= predicted(spectrum, beta, latent + 1) + 1e-12
    assert predicted_active_units(spectrum, beta, latent) <= min(latent, len(spectrum))
    low, high = beta_range(spectrum, latent)
    assert 0 < low < high


@given(hnp.arrays(np.uint8, (5, 1, 4, 4)))
def test_eigenvalues_fall_add_up_to_the_variance_and_ignore_brightness(pixels: np.ndarray) -> None:
    images = torch.from_numpy(pixels // 2)
    found = eigenvalues(images)
    assert (found > 0).all() and (found.diff() <= 0).all() and len(found) <= 4
    assert found.sum().item() == pytest.approx((images / 255).double().var(0).sum().item(), rel=1e-5, abs=1e-9)
    torch.testing.assert_close(eigenvalues(images + 100), found)
