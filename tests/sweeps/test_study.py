"""Studies are continued with their own settings only."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from studies import finished

from introvae.errors import UserError
from introvae.runs.folder import PARAMS
from sweeps.study import best_trial, open_study
from sweeps.workers.slots import missing_slots

SETTINGS = {"steps": 10, "search.alpha": [0.1, 1.0]}


def test_slots_are_filled_by_complete_and_pruned_trials(tmp_path: Path) -> None:
    study = open_study(tmp_path / "s", SETTINGS)
    assert missing_slots(study, 2) == [0, 1] and best_trial(study.trials) is None
    study.add_trial(optuna.create_trial(state=TrialState.FAIL))
    finished(study, 1, {5: 0.7}, pruned=True)
    assert missing_slots(study, 2) == [0]
    finished(study, 0, {5: 0.3}, retry=True)
    assert missing_slots(study, 2) == [] and missing_slots(study, 3) == [2]
    best = best_trial(study.trials)
    assert best and best.value == 0.3


def test_a_study_continues_with_its_own_settings_only(tmp_path: Path) -> None:
    finished(open_study(tmp_path / "s", SETTINGS), 0, {5: 0.3})
    assert len(open_study(tmp_path / "s", dict(SETTINGS)).trials) == 1
    with pytest.raises(
        UserError, match=r"other settings \(search.alpha: \[0.1, 1.0\] -> \[0.1, 2.0\]; steps: 10 -> 20\)"
    ):
        open_study(tmp_path / "s", {"steps": 20, "search.alpha": [0.1, 2.0]})


def test_runs_that_are_kept_without_their_study_are_not_written_into(tmp_path: Path) -> None:
    kept = tmp_path / "s" / "trial-000" / PARAMS
    kept.parent.mkdir(parents=True)
    kept.touch()
    with pytest.raises(UserError, match="s holds runs without the study that made them; --study NEW begins another"):
        open_study(tmp_path / "s", SETTINGS)
    assert list((tmp_path / "s").iterdir()) == [kept.parent]
    assert open_study(tmp_path / "s", SETTINGS, url=f"sqlite:///{tmp_path / 'elsewhere.db'}").trials == []
