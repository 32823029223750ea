"""Measures of collapse against their formulas, their invariants, and collapse in images."""

import math

import numpy as np
import pytest
import torch
from helpers import blurred
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from analysis.measures.collapse import (
    THRESHOLDS,
    active_units,
    aggregate_divergence,
    collapsed_share,
    decoder_sensitivity,
    image_collapse,
    inside_margin,
    kl_per_dimension,
    kl_quantile,
    kl_quantiles,
    mutual_information,
)
from introvae.data.image_set import ImageSet, to_float
from introvae.training import losses

LATENTS = hnp.arrays(np.float64, (6, 3), elements=st.floats(-4, 4))


def draws(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_kl_quantiles_show_one_strong_image_that_the_mean_hides() -> None:
    mu, logvar = torch.zeros(100, 2), torch.zeros(100, 2)
    mu[0, 1] = 10
    quantiles = kl_quantiles(mu, logvar, (0.05, 0.5, 0.95, 1.0))
    assert quantiles.shape == (4, 2)
    assert quantiles[:3].abs().max() == 0 and quantiles[3].tolist() == [0, 50]
    assert kl_per_dimension(mu, logvar)[1].item() == pytest.approx(0.5)


def test_a_dimension_is_collapsed_if_nearly_no_image_uses_it() -> None:
    mu, logvar = torch.zeros(1000, 4), torch.zeros(1000, 4)
    mu[:5, 1] = 3  # 0.5% of the images
    mu[:50, 2] = 3  # 5%
    mu[:, 3] = draws(1000)
    assert collapsed_share(mu, logvar) == 0.5
    assert collapsed_share(mu, logvar, delta=0.1) == 0.75
    assert collapsed_share(mu, logvar, epsilon=1e3) == 1


def test_mutual_information_equals_its_formula() -> None:
    mu, logvar, noise = 2 * draws(7, 3), draws(3, 7).T.contiguous(), draws(7, 6)[:, :3]
    z = mu + torch.exp(0.5 * logvar) * noise
    posteriors = [Normal(m, torch.exp(0.5 * v)) for m, v in zip(mu, logvar, strict=True)]
    total = 0.0
    for index in range(7):
        inside = torch.stack([q.log_prob(z[index]).sum() for q in posteriors])
        total += (inside[index] - (inside.exp().mean()).log()).item()
    assert mutual_information(mu, logvar, noise) == pytest.approx(total / 7, abs=1e-10)


def test_mutual_information_is_0_for_equal_posteriors_and_log_n_for_separate_ones() -> None:
    nothing = torch.zeros(64, 5)
    assert mutual_information(nothing, nothing, draws(64, 5)) == pytest.approx(0, abs=1e-12)
    apart = 100 * draws(64, 5)
    assert mutual_information(apart, torch.zeros(64, 5), draws(64, 5)) == pytest.approx(math.log(64))


@given(LATENTS, LATENTS)
def test_mutual_information_never_exceeds_its_bound(mu: np.ndarray, logvar: np.ndarray) -> None:
    found = mutual_information(torch.from_numpy(mu), torch.from_numpy(logvar), draws(6, 3))
    assert found <= math.log(6) + 1e-9


@given(LATENTS, LATENTS)
def test_aggregate_divergence_of_many_images_is_the_kl_of_their_gaussian(mu: np.ndarray, logvar: np.ndarray) -> None:
    m, v = torch.from_numpy(mu), torch.from_numpy(logvar)
    covariance = torch.from_numpy(np.cov(mu.T, bias=True)) + v.exp().mean(0).diag()
    prior = MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    expected = kl_divergence(MultivariateNormal(m.mean(0), covariance), prior).item()
    found = aggregate_divergence(m.repeat(10**4, 1), v.repeat(10**4, 1))
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-3)


