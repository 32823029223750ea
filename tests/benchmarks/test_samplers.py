"""Samplers compared over an interpolation of runs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import samplers
from helpers import ROOT

STEPS = (50, 200, 400, 800, 1600)


def table() -> pd.DataFrame:
    """Runs of one seed, whose scores rise by log alpha, and by log beta from the second half on."""
    rng = np.random.default_rng(0)
    rows = []
    for setting in range(40):
        alpha, beta, ratio = np.exp(rng.random(3))
        for step in STEPS:
            score = np.log(alpha) + (np.log(beta) if step >= 800 else 0.0)
            known = {"setting": setting, "seed": 0, "step": step, "alpha": alpha, "beta": beta, "m": ratio}
            known |= {"vae_kl": 1.0, "kl_real": alpha}
            rows.append(known | {"score": score, "test": score if step == STEPS[-1] else None})
    return pd.DataFrame(rows)


def test_the_surface_holds_the_scores_of_each_step() -> None:
    surface = samplers.Surface(table())
    best, worst = ({"alpha": end, "beta": end, "ratio": 0.5} for end in (1.0, 0.0))
    assert surface.worth(best) == pytest.approx(1.0, abs=0.1) and surface.worth(worst) < -0.8
    assert surface.scores([[1.0, 0.0, 0.5]])[0] == pytest.approx([1.0, 1.0, 1.0, 1.0, 1.0], abs=0.1)
    assert surface.scores([[0.0, 1.0, 0.5]])[0] == pytest.approx([0.0, 0.0, 0.0, 1.0, 1.0], abs=0.1)
    assert not surface.deviations.any()
    low, high = (surface.inflation([alpha, 0.5, 0.5]) for alpha in (0.0, 1.0))
    assert high - low == pytest.approx(1.0, abs=0.1)  # log alpha's range


def test_a_study_finds_less_than_it_draws_where_early_scores_tell_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "TRIALS", 20)
    surface = samplers.Surface(table())
    for sampler, eager in (("sobol", False), ("tpe", True)):
        study = samplers.study_of(surface, sampler, eager, seed=0)
        assert 0.3 < study["found"] <= study["drawn"] <= 1.1 and 0.1 < study["share of steps"] < 0.4
        assert study == samplers.study_of(surface, sampler, eager, seed=0)


@pytest.mark.slow
def test_the_published_table_is_that_of_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    samplers.main([str(ROOT / "docs" / "horizon.csv")])
    published = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out.strip() in published


def test_the_command_takes_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table().to_csv(tmp_path / "horizon.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samplers, "STUDIES", 2)
        patch.setattr(samplers, "TRIALS", 12)
        samplers.main([str(tmp_path / "horizon.csv")])
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 5 and rows[2].startswith("| sobol | ") and all(row.count("±") == 3 for row in rows[2:])
