"""Forecasts of the score at the end from scores at rungs."""

import math

import numpy as np
import pytest

from sweeps.search.forecast import forecast

ALIKE = [(0.5, 0.5)] * 4  # in the middle of the space, where settings tell nothing of each other


def test_the_forecast_is_a_gaussian_process_s() -> None:
    """Held against the joint normal distribution of two scores of one run and one of another, written out."""
    means, deviations = forecast([(0.4, 0.5), (0.7, 0.6)], [{16: 0.4, 64: 0.5}, {16: 0.2}], 64, [0.3, 0.7])
    line = 4.0 * 0.2**2  # around the median, which is 0.5
    near = np.exp(-0.5)  # two doublings of steps, of one length
    one, other = 0.25 + 4.0 * 0.1**2 + 0.1, 0.25 + 4.0 * (0.2**2 + 0.1**2) + 0.1  # from the middle
    both = 0.25 - 4.0 * 0.1 * 0.2
    seen = np.array([[one, one * near, both], [one * near, one, both * near], [both, both * near, other]])
    ahead = np.array([[one * near, one, both * near], [both * near, both, other * near]])
    seen += line * np.array([[1, 1, -1], [1, 1, -1], [-1, -1, 1]])
    ahead += line * np.array([[1, 1, -1], [-1, -1, 1]])
    values = np.array([0.4, 0.5, 0.2])
    inverse = np.linalg.inv(seen + 0.05 * np.eye(3))
    scale = np.std([0.4, 0.2])
    assert means == pytest.approx(values.mean() + ahead @ inverse @ (values - values.mean()))
    variances = np.array([one, other]) + line - np.einsum("ij,jk,ik->i", ahead, inverse, ahead)
    assert deviations == pytest.approx(scale * np.sqrt(variances))


def test_what_is_known_of_the_end_is_kept_and_certain() -> None:
    scores = [{50: 0.5, 1600: 0.9}, {50: 0.4}, {50: 0.6}, {50: 0.5}]
    means, deviations = forecast([(0, 0), (0, 1), (1, 0), (1, 1)], scores, 1600)
    assert means[0] == pytest.approx(0.9, abs=0.03)
    assert deviations[0] < 0.3 * min(deviations[1:])


def test_where_settings_tell_nothing_early_scores_order_the_forecast() -> None:
    means, _ = forecast(ALIKE, [{50: 0.5}, {50: 0.4}, {50: 0.6}, {50: 0.45}], 1600)
    assert np.argsort(means).tolist() == [1, 3, 0, 2]


def test_a_setting_is_judged_by_the_side_of_the_space_that_ends_well() -> None:
    """The second and the last have the same score, and the one towards a good end is expected to end better."""
    places = [(0.0,), (0.1,), (1.0,), (0.9,)]
    scores = [{50: 0.5, 1600: 0.9}, {50: 0.5}, {50: 0.6, 1600: 0.3}, {50: 0.5}]
    means, deviations = forecast(places, scores, 1600)
    assert means[1] > means[3] + 0.1
    outside = forecast([(0.0,), (0.1,), (1.0,), (1.9,)], scores, 1600)[1]
    assert outside[3] > 1.2 * deviations[3]


def test_an_order_of_settings_that_turns_round_is_forecast_to_do_so() -> None:
    """The one ahead at first ends behind, of those that have been trained; the others follow by their places."""
    places = [(0.0,), (1.0,), (0.2,), (0.8,)]
    scores = [{50: 0.4, 1600: 0.8}, {50: 0.6, 1600: 0.6}, {50: 0.44}, {50: 0.56}]
    means, _ = forecast(places, scores, 1600)
    assert means[2] > means[3] + 0.05


@pytest.mark.parametrize("sign", [1, -1])
def test_that_scores_rise_or_fall_with_the_kl_is_learned_from_those_that_are_known(sign: int) -> None:
    """The last two have the same score and place; their KL tells which will be better."""
    inflations = [0.0, 0.5, 1.0, 1.5, 0.1, 1.4]
    places = [(0.5,)] * 6
    scores = [{50: 0.5 + sign * 0.1 * value, 1600: 0.7 + sign * 0.2 * value} for value in inflations[:4]]
    means, _ = forecast(places, [*scores, {50: 0.5}, {50: 0.5}], 1600, inflations)
    assert sign * (means[5] - means[4]) > 0.02
    without, _ = forecast(places, [*scores, {50: 0.5}, {50: 0.5}], 1600)
    assert without[5] == pytest.approx(without[4])


def test_an_unknown_kl_counts_as_the_median() -> None:
    scores = [{50: 0.5, 1600: 0.9}, {50: 0.4, 1600: 0.6}, {50: 0.6}, {50: 0.45}]
    known = forecast(ALIKE, scores, 1600, [0.2, 0.8, 0.5, 0.5])
    unknown = forecast(ALIKE, scores, 1600, [0.2, 0.8, math.nan, math.nan])
    assert np.array_equal(known, unknown)
    assert np.array_equal(forecast(ALIKE, scores, 1600), forecast(ALIKE, scores, 1600, [math.nan] * 4))


def test_equal_scores_are_no_error() -> None:
    means, deviations = forecast(ALIKE[:2], [{50: 0.5}, {50: 0.5}], 1600)
    assert means == pytest.approx([0.5, 0.5]) and (deviations > 0).all()
