"""Disk use of a study."""

from pathlib import Path

import optuna
from optuna.trial import TrialState

from sweeps.cleanup import keep_best


def test_the_checkpoints_of_the_best_trials_are_kept(tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize")
    for number, value in enumerate((0.1, 0.4, 0.3, 0.2)):
        state = TrialState.PRUNED if number == 1 else TrialState.COMPLETE
        study.add_trial(optuna.create_trial(state=state, value=value))
        for name in ("checkpoint.pt", "checkpoint.previous.pt", "metrics.csv"):
            (tmp_path / str(number)).mkdir(exist_ok=True)
            (tmp_path / str(number) / name).touch()
    keep_best(study.trials, lambda number: tmp_path / str(number), 4, set())
    assert len(list(tmp_path.glob("*/checkpoint*.pt"))) == 8  # what did not end well too, while there is room
    keep_best(study.trials, lambda number: tmp_path / str(number), 2, set())
    assert {path.parent.name for path in tmp_path.glob("*/checkpoint*.pt")} == {"2", "3"}
    assert len(list(tmp_path.glob("*/metrics.csv"))) == 4
