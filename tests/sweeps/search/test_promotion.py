"""Trials that go on past a rung, and those that are left behind."""

from collections.abc import Callable

import pytest
from helpers import tiny_config

from sweeps.search import promotion
from sweeps.search.forecast import forecast
from sweeps.search.promotion import Move, Promotion, rungs_of


def test_rungs_lie_between_the_warm_up_and_the_end() -> None:
    assert rungs_of(tiny_config(warmup_steps=300, steps=3500)) == (400, 700, 1100, 1900)
    assert rungs_of(tiny_config(warmup_steps=300, steps=3502, log_every=4)) == (404, 704, 1104, 1904)  # with a row
    assert rungs_of(tiny_config(warmup_steps=300, steps=301)) == ()
    assert rungs_of(tiny_config(warmup_steps=0, steps=7)) == (2, 4)  # which some share


def place(number: int) -> tuple[float]:
    """Return where a setting lies: nearly in the middle of the space, where settings tell nothing of each other."""
    return (0.5 + 1e-9 * number,)


def study(*scores: dict[int, float], eager: bool = False) -> Promotion:
    """Return the promotion of a study with rungs 10, 20 and 40 of 160; its trials rest at the last of their scores."""
    found = Promotion(0, (10, 20, 40), 160, eager)
    for number, known in enumerate(scores):
        found.learn(number, place(number), known)
        if 160 not in known:
            found.rest(number, max(known))
    return found


def spent(found: Promotion) -> int:
    return sum(max(known) for known in found.scores.values())


def next_move(
    found: Promotion, more: bool = False, training: bool = False, room: Callable[[int], bool] = lambda steps: True
) -> tuple[Move, int | None] | None:
    begun = len(found.scores)
    complete = any(160 in known for known in found.scores.values())
    return found.next(begun, more, training, spent(found), complete, room)


def test_all_begin_before_any_goes_on_unless_a_sampler_learns_from_it() -> None:
    tens = [{10: number / 10} for number in range(12)]
    assert next_move(study(*tens), more=True) == ("begin", None)
    assert next_move(study(*tens)) == ("promote", 11)
    assert next_move(study(*tens, eager=True), more=True) == ("promote", 11)
    assert next_move(study(), more=True) == ("begin", None) == next_move(study(eager=True), more=True)
    assert next_move(study()) is None


@pytest.mark.parametrize("sign", [1, -1])
def test_of_trials_with_equal_scores_the_one_goes_on_whose_kl_has_been_that_of_good_ones(sign: int) -> None:
    found = Promotion(0, (10, 20, 40), 160)
    for number, inflation in enumerate((0.0, 0.5, 1.0, 1.5)):
        found.learn(number, place(number), {10: 0.5, 160: 0.7 + sign * 0.2 * inflation}, inflation)
    for number, inflation in ((4, 0.2), (5, 1.3)):
        found.learn(number, place(number), {10: 0.5}, inflation)
        found.rest(number, 10)
    assert found.next(100, False, False, 0, True) == ("promote", 5 if sign > 0 else 4)


def test_the_trial_goes_on_whose_forecast_and_twice_its_deviation_is_highest() -> None:
    """Trial 0 has come further, so that its end is more certain than that of trial 1, whatever it has scored there."""
    choices: dict[float, list[int]] = {deviations: [] for deviations in (1.9, 2.0, 2.1)}
    for score in (number / 1000 for number in range(570, 610)):
        scores = [{10: 0.5, 20: 0.5, 40: score}, {10: 0.5}, {10: 0.3}, {10: 0.7}]
        means, errors = forecast([place(number) for number in range(4)], scores, 160)
        assert errors[0] < errors[1]
        for deviations, chosen in choices.items():
            chosen.append(int((means + deviations * errors)[:2].argmax()))
        found = study(*scores)
        for number in (2, 3):
            found.resting.pop(number)
        assert found.next(100, False, False, 0, True) == ("promote", choices[2.0][-1])
    assert len({tuple(chosen) for chosen in choices.values()}) == 3  # the scores tell them apart


def test_an_eager_study_begins_what_the_steps_of_all_that_have_begun_do_not_pay_for() -> None:
    found = study({10: 0.5, 20: 0.5, 40: 0.5, 160: 0.5}, *({10: number / 10} for number in range(11)), eager=True)
    for step, after in ((20, 280), (40, 300)):  # of 307
        assert next_move(found, more=True) == ("promote", 11)
        found.learn(11, place(11), {step: 2.0})
        found.rest(11, step)
        assert spent(found) == after
    assert next_move(found, more=True) == ("begin", None)


