"""A study in which trials go on past rungs: the best ones to the end, whatever happens to the driver."""

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from driven import Drawing, alpha_of, complete, drawn_study
from optuna.trial import FrozenTrial, TrialState

from introvae.runs.folder import CHECKPOINT, MetricsLog
from introvae.runs.record import RunState, write_record
from introvae.training.metrics import COLUMNS
from sweeps.engines.local import InlineEngine
from sweeps.search.budget import Budget, Pace
from sweeps.search.promotion import Promotion
from sweeps.search.space import Space
from sweeps.tasks.task import Result, Task
from sweeps.view import View

SPACE = Space(alpha=(0.1, 1.0), beta=(1.0, 100.0), margin_ratio=(4.0, 4.0))
RUNGS = (1, 4, 7, 14)
LEARN = Promotion.learn


class Killed(BaseException):
    """End of a driver's process."""


class Counting:
    """Judge by alpha, that notes each task and ends the process at one of them; `kl` is a trial's, by its number."""

    def __init__(
        self, killed_at: int = 0, failing: float = 2.0, at: int = 14, kl: Callable[[int], float] | None = None
    ) -> None:
        self.killed_at, self.failing, self.at, self.kl = killed_at, failing, at, kl
        self.tasks: list[tuple[int, int, bool]] = []

    def __call__(self, task: Task) -> Result:
        self.tasks.append((int(task.plan.folder.name[-3:]), task.until, bool(task.pruned)))
        if len(self.tasks) == self.killed_at:
            raise Killed
        score = alpha_of(task)
        if task.pruned:
            return complete(task, score, RunState.PRUNED)
        if task.until >= self.at and score > self.failing:
            return complete(task, 0.0, RunState.COLLAPSED)
        if task.until == 27:
            return complete(task, score)
        kl = self.kl(self.tasks[-1][0]) * task.until if self.kl else None  # the first one counts
        return Result(step=task.until, score=score, kl=kl)


def fill(folder: Path, trials: int, judge: Callable[[Task], Result], **limits: Any) -> optuna.Study:
    engine = InlineEngine(Drawing(judge))
    return drawn_study(folder, SPACE, trials, engine, sampler="sobol", limits=limits, steps=27, log_every=1)


def ends(study: optuna.Study) -> list[tuple[float, TrialState, list[int]]]:
    """Return score, state and steps of scores of each trial."""
    return [(t.params["alpha"], t.state, list(t.intermediate_values)) for t in study.trials]


def test_the_best_are_trained_to_the_end_and_the_others_as_far_as_their_places(tmp_path: Path) -> None:
    judge = Counting()
    study = fill(tmp_path / "study", 12, judge)
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    reached = {t.number: max(t.intermediate_values) for t in study.trials}
    assert set(reached.values()) <= {*RUNGS, 27} and 51 - 13 < sum(reached.values()) <= 51  # of 12 * 27
    best = max(study.trials, key=lambda trial: trial.params["alpha"])
    assert study.best_trial.number == best.number and reached[best.number] == 27
    assert max(alpha for alpha, state, _ in ends(study) if state == TrialState.PRUNED) < best.params["alpha"]
    assert len(judge.tasks) == len(set(judge.tasks))  # nothing is trained twice
    assert all(t.value == t.params["alpha"] for t in study.trials)


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


@pytest.mark.parametrize("trials", [1, 2])
def test_a_small_study_ends_with_a_complete_trial(trials: int, tmp_path: Path) -> None:
    study = fill(tmp_path / "study", trials, Counting())
    assert [t.state for t in study.trials].count(TrialState.COMPLETE) == 1


def unlike(number: int) -> float:
    return 10.0 ** (7 * number % 5)


