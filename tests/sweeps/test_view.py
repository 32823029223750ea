"""Display of a study while it runs, on a terminal that the tests can read."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import datetime, timedelta
from pathlib import Path

import optuna
import pytest
from helpers import tiny_flags
from optuna.trial import FrozenTrial, TrialState
from terminal import Terminal

from sweeps.cli import main
from sweeps.view import View, duration, finished
from sweeps.workers.watch import PHASES, Finished, Progress, Said, breakdown

LOSSES = "loss 122.6, KL 11.7/12.1/10.8, 1140 images/s"
FIRST = Finished("trial 0: score 0.304, complete; alpha 0.279", "best 0.304 (trial 0)", 1)
SECOND = Finished("trial 1: score 0.512, pruned: score 0.512 at step 9", "best 0.304 (trial 0), 24 s left", 2)


def at(label: str, step: int, steps: int, text: str = LOSSES) -> Progress:
    return Progress(label=label, step=step, steps=steps, text=text)


@contextmanager
def screen(columns: int = 80, rows: int = 24) -> Iterator[Terminal]:
    """Put a terminal in the place of stdout and stderr."""
    with Terminal(columns, rows) as terminal, redirect_stdout(terminal.file), redirect_stderr(terminal.file):
        yield terminal


def test_one_bar_for_each_worker_below_the_lines_of_ended_trials() -> None:
    with screen() as terminal, View(trials=5, done=0, workers=2) as view:
        first = terminal.lines()
        assert re.fullmatch(r"study +0%\| +\| 0/5", first[0]) and first[1:] == ["starting", "starting"]
        view.show(0, at("warm-up", 150, 300))
        assert terminal.lines()[1].startswith("warm-up    50%|█") and terminal.lines()[2] == "starting"
        view.show(0, at("trial-000", 300, 600))
        view.show(1, at("trial-001", 450, 600))
        view.show(0, FIRST)
        view.show(0, at("trial-002", 600, 600))
        view.show(1, SECOND)
        lines = terminal.lines()
        assert lines[:2] == [FIRST.trial, SECOND.trial]
        assert re.fullmatch(r"study +40%\|█+[^|]*\| 2/5, best 0\.304 \(trial 0\), 24 s left", lines[2])
        assert re.fullmatch(rf"trial-002 100%\|█+\| 600/600, {LOSSES}", lines[3])
        assert re.fullmatch(rf"trial-001  75%\|█+[^|]*\| 450/600, {LOSSES}", lines[4])
        assert all(len(line) <= 80 for line in lines)
        view.show(1, None)
        assert terminal.lines()[3:] == [lines[3], "done"]


def test_bars_are_gone_at_the_end() -> None:
    with screen() as terminal:
        with pytest.raises(KeyboardInterrupt), View(trials=5, done=0, workers=3) as view:
            view.show(1, at("trial-000", 300, 600))
            view.show(1, FIRST)
            raise KeyboardInterrupt
        assert terminal.lines() == [FIRST.trial]
        assert (terminal.screen.cursor.y, terminal.screen.cursor.x) == (1, 0)
        assert sys.stderr is terminal.file


def test_bars_keep_their_length_whatever_the_numbers() -> None:
    with screen() as terminal, View(trials=5, done=0) as view:
        view.show(0, at("trial-000", 8, 2600, "loss 9, KL 1.0, 9 images/s"))
        short = terminal.lines()[1].rindex("|")
        view.show(0, at("trial-000", 2400, 2600))
        assert terminal.lines()[1].rindex("|") == short


@pytest.mark.parametrize("columns", [40, 20])
def test_a_narrow_terminal_cuts_bars_off(columns: int) -> None:
    with screen(columns) as terminal:
        with View(trials=5, done=1, workers=2) as view:
            for step in range(1, 20):
                view.show(0, at("trial-000", step, 20))
                view.show(1, at("trial-001", step, 20))
            view.show(0, Finished("trial 1: diverged", "best 0.304 (trial 0)", 2))
            begun = [line[:10].rstrip() for line in terminal.lines()]
            assert begun == ["trial 1: d", "study", "trial-000", "trial-001"]
        assert terminal.lines() == ["trial 1: diverged"]


def test_with_more_workers_than_rows_the_study_s_bar_is_shown() -> None:
    with screen(rows=5) as terminal:
        with View(trials=50, done=0, workers=64) as view:
            for worker in range(64):
                view.show(worker, at(f"trial-{worker:03d}", 1, 20))
            view.show(0, FIRST)
            lines = terminal.lines()
            assert lines[0] == FIRST.trial and lines[1].startswith("study")
            assert "more hidden" in lines[-1]
        assert terminal.lines() == [FIRST.trial]


def test_other_output_to_stderr_tears_no_bar() -> None:
    with screen() as terminal, View(trials=5, done=0, workers=2) as view:
        view.show(1, at("trial-001", 5, 10))
        print("the database does not answer", file=sys.stderr, flush=True)
        view.show(0, Said("the database answers again"))
        lines = terminal.lines()
        assert lines[:2] == ["the database does not answer", "the database answers again"]
        assert [line[:9].rstrip() for line in lines[2:]] == ["study", "starting", "trial-001"]


def test_without_a_terminal_there_are_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with View(trials=5, done=0, workers=2) as view:
        view.show(0, at("warm-up", 10, 20))
        view.show(0, at("warm-up", 20, 20))
        view.show(0, at("trial-000", 30, 30))
        view.show(0, FIRST)
        view.show(0, Said("the database does not answer"))
        view.show(0, None)
    shown = capsys.readouterr()
    assert shown.out == f"{FIRST.trial}; {FIRST.study}\n"
    assert shown.err == f"warm-up: step 20/20, {LOSSES}\nthe database does not answer\n"


def test_quiet_shows_only_what_goes_wrong() -> None:
    with screen() as terminal, View(trials=5, done=0, quiet=True) as view:
        for message in (at("warm-up", 20, 20), FIRST, None):
            view.show(0, message)
        assert terminal.lines() == []
        view.show(0, Said("the database does not answer"))
        assert terminal.lines() == ["the database does not answer"]


def study_of(seconds: list[float], running: int = 0, pruned: int = 0) -> optuna.Study:
    """Return a study whose ended trials took these seconds; the last `pruned` of them were pruned."""
    study = optuna.create_study(direction="maximize")
    for number, took in enumerate(seconds):
        end = datetime(2026, 1, 1) + timedelta(seconds=number)
        state = TrialState.PRUNED if number >= len(seconds) - pruned else TrialState.COMPLETE
        seconds_of = {"training": took - 1, "scoring": 1, "warm-up": 600 if number == 0 else 0}
        values = {"slot": number, "outcome": "complete", "m": 5.25, "seconds": seconds_of}
        trial = optuna.create_trial(state=state, value=0.1, user_attrs=values)
        trial.datetime_start, trial.datetime_complete = end - timedelta(seconds=took), end
        study.add_trial(trial)
    for _ in range(running):
        study.ask()
    return study


def told(study: optuna.Study, trials: int) -> str:
    last: FrozenTrial = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))[-1]
    return finished(last, study.trials, trials).study


def test_the_time_left_follows_the_cost_of_a_trial_and_the_workers() -> None:
    assert told(study_of([60, 60]), 50) == "best 0.100 (trial 0)"  # too early to tell
    assert told(study_of([60, 60, 60]), 13) == "best 0.100 (trial 0), at most 10 min left"
    assert told(study_of([60, 60, 12], pruned=1), 13) == "best 0.100 (trial 0), 7 min left"
    assert told(study_of([60, 60, 12], pruned=1, running=3), 13) == "best 0.100 (trial 0), 2 min left"
    assert told(study_of([60, 60, 12], pruned=1, running=3), 4) == "best 0.100 (trial 0), 44 s left"
    assert told(study_of([600.0] * 5 + [12.0] * 20, pruned=20), 30) == "best 0.100 (trial 0), 60 s left"
    assert told(study_of([60, 60, 60]), 3) == "best 0.100 (trial 0)"


def test_durations() -> None:
    assert [duration(x) for x in (0.4, 89, 91, 60 * 89, 60 * 91)] == ["0 s", "89 s", "2 min", "89 min", "1.5 h"]


def test_a_quiet_sweep_prints_its_result_and_keeps_where_its_time_went(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*tiny_flags("beta", "m"), "--device", "cpu", "--trials", "1", "--pruner", "none", "--out", str(tmp_path)]
    start = time.monotonic()
    assert main([*flags, "--quiet"]) == 0
    took = time.monotonic() - start
    shown = capsys.readouterr()
    assert shown.err == ""
    first, *_, last = shown.out.strip().splitlines()
    assert first.startswith("run ") and last.startswith("next: ")
    folder = tmp_path / "orl-faces-16px"
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{folder / 'study.db'}")
    seconds = study.trials[0].user_attrs["seconds"]
    assert {name for name, spent in seconds.items() if spent > 0} == set(PHASES)
    assert 0.3 * took < sum(seconds.values()) < took  # the report comes after it
    assert breakdown(study) in shown.out


def test_ctrl_c_in_a_terminal_leaves_the_closing_message_alone(tmp_path: Path) -> None:
    flags = [*tiny_flags("beta", "m", "steps"), "--steps", "100000"]
    words = ["-m", "sweeps.cli", "--trials", "3", "--out", str(tmp_path), "--device", "cpu", *flags]
    with Terminal(columns=80) as terminal:
        with subprocess.Popen(
            [sys.executable, *words], stdin=terminal.file, stdout=terminal.file, stderr=terminal.file
        ) as process:
            lines = terminal.wait_for(lambda lines: any(re.search(r"trial-000 .*[1-9]\d+/100000", x) for x in lines))
            assert len(lines) >= 3 and lines[-2].startswith("study ")
            terminal.press_ctrl_c()
            process.send_signal(signal.SIGINT)
            process.wait(60)
        lines = terminal.lines()
    assert process.returncode == 130
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'orl-faces-16px' / 'study.db'}")
    assert study.trials[0].user_attrs["seconds"]["training"] > 0
    text = "".join(line.ljust(80) for line in lines if "search" not in line)
    assert "|" not in text and "trial-000" not in text
    assert lines[-3] == "stopping each trial with a checkpoint at its next log; repeat to stop at once"
    assert "".join(lines[-2:]).endswith("rerun the same command to resume, from the checkpoint of trial 0")
