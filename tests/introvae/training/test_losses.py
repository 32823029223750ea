import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from introvae.training.losses import exponential_elbo, hinge, kl_divergence, reconstruction_error, sample_posterior

LATENTS = hnp.arrays(np.float64, (3, 4), elements=st.floats(-8, 8))


def test_reconstruction_error_is_half_the_squared_error_summed_over_pixels() -> None:
    image = torch.zeros(2, 3, 4, 4)
    reconstruction = torch.full((2, 3, 4, 4), 0.5)
    reconstruction[1] = 1.0
    assert reconstruction_error(reconstruction, image).tolist() == [0.5 * 48 * 0.25, 0.5 * 48]


@given(LATENTS, LATENTS)
def test_kl_equals_the_distributions_library_and_is_never_negative(mu: np.ndarray, logvar: np.ndarray) -> None:
    mean, log_variance = torch.from_numpy(mu), torch.from_numpy(logvar)
    q = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    p = torch.distributions.Normal(torch.zeros(()).double(), torch.ones(()).double())
    expected = torch.distributions.kl_divergence(q, p).sum(1)
    kl = kl_divergence(mean, log_variance)
    torch.testing.assert_close(kl, expected, rtol=1e-10, atol=1e-10)
    assert (kl >= 0).all()


def test_kl_of_the_prior_is_zero() -> None:
    assert kl_divergence(torch.zeros(2, 5), torch.zeros(2, 5)).tolist() == [0, 0]


def test_hinge_over_samples_and_over_the_batch() -> None:
    kl = torch.tensor([2.0, 14.0])
    assert hinge(kl, 10).item() == 4.0  # mean of 8 and 0
    assert hinge(kl.mean(), 10).item() == 2.0  # 10 less the mean of 8
    assert hinge(kl, 1).item() == hinge(kl.mean(), 1).item() == 0.0


@given(hnp.arrays(np.float64, 6, elements=st.floats(0, 200)), st.floats(0, 200))
def test_hinge_over_samples_is_never_less_than_over_the_batch(kl: np.ndarray, m: float) -> None:
    energies = torch.from_numpy(kl)
    assert hinge(energies, m) >= hinge(energies.mean(), m) - 1e-9


def test_exponential_elbo_is_half_at_no_energy_and_falls() -> None:
    assert exponential_elbo(torch.zeros(3)).item() == 0.5
    assert exponential_elbo(torch.tensor([0.5, 1.0])).item() == pytest.approx((math.exp(-1) + math.exp(-2)) / 4)


def test_posterior_sample_has_its_mean_and_deviation() -> None:
    mu, logvar = torch.full((100_000, 1), 3.0), torch.full((100_000, 1), 4.0).log()
    z = sample_posterior(mu, logvar, torch.randn(100_000, 1, generator=torch.Generator().manual_seed(0)))
    assert z.mean().item() == pytest.approx(3, abs=0.03)
    assert z.std().item() == pytest.approx(2, abs=0.03)