def encodings(images: int, covariance: torch.Tensor, mean: float, seed: int) -> torch.Tensor:
    noise = torch.randn(images, len(covariance), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return mean + noise @ torch.linalg.cholesky(covariance).T


@pytest.mark.parametrize("variance", [1e-4, 0.02, 0.3, 0.9])
def test_eighty_images_of_the_prior_have_no_divergence_in_64_dimensions(variance: float) -> None:
    """Without correction it would be 20 nats at the smallest of these posterior variances, 7 at .3."""
    covariance = (1 - variance) * torch.eye(64).double()
    logvar = torch.full((80, 64), math.log(variance), dtype=torch.float64)
    found = [aggregate_divergence(encodings(80, covariance, 0, seed), logvar) for seed in range(20)]
    assert abs(np.mean(found)) < 1


@pytest.mark.parametrize("variance", [0.02, 0.3])
@pytest.mark.parametrize("mean", [0.0, 0.5])
def test_a_divergence_of_eighty_images_is_that_of_many(mean: float, variance: float) -> None:
    mixing = draws(64, 64) / 8
    covariance, between = mixing @ mixing.T + 0.01 * torch.eye(64), torch.tensor(variance).double() * torch.eye(64)
    whole = MultivariateNormal(torch.full((64,), mean).double(), covariance + between)
    truth = kl_divergence(whole, MultivariateNormal(torch.zeros(64).double(), torch.eye(64).double())).item()
    logvar = torch.full((80, 64), math.log(variance), dtype=torch.float64)
    found = [aggregate_divergence(encodings(80, covariance, mean, seed), logvar) for seed in range(20)]
    assert truth > 8 and np.mean(found) == pytest.approx(truth, rel=0.03, abs=0.5)


def test_too_few_images_have_no_divergence_and_one_has_that_of_its_posterior() -> None:
    assert math.isnan(aggregate_divergence(draws(40, 64), torch.full((40, 64), -4.0)))
    mu, logvar = draws(1, 5), draws(1, 5)
    assert aggregate_divergence(mu, logvar) == pytest.approx(losses.kl_divergence(mu, logvar).item())


def test_the_prior_has_no_divergence() -> None:
    assert aggregate_divergence(torch.zeros(10, 4), torch.zeros(10, 4)) == pytest.approx(0)


def test_active_units_are_counted_at_each_threshold() -> None:
    deviations = torch.tensor([0.0, 0.05, 0.2, 1.0])  # variances 0, .0025, .04, 1
    mu = deviations * torch.tensor([[-1.0], [1.0]]) / math.sqrt(2)
    assert active_units(mu) == {"0.001": 3, "0.01": 2, "0.1": 1}
    assert active_units(mu[:1]) == {"0.001": 0, "0.01": 0, "0.1": 0}


@given(hnp.arrays(np.float64, (4, 3), elements=st.floats(-5, 5)))
def test_kl_per_dimension_sums_to_the_energy(values: np.ndarray) -> None:
    mu = torch.from_numpy(values)
    parts = kl_per_dimension(mu, mu.flip(0))
    assert (parts >= 0).all()
    assert parts.sum().item() == pytest.approx(losses.kl_divergence(mu, mu.flip(0)).mean().item())


def test_collapse_is_seen_in_the_images(real: torch.Tensor, faces: ImageSet) -> None:
    others = to_float(faces.train[::4])
    assert image_collapse(real, real, others) == ""
    alike = real[:1].expand_as(real)
    assert image_collapse(real, alike, others).startswith("input ignored (retrieval 0.013)")
    assert image_collapse(real, real, alike).startswith("samples alike (variance ratio 0.000)")
    blurred_vae = image_collapse(real, blurred(real, 2), blurred(others, 2))
    assert blurred_vae == ""


@given(LATENTS, LATENTS)
def test_measures_of_each_dimension_equal_their_formulas(mu: np.ndarray, logvar: np.ndarray) -> None:
    m, v = torch.from_numpy(mu), torch.from_numpy(logvar)
    kl = kl_divergence(Normal(m, torch.exp(0.5 * v)), Normal(0, 1)).numpy()
    np.testing.assert_allclose(kl_per_dimension(m, v), kl.mean(0), atol=1e-9)
    quantiles = kl_quantiles(m, v).numpy()
    np.testing.assert_allclose(quantiles, np.quantile(kl, (0.05, 0.5, 0.95), axis=0), atol=1e-9)
    assert (np.diff(quantiles, axis=0) >= 0).all()
    assert kl_quantile(m, v, 0.95) == pytest.approx(np.quantile(kl.sum(1), 0.95), abs=1e-9)
    counts = list(active_units(m).values())
    assert counts == [(mu.var(0, ddof=1) > threshold).sum() for threshold in THRESHOLDS]
    assert counts == sorted(counts, reverse=True)


@given(LATENTS, LATENTS, st.floats(0, 20), st.floats(0, 20))
def test_shares_are_counted_and_rise_with_their_bound(mu: np.ndarray, logvar: np.ndarray, a: float, b: float) -> None:
    m, v = torch.from_numpy(mu), torch.from_numpy(logvar)
    kl = kl_divergence(Normal(m, torch.exp(0.5 * v)), Normal(0, 1)).numpy()
    low, high = sorted((a, b))
    assert 0 <= collapsed_share(m, v, low, 0.4) <= collapsed_share(m, v, high, 0.4) <= 1
    assert 0 <= inside_margin(m, v, low) <= inside_margin(m, v, high) <= 1
    if np.abs(kl - a).min() > 1e-9 and np.abs(kl.sum(1) - a).min() > 1e-9:  # else rounding decides
        assert collapsed_share(m, v, a, 0.4) == pytest.approx(((kl < a).mean(0) >= 0.6).mean())
        assert inside_margin(m, v, a) == pytest.approx((kl.sum(1) < a).mean())


@given(hnp.arrays(np.float64, (5, 3), elements=st.floats(-1, 1)))
def test_sensitivity_of_a_linear_decoder_is_the_length_of_its_columns(columns: np.ndarray) -> None:
    weights = torch.from_numpy(columns)
    found = decoder_sensitivity(lambda z: z @ weights.T, draws(4, 3))
    np.testing.assert_allclose(found, np.sqrt(np.square(columns).mean(0)), atol=1e-9)
    ignored = decoder_sensitivity(lambda z: z[:, :1] @ weights[:, :1].T, draws(4, 3))
    assert ignored[1:].tolist() == [0, 0]
