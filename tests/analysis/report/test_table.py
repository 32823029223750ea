"""The table of runs: its order, its width, and every number in full where a program reads it."""

import csv
import io
import os
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import tiny_config
from hypothesis import given
from hypothesis import strategies as st
from studies import MEASURES, PARTS, make_run, make_study

from analysis.report.runs import Run, read_runs
from analysis.report.table import PREDICTED, SHOWN, SUMMARY, frame, markdown, ranked, text_table
from introvae.runs.record import RunState, Scores
from introvae.runs.schema import TAKEN

RUN = Run(
    name="run", folder=Path("run"), state=RunState.COMPLETE, reason="", step=20, scores=Scores(score=0.5, **PARTS),
    measures=MEASURES,
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return ranked(read_runs(make_study(tmp_path_factory.mktemp("predictions") / "table")))


def test_the_best_come_first_and_failures_last(runs: list[Run]) -> None:
    assert [run.name for run in runs] == [
        "study/trial-001", "alone", "study/trial-000", "study/trial-002", "study/trial-003", "running", "bad",
    ]  # fmt: skip
    assert [run.state for run in runs[2:]] == ["complete", "collapsed", "diverged", "running", "unreadable"]


def test_of_equal_runs_the_latest_comes_first(tmp_path: Path) -> None:
    for name, written in (("a", 1), ("b", 3), ("c", 2)):
        os.utime(make_run(tmp_path / name) / "scores.json", (written, written))
    make_run(tmp_path / "d", score=0.6)
    runs = read_runs(tmp_path)
    assert [run.name for run in ranked(runs)] == ["d", "b", "c", "a"]
    (tmp_path / "b" / "scores.json").unlink()  # as somebody may do meanwhile
    assert [run.name for run in ranked(runs)] == ["d", "c", "a", "b"]


def test_a_row_holds_scores_settings_and_all_measures(runs: list[Run]) -> None:
    table = frame(runs).set_index("run")
    alone = table.loc["alone"]
    assert alone[["validation", "test", "test_stderr", *PARTS]].to_dict() == {
        "validation": 0.6, "test": 0.54, "test_stderr": 0.02, **PARTS,
    }  # fmt: skip
    assert (alone["alpha"], alone["beta"], alone["m"], alone["m/KL"], alone["step"]) == (0.25, 20, 20, 2.0, 20)
    assert (alone["psnr"], alone["kl"], alone["active_units_0.1"]) == (20.5, 12.25, 3)
    assert table["validation"].isna().to_list() == [False] * 5 + [True] * 2
    assert table["test"].isna().to_list() == [True, False, False] + [True] * 4  # which two runs have that are complete
    assert table["beta"].isna().to_list() == [False] * 6 + [True]
    assert table.loc["study/trial-002", "reason"] == "samples alike | at step 20"
    assert table.columns.is_unique and "kl_per_dimension" not in table


def test_no_measure_can_be_named_like_a_column_of_another(runs: list[Run]) -> None:
    assert set(SUMMARY) - {"kl"} | {PREDICTED} | {"score", "stderr"} == set(TAKEN)
    assert not set(TAKEN) & {name for run in runs for name in run.numbers}


@given(st.floats(0, 1), st.floats(allow_nan=False, allow_infinity=False))
def test_a_file_gives_every_number_back(score: float, psnr: float) -> None:
    run = replace(RUN, scores=Scores(score=score), measures={"psnr": psnr})
    (row,) = csv.DictReader(io.StringIO(frame([run]).to_csv(index=False)))
    assert (float(row["validation"]), float(row["psnr"])) == (score, psnr)


def test_a_reason_leaves_room_for_names_beside_all_columns() -> None:
    config = tiny_config(warmup_steps=0, alpha=0.25, m=123.4)
    reason = "input ignored (retrieval 0.025) at step 40, which is a long way to say it"
    run = replace(RUN, state=RunState.COLLAPSED, reason=reason, config=config, measures={"predicted_kl": 12.3})
    heading, line = text_table([replace(run, name="study/trial-000")], 80).splitlines()
    assert "m/KL" in heading and "m/predicted" in heading and len(line) <= 80
    assert line.startswith("study/trial-000 ") and "collapsed: input ignored" in line
    (line,) = text_table([replace(run, name="faces-of-a-very-long-name/trial-1000")], 80).splitlines()[1:]
    assert line.split()[0].endswith("trial-1000") and "collapsed: input ignored" in line


def test_the_table_of_a_study(runs: list[Run]) -> None:
    assert text_table(runs, 100).splitlines() == [
        "run             validation        test recon sharp struct  div info alpha beta m nats m/KL state",
        "study/trial-001      0.750           -  0.75  0.50   0.90 0.30 1.00  0.25   20     20    2 pruned",
        "alone                0.600 0.540±0.020  0.75  0.50   0.90 0.30 1.00  0.25   20     20    2 complete",
        "study/trial-000      0.500 0.450±0.020  0.75  0.50   0.90 0.30 1.00  0.25   20     20    2 complete",
        "",
        "run             alpha beta m nats m/KL state",
        "study/trial-002  0.25   20     20    2 collapsed: samples alike | at step 20",
        "study/trial-003  0.25   20     20    - diverged: step 7 is not finite",
        "running          0.25   20     20    - running: step 20 of 40",
        "",
        "unreadable:",
        "  bad: unknown setting 'betta'; did you mean 'beta'?",
    ]


def test_a_predicted_margin_ratio_has_a_column_of_its_own(runs: list[Run]) -> None:
    cold = replace(RUN, name="cold", config=tiny_config(warmup_steps=0), measures={"predicted_kl": 16.0})
    table = frame([*runs, cold]).set_index("run")
    assert table.loc["cold", "m/predicted KL"] == 1.25 and table["m/KL"].isna()["cold"]
    assert table["m/predicted KL"].notna().sum() == 1 and "m/predicted KL" not in frame(runs)
    lines = text_table([*runs, cold], 100).splitlines()
    assert lines[0].split()[4:] == ["beta", "m", "nats", "m/KL", "m/predicted", "state"]
    assert lines[4].split()[4:] == ["20", "20", "-", "1.25", "complete"]
    assert "| m nats | m/KL | m/predicted KL | KL nats |" in markdown([cold], "t")
    assert "| m nats | m/KL | KL nats |" in markdown(runs, "t")


def test_a_narrow_terminal_shows_no_parts(runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = text_table(runs).splitlines()
    assert lines[0] == "run             validation        test alpha beta m nats m/KL state"
    assert lines[2] == "alone                0.600 0.540±0.020  0.25   20     20    2 complete"
    assert "collapsed: samples alike" in lines[6]
    monkeypatch.setenv("COLUMNS", "200")
    assert len(text_table([replace(RUN, name="x" * 300)]).splitlines()[1]) == 120
    monkeypatch.setenv("COLUMNS", "20")
    assert text_table(runs).splitlines() == lines
    monkeypatch.delenv("COLUMNS")
    assert max(map(len, text_table([replace(RUN, name="x" * 300)]).splitlines())) == 100  # no terminal


def test_a_long_name_is_cut_in_its_middle() -> None:
    name = "faces-of-a-very-long-name-indeed/trial-123"
    (line,) = text_table([replace(RUN, name=name)]).splitlines()[1:]
    first = line.split()[0]
    head, tail = first.split("..")
    assert name.startswith(head) and name.endswith(tail) and "/trial-123" in tail


NAMES = st.text(st.characters(categories=["L", "N", "P", "C", "Z"]), min_size=1, max_size=200)
NUMBERS = st.floats(width=64) | st.integers(-(2**62), 2**62)


@given(st.lists(st.tuples(NAMES, st.sampled_from(RunState), NAMES, NUMBERS, NUMBERS, st.floats(0, 1)), max_size=4))
def test_every_table_fits_a_terminal(
    drawn: list[tuple[str, RunState, str, float, float, float]],
) -> None:
    some = [
        replace(
            RUN, name=name, state=state, reason=reason, scores=Scores(score=score), test=Scores(score=1, stderr=score),
            measures={"kl": a, "vae_kl": b},
        )
        for name, state, reason, a, b, score in drawn
    ]  # fmt: skip
    for width in (80, 100, 120):
        lines = text_table(ranked(some), width).split("\n")
        assert max(map(len, lines)) <= width and all(line.isprintable() for line in lines)
    table = markdown(ranked(some), "title").encode(errors="replace").decode()
    assert len(table.splitlines()) == len(some) + 4


def test_markdown_shows_names_as_they_are() -> None:
    text = markdown([replace(RUN, name="a|b<i>`c`_*\n# d")], "x_y")
    lines = text.splitlines()
    assert lines[0] == r"# x\_y" and len(lines) == 5
    assert lines[4].startswith(r"| a\|b\<i\>\`c\`\_\* # d | 0.500 | - | 0.75 |")
    assert lines[4].replace(r"\|", "").count("|") == lines[3].count("|") == len(SHOWN) + 1
