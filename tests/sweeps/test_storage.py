"""A study is read from memory, and its database holds the same."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from driven import Drawing, drawn_study
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState

from sweeps.engines.local import InlineEngine
from sweeps.search.space import Space
from sweeps.study import DATABASE, open_study

SPACE = Space(alpha=(0.1, 1.0), beta=(1.0, 100.0), margin_ratio=(4.0, 4.0), search={"batch_size": (4, 64)})


def stored(folder: Path) -> optuna.Study:
    """Return a study as any other process reads it."""
    return optuna.load_study(study_name=folder.name, storage=f"sqlite:///{folder / DATABASE}")


def contents(trials: Sequence[FrozenTrial]) -> list[dict[str, Any]]:
    """Return all that trials hold, but for ids and times, which are the storage's own."""
    own = ("_trial_id", "_datetime_start", "datetime_complete")
    return [{name: value for name, value in vars(trial).items() if name not in own} for trial in trials]


def order(trials: Sequence[FrozenTrial]) -> tuple[list[int], list[int]]:
    """Return the numbers of the trials that have begun, and of those that have ended, the first one first."""
    begun = sorted((t.datetime_start, t.number) for t in trials if t.datetime_start)
    ended = sorted((t.datetime_complete, t.number) for t in trials if t.datetime_complete)
    return [number for _, number in begun], [number for _, number in ended]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_database_holds_what_memory_does(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    study = drawn_study(folder, SPACE, 12, InlineEngine(Drawing()))
    study.enqueue_trial({"alpha": 0.5}, user_attrs={"from": "a person"})
    trial = study.ask()
    trial.suggest_float("alpha", 0.1, 1.0, log=True)
    trial.report(0.25, 2)
    study.add_trial(optuna.create_trial(value=0.75, user_attrs={"m": 3.0}))
    study.set_user_attr("note", [1, 2])
    study.set_metric_names(["score"])
    assert [t.state for t in study.trials[12:]] == [TrialState.RUNNING, TrialState.COMPLETE]
    assert order(study.trials) == ([*range(14)], [*range(12), 13])
    for other in (stored(folder), open_study(folder, {})):
        assert contents(other.trials) == contents(study.trials) and order(other.trials) == order(study.trials)
        assert other.metric_names == study.metric_names == ["score"]
        assert other.user_attrs == study.user_attrs == {"settings": {}, "note": [1, 2]}
    again = open_study(folder, {})
    again.tell(12, state=TrialState.PRUNED)
    assert again.trials[12].value == 0.25 and again.trials[12].datetime_complete
    assert contents(stored(folder).trials) == contents(again.trials)


def test_trials_hold_what_their_driver_says_and_nothing_that_only_other_processes_need(tmp_path: Path) -> None:
    """TPE, which begins after ten trials, would share each draw."""
    study = drawn_study(tmp_path / "study", SPACE, 12, InlineEngine(Drawing()))
    assert {*study.trials[-1].system_attrs} == {"constraints:failed"}
    assert {*study.trials[-1].user_attrs} == {"m", "trained", "outcome"}


def test_a_study_that_shares_its_database_has_its_own_trials(tmp_path: Path) -> None:
    """Their ids in the database are not their numbers."""
    folder = tmp_path / "study"
    folder.mkdir()
    other = optuna.create_study(study_name="other", storage=f"sqlite:///{folder / DATABASE}")
    for value in (1.0, 2.0):
        other.add_trial(optuna.create_trial(value=value))
    study = drawn_study(folder, SPACE, 2, InlineEngine(Drawing()))
    assert contents(stored(folder).trials) == contents(study.trials) and len(study.trials) == 2
    assert len(other.trials) == 2


def test_what_the_database_does_not_take_is_not_in_memory(tmp_path: Path) -> None:
    study = open_study(tmp_path / "study", {})
    trial = study.ask()

    def refuse(*_: object) -> None:
        raise sqlalchemy.exc.OperationalError("", (), Exception("database or disk is full"))

    engine = study._storage.database.engine  # type: ignore[attr-defined]
    sqlalchemy.event.listen(engine, "before_cursor_execute", refuse)
    for write in (lambda: trial.report(0.5, 1), lambda: study.tell(trial, 0.5)):
        with pytest.raises(StorageInternalError):
            write()
    sqlalchemy.event.remove(engine, "before_cursor_execute", refuse)
    assert [(t.state, t.intermediate_values) for t in study.trials] == [(TrialState.RUNNING, {})]
