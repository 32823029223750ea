"""Plans: seeds follow from a trial's number, and its margin from the KL that its warm-up has measured."""

from pathlib import Path

import pytest
import torch
from helpers import tiny_config

from analysis.measures.spectrum import predicted_kl
from introvae.errors import UserError
from introvae.runs.folder import METRICS, MetricsLog
from introvae.training.metrics import COLUMNS
from sweeps.plan import Setup, plan_trial
from sweeps.search.space import Space

VALUES = {"alpha": 0.2, "beta": 70.0, "margin_ratio": 2.0}


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    """Setup of a study whose warm-up has left its log."""
    setup = Setup(
        config=tiny_config(warmup_beta=60.0), space=Space(alpha=(0.1, 0.3), beta=(50.0, 80.0), margin_ratio=(1.0, 2.0)),
        spectrum=torch.linspace(1.0, 0.05, 16), folder=tmp_path / "study", weights={"score": 1.0},
    )  # fmt: skip
    warmup = setup.warmup_folder(setup.config)
    warmup.mkdir(parents=True)
    rows = [dict.fromkeys(COLUMNS, 60.0) | {"step": step, "kl_real": kl} for step, kl in ((4, 3.0), (8, 7.5))]
    MetricsLog(warmup, COLUMNS, rows)
    return setup


def log_of(setup: Setup) -> Path:
    return setup.warmup_folder(setup.config) / METRICS


def test_the_margin_is_the_ratio_times_the_vae_s_kl(setup: Setup) -> None:
    kl = 7.5 / predicted_kl(setup.spectrum, 60.0, 8) * predicted_kl(setup.spectrum, 70.0, 8)
    plan = plan_trial(setup, 3, VALUES)
    assert plan.vae_kl == pytest.approx(kl) != pytest.approx(7.5)
    assert plan.config.m == pytest.approx(2.0 * kl)
    assert plan_trial(setup, 3, VALUES | {"m": 77.0}).config.m == 77.0


def test_a_warm_up_that_diverged_before_its_first_row_measures_nothing(setup: Setup) -> None:
    log = log_of(setup)
    log.write_text(log.read_text().splitlines(keepends=True)[0])
    assert plan_trial(setup, 3, VALUES).config.m == pytest.approx(2.0 * predicted_kl(setup.spectrum, 70.0, 8))


@pytest.mark.parametrize(("text", "reason"), [
    ("", "it is empty, or cut off in its first line; restore it, or "),
    ("step,kl_real\nten,3\n", "could not convert string to float: 'ten'; restore it, or "),
    (None, ", by which margins are measured, is gone; "),
])  # fmt: skip
def test_a_warm_up_s_log_that_cannot_be_read_is_an_error(setup: Setup, text: str | None, reason: str) -> None:
    log = log_of(setup)
    log.unlink()
    if text is not None:
        log.write_text(text)
    with pytest.raises(UserError, match=f"{reason}remove {log.parent} to start over"):
        plan_trial(setup, 3, VALUES)


def test_seeds_follow_from_the_number(setup: Setup) -> None:
    values = VALUES | {"m": 5.0}
    seeds = [plan_trial(setup, number, values).config.seed for number in range(5)]
    assert len(set(seeds)) == 5
    assert plan_trial(setup, 3, values).config.seed == seeds[3]
    assert plan_trial(setup, 3, values).config.warmup_seed == setup.config.seed
