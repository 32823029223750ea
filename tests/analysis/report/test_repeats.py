"""Settings that are repeated with other seeds: which runs belong together, their spread, and what it tells apart."""

import dataclasses
import math
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
from helpers import tiny_config
from hypothesis import given
from hypothesis import strategies as st
from studies import make_run

from analysis.cli import main
from analysis.report.page import page_html
from analysis.report.repeats import MARK, Spread, repeats, repeats_text
from analysis.report.runs import Run, read_runs
from introvae.runs.record import RunState, Scores


def make(
    seed: int, score: float = 0.5, state: RunState = RunState.COMPLETE, folder: str = "study", **values: Any
) -> Run:
    """A run in memory, whose score on test images is a tenth lower; `kl` is what its warm-up has measured."""
    measures = {"vae_kl": values.pop("kl", 10.0)}
    name = f"trial-{seed}-{score}"
    return Run(
        name=name, folder=Path(folder) / name, state=state, reason="", config=tiny_config(seed=seed, **values),
        scores=Scores(score=score), test=Scores(score=score - 0.1) if state.final and score else Scores(),
        measures=measures,
    )  # fmt: skip


def groups(*runs: Run) -> list[list[str]]:
    return [[run.name for run in one.runs] for one in repeats(runs)]


def test_runs_that_differ_in_their_seeds_alone_repeat_a_setting() -> None:
    a, b, other = make(0, 0.5), make(1, 0.4, warmup_seed=1, split_seed=0), make(2, 0.3, beta=21.0)
    assert groups(a, other, b) == [[a.name, b.name]]
    assert groups(a, make(0, 0.4)) == []  # the same run twice
    assert groups(a, make(1, 0.4, folder="another")) == []  # by whose best it may have been chosen
    assert groups(a, make(1, state=RunState.RUNNING)) == groups(a, make(1, data="mnist-5k")) == []


def test_either_m_or_the_margin_ratio_is_the_same() -> None:
    """A study that is given margin ratios measures m by the warm-up of each seed."""
    a, b = make(0, m=40.0, kl=10.0), make(1, m=44.000000004, kl=11.0)
    fixed, measured = make(2, m=40.0, kl=12.0), make(3, m=50.0, kl=10.0)
    assert groups(a, b) == [[a.name, b.name]]
    assert groups(a, fixed) == [[a.name, fixed.name]]
    assert groups(a, measured) == groups(make(0, m=40.0, warmup_steps=0), make(1, m=44.0, warmup_steps=0)) == []
    (ratio,), (m,) = repeats([a, b]), repeats([a, fixed])
    assert (ratio.cells["m"], ratio.cells["m/KL"]) == ("-", "4") and (m.cells["m"], m.cells["m/KL"]) == ("40", "-")


def test_means_and_deviations_are_over_the_runs_that_reached_their_end_or_failed() -> None:
    runs = [make(0, 0.6), make(1, 0.5), make(2, 0.3, RunState.COLLAPSED), make(3, 0.0, RunState.DIVERGED)]
    (one,) = repeats([*runs, make(4, 0.7, RunState.PRUNED)])
    for spread, scores in ((one.validation, [0.6, 0.5, 0.3, 0]), (one.test, [0.5, 0.4, 0.2, 0])):
        assert dataclasses.astuple(spread) == pytest.approx((mean(scores), stdev(scores), 4))
    assert (one.cells["runs"], one.cells["not complete"], one.cells["validation"]) == ("5", "3", "0.350 ± 0.265")
    (stopped,) = repeats([make(0, 0.7, RunState.PRUNED), make(1, 0.6, RunState.PRUNED)])
    assert (stopped.cells["validation"], stopped.cells["test"], stopped.cells["not complete"]) == ("-", "-", "2")


def test_settings_are_sorted_by_mean_and_marked_where_the_spread_bears_no_order() -> None:
    best, near, far = (
        [make(seed, score, alpha=alpha) for seed, score in enumerate(scores)]
        for alpha, scores in ((0.1, (0.6, 0.5)), (0.2, (0.56, 0.46)), (0.3, (0.45, 0.43)))
    )  # standard errors of the difference from the best: 0.071 and 0.051
    once = [make(0, 0.2, alpha=0.4), make(1, 0.9, RunState.PRUNED, alpha=0.4)]  # one run says nothing of its spread
    found = repeats([*far, *once, *near, *best])
    assert [one.runs[0].parameters["alpha"] for one in found] == [0.1, 0.2, 0.3, 0.4]
    assert [one.note for one in found] == ["", MARK, "", MARK]
    elsewhere = [make(seed, 0.1, folder="a-study") for seed in range(2)]
    assert [one.note for one in repeats([*best, *elsewhere])] == ["", ""]  # nothing of its study is better


@given(st.lists(st.floats(0, 1), min_size=2, max_size=5), st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_a_mean_is_below_another_by_more_than_the_standard_error(a: list[float], b: list[float]) -> None:
    error = math.sqrt(stdev(a) ** 2 / len(a) + stdev(b) ** 2 / len(b))
    below = Spread.of(a).is_below(Spread.of(b))
    assert below == (mean(b) - mean(a) > error) or mean(b) - mean(a) == pytest.approx(error)
    assert not (below and Spread.of(b).is_below(Spread.of(a))) and not Spread.of(a).is_below(Spread.of(a))


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_fits_a_terminal(width: int) -> None:
    runs = [
        make(seed, score, folder="f" * 90, alpha=alpha) for alpha in (0.1, 0.2) for seed, score in ((0, 0.5), (1, 0.6))
    ]
    lines = repeats_text(repeats(runs), width).splitlines()
    assert lines[1].split()[-4:] == ["validation", "test", "not", "complete"]
    assert [line[0] for line in lines[2:]] == [" ", "~", "~"] and max(map(len, lines[:-1])) <= width


def test_the_report_shows_repeats_below_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for alpha in (0.2, 0.4):
        for seed in range(2):
            make_run(tmp_path / f"run-{alpha}-{seed}", score=0.5 + alpha / 10 + seed / 5, alpha=alpha, seed=seed)
    make_run(tmp_path / "alone", alpha=0.3)
    assert main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    shown = "0.640 ± 0.141 0.576 ± 0.127 0"
    assert printed.index("\nalone ") < printed.index("\nSettings repeated with other seeds") < printed.index(shown)
    summary = (tmp_path / "summary.md").read_text()
    assert "\n## Settings repeated with other seeds\n" in summary
    row = f"| run-0.2-1 and 1 other | 0.2 | 20 | 20 | 2 | 2 | 0.620 ± 0.141 | 0.558 ± 0.127 | 0 | {MARK} |"
    assert row in summary.splitlines()
    html = page_html(read_runs(tmp_path), "faces")
    assert html.index('id="table"') < html.index("Settings repeated with other seeds") < html.index("0.640 ± 0.141")
    assert html.count("<td>not told apart from the best</td>") == 1
    (alone,) = read_runs(tmp_path / "alone")
    assert "Settings repeated" not in page_html([alone], "faces") and repeats_text(repeats([alone])) == ""
