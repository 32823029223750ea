"""Studies replayed over runs whose early scores tell all, nothing, or the wrong."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import replay
from helpers import ROOT

STEPS = (25, 50, 75, 200, 400, 550, 800, 1200, 1600)
THIRDS = {75: 1 / 3, 200: 1 / 3, 550: 1 / 3}
HALVING = replay.by_halving(STEPS, THIRDS)


def table(
    early: float, noise: float = 0.0, settings: int = 27, kl: Callable[[int], float] = lambda setting: 9.0
) -> pd.DataFrame:
    """Runs of three seeds whose early scores follow the last one by so much, with noise on each score."""
    rng = np.random.default_rng(0)
    rows = []
    for setting, seed, step in product(range(settings), range(3), STEPS):
        follow = 1.0 if step == STEPS[-1] else early
        score = follow * setting / settings + noise * rng.normal()
        test = setting / settings if step == STEPS[-1] else None
        values: dict[str, float | None] = {
            "raw": -score, "alpha": 1.0 + setting, "beta": 50.0 - setting, "m": 9.0, "vae_kl": 3.0 + setting % 2,
            "kl_real": kl(setting),
        }  # fmt: skip
        rows.append({"setting": setting, "seed": seed, "step": step, "score": score, "test": test, **values})
    return pd.DataFrame(rows)


@pytest.fixture(autouse=True)
def few_studies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "STUDIES", 40)


def found(table: pd.DataFrame, way: replay.Way) -> dict[str, float]:
    return replay.searched(replay.Runs.of(table), way)


def test_where_early_scores_tell_all_the_best_is_found_at_a_fraction_of_the_steps() -> None:
    result = found(table(early=1.0), HALVING)
    assert result["quality"] == pytest.approx(1.0) and result["low"] == pytest.approx(1.0)
    assert result["share of steps"] == pytest.approx((20 * 75 + 7 * 125 + 2 * 350 + 1050) / (20 * 1600))
    for share in (0.12, 0.2):
        result = found(table(early=1.0), replay.by_promotion(STEPS, share))
        assert result["quality"] > 0.95 and share - 0.06 < result["share of steps"] <= share


def test_where_they_tell_nothing_or_the_wrong_the_best_is_missed_by_halving() -> None:
    assert found(table(early=0.0, noise=0.1), HALVING)["quality"] < 0.3
    assert found(table(early=-1.0), replay.by_halving(STEPS, {75: 1 / 3}))["quality"] < 0


def test_promotion_learns_from_the_kl_where_early_scores_tell_nothing() -> None:
    rows = table(early=0.0, noise=0.1, kl=lambda setting: np.exp(-setting / 9))
    by_kl, by_scores = (found(rows, replay.by_promotion(STEPS, 0.2, by_kl)) for by_kl in (True, False))
    assert by_kl["quality"] > by_scores["quality"] + 0.05 and by_kl["share of steps"] <= 0.2
    assert replay.correlations(rows)["KL"].tolist()[:-1] == pytest.approx([-0.9] * 8, abs=0.1)


def test_runs_that_diverged_have_scored_nothing_since() -> None:
    rows = table(early=1.0, settings=3)
    rows = rows[~((rows["setting"] == 2) & (rows["seed"] == 1) & rows["step"].isin((200, 550)))]
    runs = replay.Runs.of(rows)
    assert runs.at(200)[2].tolist() == [2 / 3, 0.0, 2 / 3] and runs.test.shape == (3, 3)


def test_correlations_are_of_the_same_runs_and_of_other_seeds() -> None:
    rows = replay.correlations(table(early=-1.0)).to_numpy()  # step, same run, another seed
    assert rows[:, 0].tolist() == list(map(str, STEPS))
    assert rows[2, [1, 2, 3, 5, 6]].tolist() == pytest.approx([-1.0, 1.0, -1.0, -1.0, 1.0])
    assert rows[-1, [1, 2, 3, 5, 6]].tolist() == pytest.approx([1.0, -1.0, 1.0, 1.0, -1.0]) and abs(rows[-1, 7]) < 0.2
    noisy = replay.correlations(table(early=1.0, noise=0.3)).to_numpy()
    assert noisy[-1, 1] == pytest.approx(1.0) and 0.2 < noisy[-1, 3] < 0.9


def test_the_command_prints_both_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = table(early=1.0, kl=lambda setting: (1.0 + setting) * (3.0 + setting % 2))
    rows.to_csv(tmp_path / "horizon.csv", index=False)
    replay.main([str(tmp_path / "horizon.csv")])
    shown = capsys.readouterr().out
    assert "| 1600 | 1.00 | -1.00 | 1.00 | 1.00 | 1.00 | -1.00 | " in shown
    assert "| all to the end | 1.00 | 1.00 | 1.00 |" in shown


@pytest.mark.slow
@pytest.mark.parametrize("name", ["horizon.csv", "horizon-lfw.csv"])
def test_the_published_tables_are_those_of_the_file(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # of the few studies
    replay.main([str(ROOT / "docs" / name)])
    published = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    for table in capsys.readouterr().out.strip().split("\n\n"):
        assert table in published
