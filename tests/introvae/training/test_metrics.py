"""Columns of metrics.csv: the values of one step."""

import math

import pytest
import torch

from introvae.training.metrics import MEANS, summary
from introvae.training.step import Terms

M = 10.0


def terms(kl_reconstruction: torch.Tensor | None = None, kl_sample: torch.Tensor | None = None) -> Terms:
    """Return the terms of a step on 101 images, whose energies are 0, 1, ... 100 nats."""
    return Terms(
        loss_encoder=torch.tensor(7.0), loss_decoder=torch.tensor(8.0), reconstruction=torch.tensor([2.0, 4.0]),
        kl_real=torch.arange(101.0), kl_reconstruction=kl_reconstruction, kl_sample=kl_sample,
        mu=torch.tensor([[1.0, -3.0], [0.5, 2.5]]), logvar=2 * torch.tensor([[1.0, 2.0], [4.0, 1.0]]).log(),
    )  # fmt: skip


def columns(found: Terms) -> dict[str, float]:
    return dict(zip(MEANS, summary(found, M).tolist(), strict=True))


def test_each_column_is_what_its_name_says() -> None:
    found = columns(terms(torch.tensor([5.0, M, 20.0]), torch.tensor([M, 3.0, 30.0])))
    assert found == pytest.approx({
        "loss_encoder": 7, "loss_decoder": 8, "reconstruction": 3, "kl_real": 50, "kl_real_p95": 95,
        "kl_reconstruction": 35 / 3, "kl_sample": 43 / 3, "inside_margin": 2 / 6,
        "mu_mean": 0.25, "mu_lowest": -3, "mu_highest": 2.5, "sigma_mean": 2, "sigma_lowest": 1, "sigma_highest": 4,
    })  # fmt: skip


def test_fakes_at_the_margin_are_not_inside_it() -> None:
    """The hinge [m - KL]^+ no longer pushes them."""
    assert columns(terms(torch.full((3,), M), torch.full((3,), M)))["inside_margin"] == 0


def test_a_vae_step_has_no_fakes() -> None:
    found = columns(terms())
    assert {name for name, value in found.items() if math.isnan(value)} == {
        "kl_reconstruction", "kl_sample", "inside_margin",
    }  # fmt: skip
