"""Collapse in the latents, against formulas written out."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from analysis.collapse import aggregate_divergence, collapsed_share, kl_per_dimension, kl_quantiles, mutual_information

LATENTS = hnp.arrays(np.float64, (6, 3), elements=st.floats(-4, 4))


def draws(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_kl_quantiles_show_what_the_mean_hides() -> None:
    """One strong image among a hundred."""
    mu, logvar = torch.zeros(100, 2), torch.zeros(100, 2)
    mu[0, 1] = 10
    quantiles = kl_quantiles(mu, logvar, (0.05, 0.5, 0.95, 1.0))
    assert quantiles.shape == (4, 2)
    assert quantiles[:3].abs().max() == 0 and quantiles[3].tolist() == [0, 50]
    assert kl_per_dimension(mu, logvar)[1].item() == pytest.approx(0.5)


def test_a_dimension_is_collapsed_if_nearly_no_image_uses_it() -> None:
    mu, logvar = torch.zeros(1000, 4), torch.zeros(1000, 4)
    mu[:5, 1] = 3  # half a percent of the images
    mu[:50, 2] = 3  # five
    mu[:, 3] = draws(1000)
    assert collapsed_share(mu, logvar) == 0.5
    assert collapsed_share(mu, logvar, delta=0.1) == 0.75
    assert collapsed_share(mu, logvar, epsilon=1e3) == 1


def test_mutual_information_is_the_estimate_written_out() -> None:
    mu, logvar, noise = 2 * draws(7, 3), draws(3, 7).T.contiguous(), draws(7, 6)[:, :3]
    z = mu + torch.exp(0.5 * logvar) * noise
    posteriors = [Normal(m, torch.exp(0.5 * v)) for m, v in zip(mu, logvar, strict=True)]
    total = 0.0
    for index in range(7):
        inside = torch.stack([q.log_prob(z[index]).sum() for q in posteriors])
        total += (inside[index] - (inside.exp().mean()).log()).item()
    assert mutual_information(mu, logvar, noise) == pytest.approx(total / 7, abs=1e-10)


def test_mutual_information_is_0_without_and_log_n_with_places_of_their_own() -> None:
    nothing = torch.zeros(64, 5)
    assert mutual_information(nothing, nothing, draws(64, 5)) == pytest.approx(0, abs=1e-12)
    apart = 100 * draws(64, 5)
    assert mutual_information(apart, torch.zeros(64, 5), draws(64, 5)) == pytest.approx(math.log(64))


@given(LATENTS, LATENTS)
def test_mutual_information_never_exceeds_its_bound(mu: np.ndarray, logvar: np.ndarray) -> None:
    found = mutual_information(torch.from_numpy(mu), torch.from_numpy(logvar), draws(6, 3))
    assert found <= math.log(6) + 1e-9


@given(LATENTS, LATENTS)
def test_aggregate_divergence_is_the_kl_of_its_gaussian(mu: np.ndarray, logvar: np.ndarray) -> None:
    m, v = torch.from_numpy(mu), torch.from_numpy(logvar)
    covariance = torch.from_numpy(np.cov(mu.T, bias=True)) + v.exp().mean(0).diag()
    prior = MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    expected = kl_divergence(MultivariateNormal(m.mean(0), covariance), prior).item()
    found = aggregate_divergence(m, v)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert found >= -1e-9


def test_the_prior_itself_has_no_divergence() -> None:
    assert aggregate_divergence(torch.zeros(10, 4), torch.zeros(10, 4)) == pytest.approx(0)
