"""The benchmark of the horizon: a row for each step at which a run is scored, and its pictures, to score again."""

import shutil
from dataclasses import replace
from pathlib import Path

import horizon
import pytest


@pytest.mark.slow
def test_settings_are_trained_and_scored_at_their_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SETTINGS": 1, "STEPS": (25, 50)}.items():
        monkeypatch.setattr(horizon, name, value)
    base = replace(horizon.TRAIN, widths=(8, 8), latent=8, warmup_steps=25, steps=75)
    rows = horizon.trained(base, tmp_path, workers=1, seeds=1)
    assert rows[["setting", "step"]].to_numpy().tolist() == [[0, 25], [0, 50]]
    assert rows.m.min() > 0 and rows[["score", "raw", "kl_real"]].notna().all(axis=None)
    assert rows.test.notna().tolist() == [False, True]  # at the end alone
    kept = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.npz"))
    steps = ("setting00-seed0-00025.npz", "setting00-seed0-00050.npz")
    assert kept == [*(f"raw/{name}" for name in steps), *(f"snapshots/{name}" for name in steps), f"test/{steps[1]}"]

    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("setting*")}
    assert horizon.trained(base, tmp_path, workers=1, seeds=1).equals(rows)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("setting*")}
    shutil.copyfile(tmp_path / "snapshots" / steps[0], tmp_path / "snapshots" / steps[1])
    again = horizon.trained(base, tmp_path, workers=1, seeds=1)
    assert again.score[1] == again.score[0] == rows.score[0] != rows.score[1]


def test_settings_are_spread_over_the_space(tmp_path: Path) -> None:
    setup, _ = horizon.study_of(horizon.TRAIN, 1, tmp_path)
    drawn = horizon.settings(setup)
    assert len(drawn) == horizon.SETTINGS
    for name, (low, high) in setup.space.to_dict().items():
        values = sorted(one[name] for one in drawn)
        middle = (low * high) ** 0.5
        assert low <= values[0] and values[-1] <= high and sum(value < middle for value in values) == 16
