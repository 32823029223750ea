"""The benchmark of the horizon: a row for each step at which a run is scored, and pictures of some."""

from dataclasses import replace
from pathlib import Path

import horizon
import pytest


def test_settings_are_trained_and_scored_at_their_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SETTINGS": 2, "STEPS": (25, 50), "KEPT": (50,)}.items():
        monkeypatch.setattr(horizon, name, value)
    base = replace(horizon.TRAIN, widths=(8, 8), latent=8, warmup_steps=25, steps=75)
    rows = horizon.trained(base, tmp_path, workers=1, seeds=1)
    assert rows[["setting", "step"]].to_numpy().tolist() == [[0, 25], [0, 50], [1, 25], [1, 50]]
    assert rows.alpha.nunique() == 2 and rows.m.min() > 0 and rows[["score", "raw", "kl_real"]].notna().all(axis=None)
    assert rows.test.notna().tolist() == [False, True] * 2  # at the end alone
    names = [f"setting0{number}-seed0-00050.npz" for number in range(2)]
    assert sorted(path.name for path in (tmp_path / "snapshots").iterdir()) == names
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
    assert horizon.trained(base, tmp_path, workers=1, seeds=1).equals(rows)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
