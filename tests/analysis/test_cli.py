"""introvae-report as a user meets it: what it prints, what it writes, and what it says when it cannot."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from forks import Command
from helpers import ROOT
from permissions import bound_by_permissions
from PIL import Image
from studies import make_run, make_study, read_scores, write_scores

from analysis.cli import main

Captured = pytest.CaptureFixture[str]


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
COMMAND = [sys.executable, "-m", "analysis.cli"]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return make_study(tmp_path / tmp_path.name)


def test_it_prints_the_table_and_where_things_are(study: Path, capsys: Captured) -> None:
    assert main([str(study)]) == 0
    printed = capsys.readouterr().out
    assert printed.index("study/trial-001") < printed.index("alone") < printed.index("study/trial-002")
    for name in ("summary.csv", "summary.md", "comparison.png"):
        assert str(study / name) in printed and (study / name).is_file()
    assert "comparison.png shows 5 of 7 runs" in printed  # those with scores
    assert main([str(study / "alone")]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("alone ")


def test_other_formats_are_printed_alone(study: Path, capsys: Captured) -> None:
    assert main([str(study), "--format", "csv"]) == 0
    assert capsys.readouterr().out == (study / "summary.csv").read_text()
    assert main([str(study), "--format", "md"]) == 0
    assert capsys.readouterr().out == (study / "summary.md").read_text()
    assert main([str(study), "--format", "json"]) == 0
    printed = capsys.readouterr()
    rows = json.loads(printed.out, parse_constant=pytest.fail)
    table = pd.read_csv(study / "summary.csv").fillna({"reason": ""})
    pd.testing.assert_frame_equal(pd.read_json(io.StringIO(printed.out)), table, check_dtype=False)
    assert rows[-1]["validation"] is None and printed.err == ""


def test_runs_to_compare_are_named_or_all(study: Path, capsys: Captured) -> None:
    for flags, count in (([], 6), (["alone"], 1), (["alone", "study/trial-000", "bad"], 2)):
        assert main([str(study), "--compare", *flags]) == 0
        assert f"comparison.png shows {count} of 7 runs" in capsys.readouterr().out


def test_of_very_many_runs_the_best_and_the_worst_are_compared(
    study: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.report.write.MOST_DRAWN", 4)
    assert main([str(study), "--compare"]) == 0
    assert "comparison.png shows 4 of 7 runs, best first" in capsys.readouterr().out


def test_a_live_study_is_reported_as_far_as_it_is(study: Path, capsys: Captured) -> None:
    (study / "study" / "trial-004").mkdir()  # a moment before its params.toml
    (study / "study" / "trial-001" / "scores.json.part").write_text("{")
    assert main([str(study)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^running .* running: step 20 of 40$", printed, re.MULTILINE)
    assert "trial-004" not in printed and "shows 5 of 7 runs" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "there is no folder"),
        (["empty"], "there is no run below .*introvae-sweep"),
        (["study", "--compare", "nothing"], "there is no run 'nothing' below"),
    ],
)
def test_nothing_to_report_is_said_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "empty").mkdir()
    make_run(tmp_path / "study" / "run")
    assert main([str(tmp_path / arguments[0]), *arguments[1:]]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and error.count("\n") == 1


def test_a_folder_that_only_can_be_read_is_still_printed(study: Path, capsys: Captured) -> None:
    study.chmod(0o500)
    with bound_by_permissions():
        assert main([str(study)]) == 2
    printed = capsys.readouterr()
    assert "study/trial-001" in printed.out and "written" not in printed.out
    assert "Permission denied" in printed.err and printed.err.count("\n") == 1


def test_the_page_is_opened_in_the_user_s_browser(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {browser}.asked\n')
    browser.chmod(0o700)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    ended = Command(main, [str(study), "--open"]).wait()
    assert (ended.code, ended.stderr) == (0, "")
    assert (tmp_path / "browser.asked").read_text().strip() == (study / "report.html").as_uri()


def test_without_a_browser_the_page_is_named(study: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webbrowser.open", lambda page: False)
    assert main([str(study), "--open"]) == 2
    error = capsys.readouterr().err
    assert f"there is no browser to open {study / 'report.html'} with; set BROWSER" in error


def test_a_reader_that_leaves_early_is_no_failure(tmp_path: Path) -> None:
    for index in range(10):
        make_run(tmp_path / f"{index}", reason="x" * 20_000)  # more than a pipe holds
    command = [*COMMAND, str(tmp_path), "--format", "csv"]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline().startswith(b"run,validation,")
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0 and (tmp_path / "comparison.png").is_file()


def test_a_report_does_without_pytorch() -> None:
    """Importing it would take half of the report's memory, and seconds."""
    code = "import analysis.report.write, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_broken_plane_is_passed_over(study: Path, capsys: Captured) -> None:
    plane = study / "alone" / "images" / "plane.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(plane)
    plane.write_bytes(plane.read_bytes()[:200])
    assert main([str(study), "--compare", "alone", "study/trial-000"]) == 0
    assert "comparison.png shows 2 of 7 runs" in capsys.readouterr().out


@pytest.mark.parametrize("count", [2, 4])
def test_what_no_font_has_is_drawn_as_spaces(count: int, tmp_path: Path, capsys: Captured) -> None:
    for number in range(count):
        run = make_run(tmp_path / "study" / f"a\x1b[31m\udcff\n{number}", "pruned", 0.5)
        scores = read_scores(run)
        write_scores(run, scores | {"reason": "\x1b[31mout\0of\nmemory\ud800"})
    assert main([str(tmp_path / "study"), "--compare"]) == 0
    printed = capsys.readouterr().out
    assert f"comparison.png shows {count} of {count} runs" in printed and "\x1b" not in printed


def test_two_reports_on_one_folder_at_once(study: Path) -> None:
    both = [Command(main, [str(study)]) for _ in range(2)]
    assert [(one.wait().code, one.stderr) for one in both] == [(0, "")] * 2
    assert not list(study.glob(".*.part"))


def test_the_backend_of_a_notebook_is_not_drawn_with(study: Path) -> None:
    notebook = ENVIRONMENT | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    done = subprocess.run([*COMMAND, str(study)], env=notebook, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and (study / "comparison.png").is_file()


def test_a_user_without_a_home_has_a_report(study: Path, tmp_path: Path) -> None:
    """Nobody has this number; a Pod or a batch system may give it."""
    code = (
        "import os, pwd, sys\n"
        "def nobody(number): raise KeyError(number)\n"
        "pwd.getpwuid = nobody\n"
        "from analysis.cli import main\n"
        "raise SystemExit(main(sys.argv[1:]))"
    )
    kept = {name: value for name, value in ENVIRONMENT.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    without = kept | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code, str(study)], env=without, capture_output=True, text=True)
    assert done.returncode == 0 and (study / "report.html").is_file(), done.stderr
    assert "Traceback" not in done.stderr