def test_a_study_remembers_the_kl_at_the_first_rung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learned: dict[int, list[float]] = {}

    def learn(self: Promotion, number: int, place: Any, scores: Any, inflation: float) -> None:
        learned.setdefault(number, []).append(inflation)
        LEARN(self, number, place, scores, inflation)

    monkeypatch.setattr(Promotion, "learn", learn)
    study = fill(tmp_path / "study", 6, Counting(kl=unlike))
    ratios = [trial.user_attrs["KL over a VAE's"] for trial in study.trials]
    expected = [
        [math.log(ratio)] * len(trial.intermediate_values) for ratio, trial in zip(ratios, study.trials, strict=True)
    ]
    assert list(learned.values()) == expected
    learned.clear()
    fill(tmp_path / "study", 7, Counting())
    assert [learned[number][0] for number in range(6)] == [math.log(ratio) for ratio in ratios]
    assert all(math.isnan(inflation) for inflation in learned[6])

    twice = fill(tmp_path / "twice", 6, Counting(kl=lambda number: 2 * unlike(number)))
    assert [trial.user_attrs["KL over a VAE's"] for trial in twice.trials] == [2 * ratio for ratio in ratios]


@pytest.mark.slow
def test_a_driver_that_is_killed_decides_the_same_later(tmp_path: Path) -> None:
    whole = Counting(kl=unlike)
    expected = ends(fill(tmp_path / "whole", 12, whole))
    for killed_at in range(1, len(whole.tasks) + 1, 3):
        folder, judge = tmp_path / f"cut-{killed_at}", Counting(killed_at, kl=unlike)
        with pytest.raises(Killed):
            fill(folder, 12, judge)
        again = Counting(kl=unlike)
        assert ends(fill(folder, 12, again)) == expected
        assert judge.tasks + again.tasks[1:] == whole.tasks and again.tasks[0] == judge.tasks[-1]