def test_the_steps_of_a_study() -> None:
    found = study()
    assert found.steps(1) == 160 and found.steps(2) == 170  # all begin, and one ends
    assert found.steps(50) == 0.16 * 50 * 160
    assert Promotion(0, (), 160).steps(5) == 5 * 160  # without rungs, all to the end
    assert Promotion(100, (110,), 260, share=0.5).steps(4) == 2 * 160


def run(found: Promotion, ends: list[float], noise: float = 0.0) -> list[int]:
    """Run a study whose trials score so at each rung, but for noise before the end; return who came to the end."""
    while move := next_move(found, more=len(found.scores) < len(ends)):
        kind, number = move
        if number is None:
            number, at = len(found.scores), 0
        else:
            at = found.resting.pop(number)
        if kind == "leave":
            continue
        step = found.following(at)
        found.learn(number, place(number), {step: ends[number] + (noise * (-1) ** number if step < 160 else 0.0)})
        if step < 160:
            found.rest(number, step)
    return [number for number, known in found.scores.items() if 160 in known]


def test_a_study_keeps_to_its_steps_and_trains_the_best_to_the_end() -> None:
    ends = [(7 * number % 50) / 50 for number in range(50)]  # the best is number 7
    found = study()
    complete = run(found, ends)
    assert ends.index(max(ends)) in complete and not found.resting
    assert found.steps(50) - 120 < spent(found) <= found.steps(50)
    for trials in (1, 2, 5):
        found = study()
        assert len(run(found, ends[:trials])) == 1 and spent(found) <= found.steps(trials)


def test_a_failed_trial_is_forgotten_and_another_is_finished_however_much_is_spent() -> None:
    found = study({10: 0.5, 20: 0.5, 40: 0.5}, {10: 0.4}, {10: 0.3})
    assert next_move(found) == ("promote", 0)
    found.resting.pop(0)
    found.drop(0)
    assert found.next(3, False, False, spent=160) == ("promote", 1)
    assert found.next(3, False, True, spent=160) is None  # what is being trained may be the one
    assert found.next(3, False, False, spent=175, complete=True) == ("leave", 2)  # the best last


def test_a_trial_begins_only_if_a_study_with_it_fits() -> None:
    for found in (study({10: 0.5}), study({10: 0.5}, eager=True)):
        assert next_move(found, True, True, lambda steps: steps <= 170) == (
            ("promote", 0) if found.eager else ("begin", None)
        )
    found = study({10: 0.5})
    assert next_move(found, True, True, lambda steps: steps <= 169) == ("promote", 0)  # which fits
    assert next_move(found, True, True, lambda steps: steps <= 159) is None
    assert next_move(found, True, False, lambda steps: steps <= 159) == ("promote", 0)  # it is finished, come what may


def test_what_is_finished_is_the_best_that_there_is_room_for() -> None:
    found = study({10: 0.5, 20: 0.48, 40: 0.46}, {10: 0.6})  # 50 steps spent
    assert next_move(found, room=lambda steps: steps <= 170) == ("promote", 0)
    assert next_move(found, room=lambda steps: steps <= 200) == ("promote", 1)


def test_with_very_many_trials_the_furthest_and_best_are_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promotion, "MOST", 3)
    seen: list[int] = []
    real = promotion.forecast

    def looking(places: list[tuple[float, ...]], *rest: object) -> object:
        seen.extend(round((where - 0.5) * 1e9) for (where,) in places)
        return real(places, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(promotion, "forecast", looking)
    ended = [{10: 0.1, 20: 0.1, 40: 0.1, 160: score} for score in (0.1, 0.4, 0.3, 0.2)]
    found = study(*ended, *({10: number / 10} for number in range(10)))
    assert found.next(14, False, False, spent=0, complete=True) == ("promote", 13)
    assert seen == [1, 2, 3, 11, 12, 13]
    assert found.next(14, False, False, spent=10**6, complete=True) == ("leave", 4)
    assert len(seen) == 6  # nothing is new


def test_scores_at_other_steps_are_passed_over() -> None:
    found = study()
    found.learn(0, (0.5,), {5: 0.1, 10: 0.2, 60: 0.3})
    found.learn(0, (0.5,), {160: 0.4})
    assert found.scores == {0: {10: 0.2, 160: 0.4}}
