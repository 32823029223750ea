"""A study in which trials go on past rungs: the best ones to the end, whatever happens to the driver."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from counting import RUNGS, SPACE, Counting, Killed, ends, fill, fill_warm
from driven import Drawing, alpha_of, drawn_study
from optuna.trial import FrozenTrial, TrialState

from introvae.runs.record import write_record
from sweeps.engines.local import InlineEngine
from sweeps.search.promotion import Promotion
from sweeps.tasks.task import Result, Task

LEARN = Promotion.learn


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


def test_a_warm_up_that_was_removed_is_trained_again_for_trials_at_rungs_too(tmp_path: Path) -> None:
    expected = ends(fill_warm(tmp_path / "whole", Counting()))
    with pytest.raises(Killed):
        fill_warm(tmp_path / "cut", Counting(killed_at=4))
    shutil.rmtree(tmp_path / "cut" / ".warmup")
    assert ends(fill_warm(tmp_path / "cut", Counting())) == expected


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