@pytest.mark.parametrize(
    ("trials", "failing", "state"),
    [
        (2, 0.0, TrialState.PRUNED),
        pytest.param(30, 2.0, TrialState.COMPLETE, marks=pytest.mark.slow),  # two of them
    ],
)
def test_a_driver_that_is_killed_before_it_tells_how_a_trial_ended_tells_the_same_later(
    trials: int, failing: float, state: TrialState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run has left a record; those that fail do so at the first rung, with a score."""
    tell, left = optuna.Study.tell, 0
    reached: dict[Path, int] = {}

    def judge(task: Task) -> Result:
        if task.until < (step := reached.get(task.plan.folder, 0)):
            return Result(step=step)
        reached[task.plan.folder] = task.until
        result = Counting(failing=failing, at=1)(task)
        if result.record:
            write_record(task.plan.folder, result.record)
            result = replace(result, score=alpha_of(task))
        return result

    def kill(study: optuna.Study, trial: Any, value: float | None, told: TrialState | None) -> FrozenTrial:
        nonlocal left
        if (told or TrialState.COMPLETE) == state:
            left -= 1
            if left == 0:
                raise Killed
        return tell(study, trial, value, told)

    expected = fill(tmp_path / "whole", trials, judge)
    monkeypatch.setattr(optuna.Study, "tell", kill)
    for killed_at in range(1, 1 + [trial.state for trial in expected.trials].count(state)):
        folder, left = tmp_path / f"cut-{killed_at}", killed_at
        with pytest.raises(Killed):
            fill(folder, trials, judge)
        study = fill(folder, trials, judge)
        assert ends(study) == ends(expected)
        assert [trial.constraints for trial in study.trials] == [trial.constraints for trial in expected.trials]


def test_trials_that_fail_leave_their_places_to_others(tmp_path: Path) -> None:
    study = fill(tmp_path / "study", 12, Counting(failing=0.5))
    (best,) = [t for t in study.trials if t.state == TrialState.COMPLETE]
    others = [t.params["alpha"] for t in study.trials if t.params["alpha"] <= 0.5]
    assert best.params["alpha"] == max(others)
    assert any(t.constraints["failed"] > 0 for t in study.trials)


def test_a_larger_total_goes_on_with_what_rests(tmp_path: Path) -> None:
    fill(tmp_path / "study", 6, Counting())
    study = fill(tmp_path / "study", 12, Counting())
    assert len(study.trials) == 12 and all(t.state.is_finished() for t in study.trials)
    assert study.best_value == max(t.params["alpha"] for t in study.trials)


def test_a_smaller_total_leaves_a_trial_beyond_it_where_it_was_cut_off(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        fill(tmp_path / "study", 3, Counting(killed_at=3))  # amid the first task of trial 2
    judge = Counting()
    study = fill(tmp_path / "study", 2, judge)
    assert {number for number, _, _ in judge.tasks} == {0, 1}
    assert [trial.state == TrialState.RUNNING for trial in study.trials] == [False, False, True]


def steps(study: optuna.Study) -> int:
    return sum(max(trial.intermediate_values) for trial in study.trials)


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
    """A driver that goes on with trials at rungs has not trained what came before."""
    noted: list[int] = []
    monkeypatch.setattr(Pace, "trained", lambda pace, steps, seconds: noted.append(steps))
    with pytest.raises(Killed):
        fill(tmp_path / "study", 12, Counting(killed_at=14))
    study = fill(tmp_path / "study", 12, Counting())
    assert sum(noted) == steps(study)


def fill_warm(folder: Path, judge: Callable[[Task], Result]) -> optuna.Study:
    """Fill a study of three trials with a warm-up of 8 steps."""

    def with_warmup(task: Task) -> Result:
        if task.plan.vae_kl is None:
            MetricsLog(task.plan.folder, COLUMNS, [dict.fromkeys(COLUMNS, 10.0) | {"step": 8}])
            (task.plan.folder / CHECKPOINT).touch()
            return Result(step=8)
        return judge(task)

    engine = InlineEngine(Drawing(with_warmup))
    return drawn_study(folder, SPACE, 3, engine, steps=27, warmup_steps=8, log_every=1)


def test_a_warm_up_that_was_removed_is_trained_again_for_trials_at_rungs_too(tmp_path: Path) -> None:
    expected = ends(fill_warm(tmp_path / "whole", Counting()))
    with pytest.raises(Killed):
        fill_warm(tmp_path / "cut", Counting(killed_at=4))
    shutil.rmtree(tmp_path / "cut" / ".warmup")
    assert ends(fill_warm(tmp_path / "cut", Counting())) == expected


def test_the_speed_is_that_of_steps_after_the_warm_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that are left to train, and those that --hours limits, are counted from there."""
    noted: list[int] = []
    monkeypatch.setattr(Pace, "trained", lambda pace, steps, seconds: noted.append(steps))
    study = fill_warm(tmp_path / "study", Counting())
    assert sum(noted) == steps(study) - 3 * 8


def test_trials_that_fail_are_not_the_better_ones(tmp_path: Path) -> None:
    study = fill(tmp_path / "study", 40, Counting(failing=0.5, at=1), patience=5)
    lasting = [t.number for t in study.trials if t.constraints["failed"] < 0]
    assert len(study.trials) - 6 in lasting  # which led, as it had come furthest


def test_callbacks_see_each_trial_once_it_has_ended(tmp_path: Path) -> None:
    seen: list[tuple[int, TrialState]] = []
    place = tmp_path / "study", SPACE, 4

    def note(study: optuna.Study, trial: FrozenTrial) -> None:
        seen.append((trial.number, trial.state))

    study = drawn_study(*place, InlineEngine(Drawing()), callbacks=[note])
    assert seen == [(trial.number, TrialState.COMPLETE) for trial in study.trials] and len(seen) == 4

    def fail(study: optuna.Study, trial: FrozenTrial) -> None:
        raise ConnectionError(f"no logger for trial {trial.number}")

    place = tmp_path / "other", SPACE, 4
    with pytest.raises(ConnectionError, match="no logger for trial 0"):
        drawn_study(*place, InlineEngine(Drawing()), callbacks=[fail])
    study = drawn_study(*place, InlineEngine(Drawing()))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 4
