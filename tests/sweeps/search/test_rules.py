"""Trials that end before their last step."""

import math

import pytest
from helpers import tiny_config

from sweeps.search.rules import Rules, Stopped

VAE_KL = 20.0
HEALTHY = (30.0, 35.0, 28.0)  # KL of real images, reconstructions and samples, in nats


def fate(*energies: tuple[float, float, float], m: float = 60.0, vae_kl: float = VAE_KL) -> tuple[int, str, str] | None:
    """Return step, state and reason of the end of a run that logs these energies in 100 steps after its warm-up."""
    check = Rules(tiny_config(m=m, warmup_steps=100, steps=200), vae_kl)
    names = ("step", "alpha", "kl_real", "kl_reconstruction", "kl_sample")
    check(dict(zip(names, (100, 0.0, 0.0, math.nan, math.nan), strict=True)))  # of the warm-up
    for row, values in enumerate(energies, 1):
        step = 100 + 5 * row
        try:
            check(dict(zip(names, (step, 0.25, *values), strict=True)))
        except Stopped as stopped:
            return step, stopped.state, str(stopped)
    return None


def test_a_healthy_run_continues() -> None:
    assert fate(*[HEALTHY] * 20) is None


@pytest.mark.parametrize(("energies", "state", "reason"), [
    ((0.9, 30.0, 28.0), "collapsed", "posterior collapse (KL 0.9 nats, a VAE's is 20)"),
    ((601.0, 30.0, 28.0), "diverged", "runaway energy (KL 601 nats, m 60)"),
    ((30.0, 601.0, 28.0), "diverged", "runaway energy"),
    ((30.0, 30.0, 601.0), "diverged", "runaway energy"),
])  # fmt: skip
def test_a_hopeless_run_ends_at_once(energies: tuple[float, float, float], state: str, reason: str) -> None:
    ended = fate(HEALTHY, energies)
    assert ended and ended[:2] == (110, state) and ended[2].startswith(reason)


def test_energy_is_measured_against_a_vae_s_where_m_is_small() -> None:
    assert fate((199.0, 199.0, 199.0), m=1.0) is None
    assert fate((201.0, 199.0, 199.0), m=1.0)


def test_few_nats_never_run_away() -> None:
    assert fate((99.0, 99.0, 99.0), m=1.0, vae_kl=0.1) is None
    assert fate((101.0, 99.0, 99.0), m=1.0, vae_kl=0.1)


def test_a_vae_among_the_points_of_a_study_is_left_alone() -> None:
    check = Rules(tiny_config(alpha=0.0, warmup_steps=100, steps=200), VAE_KL)
    for step in (150, 200):
        check({"step": step, "alpha": 0.0, "kl_real": 20.0, "kl_reconstruction": math.nan, "kl_sample": math.nan})
