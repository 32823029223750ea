"""Trials that go on past a rung, and those that are left behind."""

from helpers import tiny_config

from sweeps.search.promotion import Ladder, rungs

THIRD = 1 / 3


def test_rungs_lie_between_the_warm_up_and_the_end() -> None:
    assert rungs(tiny_config(warmup_steps=300, steps=3500)) == {400: 0.4, 700: 0.6, 1100: 0.6, 1900: 0.3}
    assert list(rungs(tiny_config(warmup_steps=300, steps=3502, log_every=4))) == [404, 704, 1104, 1904]  # with a row
    assert rungs(tiny_config(warmup_steps=300, steps=301)) == {}
    assert rungs(tiny_config(warmup_steps=0, steps=7)) == {2: 0.6, 4: 0.3}  # the later of those that fall together


def ladder(trials: int, **scores: dict[int, float]) -> Ladder:
    """Return a ladder with rungs 10, 20 and 30, past each of which a third goes on; the last scored trials rest."""
    found = Ladder(0, {10: THIRD, 20: THIRD, 30: THIRD}, 90, trials)
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
    higher = {"t4": {10: 0.4, 20: 0.4, 30: 0.4}, "t3": {10: 0.3, 20: 0.3}}
    assert ladder(5, **five | higher).promoted(final=True) == 4  # one of two had gone on from 20
    assert ladder(5, **five).promoted() == 4


def test_at_the_end_lower_rungs_come_first() -> None:
    found = ladder(5, t0={10: 0.5, 20: 0.5}, t1={10: 0.4}, t2={10: 0.3}, t3={10: 0.2}, t4={10: 0.1})
    assert found.next(5, more=False, training=False) == ("promote", 1)


def test_a_failed_trial_leaves_its_place_to_another() -> None:
    found = ladder(9, t0={10: 0.5, 20: 0.5}, t1={10: 0.4}, t2={10: 0.3})
    assert found.promoted() is None
    found.learn(3, {10: 0.2})
    found.drop(0)
    assert found.promoted() == 1 and found.scores[20] == {}


def test_each_rung_has_a_share_of_its_own() -> None:
    found = Ladder(0, {10: 0.5, 20: 0.25}, 90, 8)
    for number in range(4):
        found.learn(number, {10: number / 10})
        found.rest(number, 10)
    assert found.promoted() == 3  # two of four go on past 10
    for number in (2, 3):
        found.learn(number, {20: number / 10})
        found.rest(number, 20)
    assert found.promoted() is None  # half of one goes on past 20
    assert found.promoted(final=True) == 3 and found.expected(4) == [4, 2, 1]  # but one does at the end


def test_expected_numbers_of_trials() -> None:
    assert Ladder(0, {10: 0.4, 20: 0.6, 30: 0.3}, 90, 50).expected(50) == [50, 20, 12, 4]
    assert Ladder(0, {}, 90, 50).expected(50) == [50]
    assert Ladder(0, {10: THIRD, 20: THIRD}, 30, 1).expected(1) == [1, 1, 1]


def test_scores_at_other_steps_are_passed_over() -> None:
    found = Ladder(0, {10: THIRD}, 90, 3)
    found.learn(0, {5: 0.1, 10: 0.2, 40: 0.3})
    assert found.scores == {10: {0: 0.2}}


def test_the_steps_that_are_left() -> None:
    found = ladder(9, t0={10: 0.5, 20: 0.4}, t1={10: 0.3})
    assert found.steps_left(0) == 7 * 10 + 2 * 10 + 1 * 10 + 1 * 60
    assert found.steps_left(1) == 7 * 10 + 2 * 10 + 1 * 10
    assert Ladder(0, {}, 90, 5).steps_left(2) == 3 * 90


def eager(found: Ladder) -> Ladder:
    found.eager = True
    return found


def test_all_begin_before_any_goes_on_unless_a_sampler_learns_from_it() -> None:
    four = {f"t{number}": {10: number / 10} for number in range(4)}
    assert ladder(9).next(0, more=True, training=False) == ("begin", None)
    assert ladder(9).next(9, more=False, training=False) is None
    assert ladder(12, **four).next(4, more=True, training=True) == ("begin", None)
    assert eager(ladder(12, **four)).next(4, more=True, training=True) == ("promote", 3)
    assert ladder(12, **four).next(4, more=False, training=True) == ("promote", 3)
    two = {name: four[name] for name in ("t0", "t1")}
    assert eager(ladder(12, **two)).next(2, more=True, training=True) == ("begin", None)
    assert ladder(12, **two).next(2, more=False, training=True) is None
    assert ladder(12, **two).next(2, more=False, training=False) == ("promote", 1)


def test_a_trial_begins_only_if_a_study_with_it_fits() -> None:
    whole = 3 * 10 + 10 + 10 + 60  # one of three is trained past the first rung, to the end
    for found in (ladder(12), eager(ladder(12))):
        assert found.next(0, True, False, room=lambda steps: steps <= 90) == ("begin", None)
        assert found.next(0, True, False, room=lambda steps: steps <= 89) is None
        assert found.next(2, True, True, room=lambda steps: steps <= whole - 20) == ("begin", None)  # two are under way
        assert found.next(2, True, True, room=lambda steps: steps <= whole - 21) is None
    assert Ladder(0, {}, 90, 5).next(2, True, True, room=lambda steps: steps <= 90) == ("begin", None)
    assert Ladder(0, {}, 90, 5).next(2, True, True, room=lambda steps: steps <= 89) is None


def test_without_room_the_best_trial_is_finished_and_nothing_else() -> None:
    two = {"t0": {10: 0.4}, "t1": {10: 0.5}}

    def next_move(room: int, complete: int = 0, training: bool = False) -> object:
        return ladder(12, **two).next(2, True, training, complete, lambda steps: steps <= room)

    assert next_move(89, training=True) is None
    assert next_move(89) == ("promote", 1) == next_move(0)
    assert next_move(9, complete=1) == ("leave", 0)
    three = ladder(12, **two, t2={10: 0.1})
    assert three.next(3, True, True, room=lambda steps: steps <= 80) == ("promote", 1)
    assert three.next(3, True, True, room=lambda steps: steps <= 79) is None
