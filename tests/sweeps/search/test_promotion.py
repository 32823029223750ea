"""Trials that go on past a rung, and those that are left behind."""

from helpers import tiny_config

from sweeps.search.promotion import Ladder, rungs


def test_rungs_lie_between_the_warm_up_and_the_end_a_factor_of_three_apart() -> None:
    assert rungs(tiny_config(warmup_steps=300, steps=3000)) == [400, 600, 1200]
    assert rungs(tiny_config(warmup_steps=300, steps=3002, log_every=4)) == [404, 604, 1204]  # where a row is
    assert rungs(tiny_config(warmup_steps=300, steps=301)) == []
    assert rungs(tiny_config(warmup_steps=0, steps=7)) == [2, 4]


def ladder(trials: int, **scores: dict[int, float]) -> Ladder:
    """Return a ladder with rungs 10, 20 and 30 at which trials have scores and the last ones rest."""
    found = Ladder([10, 20, 30], trials)
    for name, by_rung in scores.items():
        number = int(name.removeprefix("t"))
        found.learn(number, by_rung)
        found.rest(number, max(by_rung))
    return found


def test_nobody_goes_on_before_three_have_come() -> None:
    assert ladder(9, t0={10: 0.5}, t1={10: 0.4}).promoted() is None
    assert ladder(9, t0={10: 0.4}, t1={10: 0.5}, t2={10: 0.1}).promoted() == 1


def test_the_best_third_goes_on_the_furthest_first() -> None:
    scores = {f"t{number}": {10: number / 10} for number in range(6)}
    assert ladder(9, **scores).promoted() == 5
    scores["t5"] = {10: 0.5, 20: 0.1}
    assert ladder(9, **scores).promoted() == 4  # the second of six
    scores["t4"] = {10: 0.4, 20: 0.2}
    assert ladder(9, **scores).promoted() is None
    scores |= {"t6": {10: 0.6, 20: 0.3}}
    assert ladder(9, **scores).promoted() == 6  # past the second rung


def test_at_the_end_a_third_is_rounded_and_one_goes_on_everywhere() -> None:
    assert ladder(2, t0={10: 0.4}, t1={10: 0.5}).promoted(final=True) == 1
    assert ladder(2, t0={10: 0.4}, t1={10: 0.5, 20: 0.1}).promoted(final=True) == 1
    five = {f"t{number}": {10: number / 10} for number in range(5)}
    assert ladder(5, **five | {"t4": {10: 0.4, 20: 0.4, 30: 0.4}}).promoted(final=True) == 4
    assert ladder(5, **five).promoted() == 4


def test_trials_whose_places_are_taken_are_hopeless() -> None:
    scores = {f"t{number}": {10: number / 10} for number in range(4)}
    assert ladder(9, **scores).hopeless() == 0  # three of nine go on
    assert ladder(12, **scores).hopeless() is None
    assert ladder(9, **scores | {"t0": {10: 0.0, 20: 0.5}}).hopeless() is None  # it has gone on
    higher = {"t1": {10: 0.9, 20: 0.1}, "t2": {10: 0.8, 20: 0.2}}
    assert ladder(9, **higher).hopeless() == 1  # one of three


def test_a_failed_trial_leaves_its_place_to_another() -> None:
    found = ladder(9, t0={10: 0.5, 20: 0.5}, t1={10: 0.4}, t2={10: 0.3})
    assert found.promoted() is None
    found.learn(3, {10: 0.2})
    found.drop(0)
    assert found.promoted() == 1 and found.scores[20] == {}


def test_expected_numbers_of_trials() -> None:
    assert Ladder([10, 20, 30], 50).expected() == [50, 17, 6, 2]
    assert Ladder([], 50).expected() == [50]
    assert Ladder([10, 20], 1).expected() == [1, 1, 1]


def test_scores_at_other_steps_are_passed_over() -> None:
    found = Ladder([10], 3)
    found.learn(0, {5: 0.1, 10: 0.2, 40: 0.3})
    assert found.scores == {10: {0: 0.2}}
