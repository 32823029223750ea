"""Tests of the data of the page's charts; test_browser_charts.py tests that they are drawn."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import tiny_config

from analysis.measures.spectrum import predicted_active_units, predicted_kl
from analysis.report.charts.all import charts
from analysis.report.charts.chart import Chart
from analysis.report.charts.parameters import FEW_TRIALS
from analysis.report.runs import Run
from introvae.runs.record import RunState, Scores

SPECTRUM = [20.0, 1.0, 0.1]


def make(name: str, state: RunState = RunState.COMPLETE, score: float = 0.5, **values: Any) -> Run:
    """A run in memory; `values` are settings, or else measures."""
    names = ("alpha", "beta", "m", "latent", "objective", "warmup_steps")
    settings = {key: value for key, value in values.items() if key in names}
    measures = {key: value for key, value in values.items() if key not in settings} | {"vae_kl": 10.0}
    scores = Scores(score=score, stderr=values.get("stderr", 0.01))
    return Run(name=name, folder=Path(name), state=state, reason="", config=tiny_config(**settings), scores=scores,
               measures=measures)  # fmt: skip


def find(runs: list[Run], name: str) -> Chart:
    (chart,) = [chart for chart in charts(runs) if chart.name == name]
    return chart


@pytest.fixture
def runs() -> list[Run]:
    return [
        make("best", score=0.9, beta=5.0, m=20.0, kl=8.0, predicted_kl=9.0, collapse_beta=0.05, spectrum=SPECTRUM,
             active_units={"0.01": 2}),
        make("early", RunState.PRUNED, score=0.7, beta=20.0, m=30.0, kl=9.0),
        make("worst", RunState.COLLAPSED, score=0.1, beta=80.0, m=40.0, kl=0.0, active_units={"0.01": 0}),
    ]  # fmt: skip


def test_charts_are_plain_values(runs: list[Run]) -> None:
    names = ["map", "parallel", "score-alpha", "score-beta", "score-ratio", "importance", "kl", "prediction"]
    found = charts(runs)
    assert [chart.name for chart in found] == names
    for chart in found:
        assert json.loads(json.dumps(chart.panels, allow_nan=False)) == chart.panels


def test_without_numbers_there_is_no_chart() -> None:
    nothing = Run(name="a", folder=Path("a"), state=RunState.UNREADABLE, reason="cannot read")
    assert charts([nothing]) == []


def test_the_map_shows_beta_and_margin_ratio_colored_by_score(runs: list[Run]) -> None:
    chart = find([*runs, make("vae", alpha=0.0), make("soft", objective="soft", alpha=1.0)], "map")
    (panel,) = chart.panels
    (series,) = panel["points"]
    assert series["run"] == ["best", "early", "worst"]
    assert series["x"] == [5, 20, 80] and series["y"] == [2, 3, 4] and series["value"] == [0.9, 0.7, 0.1]
    assert panel["xLog"] and panel["yLog"]
    assert "3 of 5 runs have both numbers" in chart.caption


def test_the_map_of_runs_without_a_warm_up_says_that_the_ratio_is_predicted() -> None:
    runs = [make(name, warmup_steps=0, predicted_kl=kl) for name, kl in (("a", 10.0), ("b", 5.0))]
    (panel,) = find(runs, "map").panels
    assert panel["y"].startswith("m/predicted KL, ") and panel["points"][0]["y"] == [2, 4]
    assert find(runs, "score-predictedRatio").title == "Score against m/predicted KL"
    assert not [chart for chart in charts(runs) if chart.name == "score-ratio"]


def test_failed_runs_do_not_take_all_colors() -> None:
    runs = [
        make(str(index), score=score) for index, score in enumerate([0.0, *[0.8 + index / 100 for index in range(20)]])
    ]
    colors = find(runs, "map").panels[0]["colors"]
    assert 0.8 <= colors["low"] < 0.83 and colors["high"] == 0.99


@pytest.mark.parametrize(
    ("limit", "drawn", "words"),
    [
        (10.0, True, "(dashed line)"),
        (3.0, True, "(dashed line)"),
        (0.05, False, "that is left"),
        (400.0, False, "that is right"),
    ],
)
def test_the_predicted_collapse_is_a_line_where_runs_are_near(limit: float, drawn: bool, words: str) -> None:
    chart = find([make(str(beta), beta=beta, collapse_beta=limit) for beta in (5.0, 20.0, 80.0)], "map")
    assert (
        f"Below beta {limit:g}, 1 over the largest eigenvalue of the data, every run is predicted to collapse"
        in chart.caption
    )
    assert words in chart.caption
    assert chart.panels[0].get("levels", []) == ([{"label": "predicted collapse", "x": limit}] if drawn else [])


def test_scores_have_their_standard_errors() -> None:
    runs = [make("a", stderr=0.02, alpha=0.5), make("b", stderr=math.nan, score=0.25), make("c", beta=0.0)]
    chart = find(runs, "score-alpha")
    (series,) = chart.panels[0]["points"]
    assert (
        series["x"] == [0.5, 0.25, 0.25] and series["y"] == [0.5, 0.25, 0.5] and series["error"] == [0.02, None, 0.01]
    )
    assert chart.title == "Score against alpha" and "standard error" in chart.caption
    assert find(runs, "score-beta").panels[0]["points"][0]["run"] == ["a", "b"]  # a log axis has no 0
    assert find([runs[1]], "score-alpha").caption == ""


def test_importance_is_that_of_final_scores(runs: list[Run]) -> None:
    few = find(runs, "importance")
    assert few.panels == [] and few.caption.startswith("Left out: shares of 2 final scores")
    many = [
        make(str(index), score=index / 60, alpha=0.01 * 1.05**index, beta=1.0 + index % 7, m=1.0 + index % 5)
        for index in range(FEW_TRIALS + 10)
    ]
    chart = find([*many, *runs[1:2]], "importance")
    assert f"which of {len(many)} runs" in chart.caption
    shares = {bar["label"]: bar["value"] for bar in chart.panels[0]["bars"]}
    assert list(shares) == ["alpha", "beta", "m"] and sum(shares.values()) == pytest.approx(1)
    assert shares["alpha"] > 0.8


def test_importance_needs_two_runs(runs: list[Run]) -> None:
    assert "importance" not in {chart.name for chart in charts(runs[:2])}


def test_predictions_are_those_of_the_spectrum(runs: list[Run]) -> None:
    chart = find(runs, "prediction")
    kl, units = chart.panels
    assert "8 latent dimensions" in chart.caption
    for panel, predicted in ((kl, predicted_kl), (units, predicted_active_units)):
        (line,) = panel["lines"]
        assert line["y"] == [predicted(SPECTRUM, beta, 8) for beta in line["x"]]
        assert line["x"][0] == pytest.approx(1 / 20 / 2) and line["x"][-1] == pytest.approx(160)
        assert [level["x"] for level in panel["levels"]] == [1 / 20]
        assert panel["xLog"] and not panel["yLog"]
    assert kl["points"][0]["run"] == ["best", "early", "worst"] and kl["points"][0]["y"] == [8, 9, 0]
    assert units["points"][0]["run"] == ["best", "worst"] and units["points"][0]["y"] == [2, 0]


@pytest.mark.parametrize("beta", [5e-324, 1e308])
def test_a_beta_that_no_axis_holds_is_left_out(runs: list[Run], beta: float) -> None:
    extreme = make("extreme", score=0.8, beta=beta, kl=8.0, vae_kl=10.0, spectrum=SPECTRUM)
    for name in ("map", "score-beta", "parallel", "prediction"):
        for panel in find([extreme, *runs], name).panels:
            drawn = panel.get("points", [panel])
            assert all("extreme" not in series["run"] for series in drawn)


def test_predicted_kl_is_set_against_measured_kl(runs: list[Run]) -> None:
    (panel,) = find(runs, "kl").panels
    corrected, linear = panel["points"]
    assert (corrected["label"], linear["label"]) == ("corrected by the warm-up", "linear VAE")
    assert (corrected["run"], corrected["x"], corrected["y"]) == (["best", "early"], [10, 10], [8, 9])
    assert (linear["run"], linear["x"], linear["y"]) == (["best"], [9], [8])
    assert panel["diagonal"] == "equal" and panel["xLog"] and panel["yLog"]


def test_scores_at_rungs_are_drawn_as_far_as_trials_were_trained() -> None:
    complete_ = make("best", score=0.9, warmup_steps=8, rungs=[[10, 0.4], [14, 0.5]])
    complete_ = replace(complete_, step=20)
    left = make("left", RunState.PRUNED, warmup_steps=8, rungs=[[10, 0.3]])
    warm = make("warm", warmup_steps=8, rungs=[[8, 0.1]], score=math.nan)
    (panel,) = find([complete_, left, warm], "rungs").panels
    assert [(line["label"], line["x"], line["y"]) for line in panel["lines"]] == [
        ("left", (2,), (0.3,)), ("best", (2, 6, 12), (0.4, 0.5, 0.9)),
    ]  # fmt: skip
    (ends,) = panel["points"]
    assert (ends["run"], ends["x"], ends["y"]) == (["left", "best"], [2, 12], [0.3, 0.9])
    assert len({line["color"] for line in panel["lines"]}) == 2


def test_all_that_differs_stands_side_by_side(runs: list[Run]) -> None:
    (panel,) = find(runs, "parallel").panels
    assert panel["run"] == ["best", "early", "worst"] and panel["bold"] == [True, False, False]
    assert [(axis["label"], axis["log"], axis["values"]) for axis in panel["axes"]] == [
        ("alpha", True, [0.25] * 3), ("beta", True, [5, 20, 80]), ("m/KL", True, [2, 3, 4]),
        ("score", False, [0.9, 0.7, 0.1]),
    ]  # fmt: skip
    searched = [*runs[:2], make("third", score=0.2, latent=4, warmup_steps=6)]
    (panel,) = find(searched, "parallel").panels
    further = {axis["label"]: axis["values"] for axis in panel["axes"][3:-1]}
    assert further["latent"] == [8, 8, 4] and len(set(further["warmup_steps"])) == 2
    assert "parallel" not in {chart.name for chart in charts(runs[:1])}


def test_the_best_score_so_far_is_that_of_complete_trials() -> None:
    left = make("study/trial-001", RunState.PRUNED, score=0.9)
    trials = [make(f"study/trial-{number:03d}", score=score) for number, score in ((0, 0.2), (2, 0.6), (3, 0.4))]
    other = make("other/trial-001", RunState.PRUNED)
    (panel,) = find([*trials, left, other, make("alone")], "history").panels
    (line,) = panel["lines"]
    assert (line["label"], line["x"], line["y"]) == ("study", [0, 2, 2, 3, 3, 3], [0.2, 0.2, 0.6, 0.6, 0.6, 0.6])
    (points,) = panel["points"]
    assert points["run"] == [run.name for run in (*trials, left, other)] and points["x"] == [0, 2, 3, 1, 1]
    assert "history" not in {chart.name for chart in charts([trials[0], make("alone")])}
