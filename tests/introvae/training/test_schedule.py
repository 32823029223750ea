"""Schedules: the weights and the seed of each step."""

import pytest
from helpers import tiny_config

from introvae.config import Schedule
from introvae.training.schedule import Weights, phase_seed, value_at, weights_at

RAMP: Schedule = ((10, 0.0), (20, 0.5), (40, 0.25))


@pytest.mark.parametrize(
    ("step", "value"), [(0, 0), (10, 0), (12, 0.1), (20, 0.5), (30, 0.375), (40, 0.25), (1000, 0.25)]
)
def test_schedule_is_piecewise_linear(step: int, value: float) -> None:
    assert value_at(RAMP, step) == pytest.approx(value)
    assert value_at(0.7, step) == 0.7


def test_warmup_is_a_vae_with_its_own_beta() -> None:
    config = tiny_config(alpha=0.3, alpha_decoder=0.6, beta=5.0, m=7.0, warmup_steps=4, warmup_beta=2.0)
    assert weights_at(config, 3) == Weights(
        alpha=0.0, alpha_decoder=0.6, beta=2.0, kl_weight=1.0, m=7.0, beta_neg=256.0
    )
    assert weights_at(config, 4) == Weights(
        alpha=0.3, alpha_decoder=0.6, beta=5.0, kl_weight=1.0, m=7.0, beta_neg=256.0
    )
    assert weights_at(tiny_config(beta=5.0), 0).beta == 5.0
    assert weights_at(tiny_config(alpha=0.3), 19).alpha_decoder == 0.3


def test_soft_introvae_weighs_its_losses_by_the_numbers_of_an_image() -> None:
    config = tiny_config(objective="soft", channels=3, image_size=16, widths=(8, 8), beta_neg=9.0, gamma_r=0.5)
    weights = weights_at(config, 19)
    assert weights.scale == pytest.approx(1 / (3 * 16 * 16))
    assert (weights.objective, weights.beta_neg, weights.gamma_r) == ("soft", 9.0, 0.5)
    assert weights_at(tiny_config(), 19).scale == 1


def test_the_warm_up_has_a_seed_of_its_own() -> None:
    config = tiny_config(seed=1, warmup_seed=2, warmup_steps=8)
    assert [phase_seed(config, step) for step in (0, 7, 8, 19)] == [2, 2, 1, 1]
    assert phase_seed(tiny_config(seed=1), 0) == 1
