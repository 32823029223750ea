"""Forecasts of the score at the end from scores at rungs."""

import numpy as np
import pytest

from sweeps.search.forecast import forecast

FAR = [(0.0, 0.0), (10.0, 0.0), (20.0, 0.0), (30.0, 0.0)]  # settings that tell nothing of each other


def test_the_forecast_is_a_gaussian_process_s() -> None:
    """Held against the joint normal distribution of two scores of one run, written out."""
    means, deviations = forecast([(0.5,), (0.5,)], [{16: 0.4, 64: 0.5}, {16: 0.2}], 64)
    near = np.exp(-0.5)  # two doublings of steps, of one length
    run, common = 4.0 + 2.0 + 0.1, 4.0 + 2.0
    seen = np.array([[run, run * near, common], [run * near, run, common * near], [common, common * near, run]])
    ahead = np.array([[run * near, run, common * near], [common * near, common, run * near]])
    values = np.array([0.4, 0.5, 0.2])
    inverse = np.linalg.inv(seen + 0.05 * np.eye(3))
    scale = np.std([0.4, 0.2])
    assert means == pytest.approx(values.mean() + ahead @ inverse @ (values - values.mean()))
    variances = run - np.einsum("ij,jk,ik->i", ahead, inverse, ahead)
    assert deviations == pytest.approx(scale * np.sqrt(variances))


def test_what_is_known_of_the_end_is_kept_and_certain() -> None:
    scores = [{50: 0.5, 1600: 0.9}, {50: 0.4}, {50: 0.6}, {50: 0.5}]
    means, deviations = forecast(FAR, scores, 1600)
    assert means[0] == pytest.approx(0.9, abs=0.03)
    assert deviations[0] < 0.3 * min(deviations[1:])


def test_where_settings_tell_nothing_early_scores_order_the_forecast() -> None:
    means, _ = forecast(FAR, [{50: 0.5}, {50: 0.4}, {50: 0.6}, {50: 0.45}], 1600)
    assert np.argsort(means).tolist() == [1, 3, 0, 2]


def test_a_setting_is_judged_by_its_neighbors_that_have_been_trained_to_the_end() -> None:
    """Two have the same score, and the one beside a good end is expected to end better."""
    places = [(0.0,), (0.1,), (1.0,), (0.9,)]
    scores = [{50: 0.5, 1600: 0.9}, {50: 0.5}, {50: 0.6, 1600: 0.3}, {50: 0.5}]
    means, deviations = forecast(places, scores, 1600)
    assert means[1] > means[3] + 0.1
    alone = forecast([(0.0,), (0.1,), (1.0,), (5.0,)], scores, 1600)[1]
    assert alone[3] > 1.2 * deviations[3]


def test_equal_scores_are_no_error() -> None:
    means, deviations = forecast(FAR[:2], [{50: 0.5}, {50: 0.5}], 1600)
    assert means == pytest.approx([0.5, 0.5]) and (deviations > 0).all()
