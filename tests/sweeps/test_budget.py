"""Limits of a study: its steps, --budget, --hours and --patience, and what the view says is left."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from counting import RUNGS, Counting, Killed, ends, fill, fill_warm, steps
from optuna.trial import FrozenTrial, TrialState

from introvae.runs.folder import MetricsLog
from introvae.training.metrics import COLUMNS
from sweeps.search.budget import Budget, Pace
from sweeps.search.promotion import Promotion
from sweeps.tasks.task import Result, Task
from sweeps.view import View

Shown = list[tuple[bool, int, int]]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """List of what the view shows, in order: whether a trial was left behind, and the steps done and still to do."""
    seen: Shown = []

    def study(view: View, trials: list[FrozenTrial], trained: int, left: int, lasts: float | None = None) -> None:
        seen.append((any(trial.state == TrialState.PRUNED for trial in trials), trained, left))

    monkeypatch.setattr(View, "study", study)
    return seen


def test_once_trials_are_left_behind_nothing_is_left_to_train(tmp_path: Path, shown: Shown) -> None:
    fill(tmp_path / "study", 12, Counting())
    assert shown[0] == (False, 0, 51) and shown[-1][1] < 51  # the last stretch would be too long
    assert {left == 0 for pruned, _, left in shown if pruned} == {True}


@pytest.mark.parametrize(("budget", "whole"), [(60, 60), (1000, 86)])
def test_what_is_left_to_train_is_what_the_budget_leaves_of_a_study_s_steps(
    budget: int, whole: int, tmp_path: Path, shown: Shown
) -> None:
    fill(tmp_path / "study", 20, Counting(), budget=budget)  # 0.16 of 20 trials of 27 steps are 86
    assert shown[0] == (False, 0, whole)
    assert {trained + left for pruned, trained, left in shown if not pruned} == {whole}


def test_with_patience_at_its_end_no_steps_are_left_for_trials_that_will_not_begin(
    tmp_path: Path, shown: Shown
) -> None:
    study = fill(tmp_path / "study", 40, Counting(), patience=5)
    wholes = [trained + left for pruned, trained, left in shown if not pruned]
    begun = len(study.trials)
    assert wholes[0] == 172 and wholes[-1] == Promotion(0, RUNGS, 27).steps(begun) < 172


def test_nothing_is_left_to_train_once_all_trials_have_failed(tmp_path: Path, shown: Shown) -> None:
    fill(tmp_path / "study", 2, Counting(failing=0.0, at=1))
    assert [left for _, _, left in shown] == [28, 28, 0]


@pytest.mark.parametrize("budget", [27, 28, 60, 100])
def test_a_budget_is_kept_and_the_best_trial_finished_within_it(budget: int, tmp_path: Path) -> None:
    study = fill(tmp_path / "study", 40, Counting(), budget=budget)
    assert len(study.trials) < 40 and all(t.state.is_finished() for t in study.trials)
    assert budget - 27 < steps(study) <= budget
    complete_ = [t for t in study.trials if t.state == TrialState.COMPLETE]
    assert max(t.params["alpha"] for t in study.trials) in [t.value for t in complete_]
    judge = Counting()
    assert ends(fill(tmp_path / "study", 40, judge, budget=budget)) == ends(study) and not judge.tasks
    larger = fill(tmp_path / "study", 40, Counting(), budget=2 * budget)
    assert budget < steps(larger) <= 2 * budget and ends(larger)[: len(study.trials)] == ends(study)


@pytest.mark.slow
def test_a_driver_that_is_killed_keeps_its_budget(tmp_path: Path) -> None:
    whole = Counting()
    expected = ends(fill(tmp_path / "whole", 40, whole, budget=60))
    for killed_at in range(2, len(whole.tasks) + 1, 6):
        folder = tmp_path / f"cut-{killed_at}"
        with pytest.raises(Killed):
            fill(folder, 40, Counting(killed_at), budget=60)
        assert ends(fill(folder, 40, Counting(), budget=60)) == expected


def test_no_trial_begins_once_many_have_brought_no_better_one(tmp_path: Path) -> None:
    study = fill(tmp_path / "study", 40, Counting(), patience=5)
    assert len(study.trials) == study.best_trial.number + 6 and all(t.state.is_finished() for t in study.trials)


def test_hours_that_have_ended_a_study_end_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that knows of nothing but training, a second for each step."""
    now = 0
    monkeypatch.setattr("sweeps.supervisor.time", SimpleNamespace(monotonic=lambda: now))

    def judge(task: Task) -> Result:
        nonlocal now
        now += task.until - task.reached
        return Counting()(task)

    study = fill(tmp_path / "study", 40, judge, hours=60 / 3600)
    assert len(study.trials) < 40 and now == steps(study) <= 60
    assert ends(fill(tmp_path / "study", 40, judge, hours=60 / 3600)) == ends(study)


def test_hours_are_counted_by_the_speed_so_far() -> None:
    budget, pace = Budget(hours=1.0), Pace(workers=2)
    assert budget.allows(10**9, pace)  # nothing is known
    pace.trained(100, 50.0)
    pace.trained(100, 150.0)
    assert budget.allows(7200, pace) and not budget.allows(7201, pace)  # a second for each step of two workers
    assert not Budget(steps=100, hours=1.0).allows(101, pace)


def test_the_speed_is_that_of_the_steps_that_are_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that goes on with trials has not trained what came before, though their scores do not tell of it."""
    noted: list[int] = []
    monkeypatch.setattr(Pace, "trained", lambda pace, steps, seconds: noted.append(steps))
    counting = Counting()

    def judge(task: Task) -> Result:
        result = counting(task)
        if len(counting.tasks) == 14:
            MetricsLog(task.plan.folder, COLUMNS, [dict.fromkeys(COLUMNS, 10.0) | {"step": 6}])
            raise Killed
        return result

    with pytest.raises(Killed):
        fill(tmp_path / "study", 12, judge)
    assert counting.tasks[-1][1:] == (7, False)
    before = sum(noted)
    noted.clear()
    study = fill(tmp_path / "study", 12, Counting())
    assert before + sum(noted) == steps(study) - 2  # nobody knows how fast the two steps before the kill were


def test_the_speed_is_that_of_steps_after_the_warm_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that are left to train, and those that --hours limits, are counted from there."""
    noted: list[int] = []
    monkeypatch.setattr(Pace, "trained", lambda pace, steps, seconds: noted.append(steps))
    study = fill_warm(tmp_path / "study", Counting())
    assert sum(noted) == steps(study) - 3 * 8


def test_trials_that_fail_are_not_the_better_ones(tmp_path: Path) -> None:
    """The first of those that fail at the end scores most at all rungs, and would end the study after six trials."""
    study = fill(tmp_path / "study", 40, Counting(failing=0.7, at=27), patience=3)
    assert study.trials[1].constraints["failed"] > 0
    assert len(study.trials) == study.best_trial.number + 4 > 6
