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

from introvae.training.metrics import COLUMNS
from introvae.training.progress import LINE_EVERY
from sweeps.cli import main
from sweeps.tasks.chain import TRAINED
from sweeps.view import View

LOSSES = "loss 122.6, KL 11.7/12.1/10.8, 1140 images/s"
FIRST = "trial 0: score 0.304, complete; alpha 0.279 m 5.25"
SECOND = "trial 1: score 0.512, pruned: score 0.512 at step 9; alpha 0.279 m 5.25"
THIRD = "trial 2: no score, diverged; alpha 0.279 m 5.25"
BEST = "best 0.304 (trial 0)"


def row(step: int, loss: float = 122.6, kl: float = 11.7, speed: float = 1140.0) -> dict[str, float]:
    """Return a row of metrics.csv."""
    values = {"step": step, "loss_encoder": loss, "kl_real": kl, "kl_reconstruction": 12.1, "kl_sample": 10.8}
    return dict.fromkeys(COLUMNS, 0.0) | values | {"images_per_second": speed}


def ended(number: int, value: float | None, outcome: str, state: TrialState = TrialState.PRUNED) -> FrozenTrial:
    """Return an ended trial."""
    trial = optuna.create_trial(
        state=state, value=value, params={"alpha": 0.279}, distributions={"alpha": ALPHA},
        user_attrs={"outcome": outcome, "m": 5.25},
    )  # fmt: skip
    trial.number = number
    trial.datetime_complete = datetime(2026, 1, 1) + timedelta(seconds=number)
    return trial


ALPHA = optuna.distributions.FloatDistribution(0.1, 1.0)
KNOWN = [
    ended(0, 0.304, "complete", TrialState.COMPLETE),
    ended(1, 0.512, "pruned: score 0.512 at step 9"),
    ended(2, None, "diverged"),
]


@contextmanager
def screen(columns: int = 80, rows: int = 24) -> Iterator[Terminal]:
    """Put a terminal in the place of stdout and stderr."""
    with Terminal(columns, rows) as terminal, redirect_stdout(terminal.file), redirect_stderr(terminal.file):
        yield terminal


def test_one_bar_for_each_worker_below_the_lines_of_ended_trials() -> None:
    with screen() as terminal, View(workers=2) as view:
        assert terminal.lines() == ["starting", "starting", "starting"]
        view.study([], 0, 1200)
        assert re.fullmatch(r"study +0%\| *\| 0/1200, none complete", terminal.lines()[0])
        view.progress(0, "warm-up", 300, row(150))
        assert terminal.lines()[1].startswith("warm-up    50%|█") and terminal.lines()[2] == "starting"
        view.progress(0, "trial-000", 600, row(300))
        view.progress(1, "trial-001", 600, row(450))
        view.study(KNOWN[:1], 300, 900, 30.0)
        view.trial(0, KNOWN[0])
        assert terminal.lines()[2] == "idle"
        view.progress(0, "trial-002", 600, row(600))
        view.study(KNOWN[:2], 480, 720, 24.0)
        view.trial(1, KNOWN[1])
        lines = terminal.lines()
        assert lines[:2] == [FIRST, SECOND]
        assert re.fullmatch(r"study +40%\|█+[^|]*\| 480/1200, best 0\.304 \(trial 0\), 24 s left", lines[2])
        assert re.fullmatch(rf"trial-002 100%\|█+\| 600/600, {LOSSES}", lines[3])
        assert lines[4:] == ["idle"]
        view.progress(1, "trial-003", 600, row(450))
        view.study(KNOWN, 1200, 0, 0.0)
        view.trial(0, KNOWN[2])
        lines = terminal.lines()
        assert lines[2] == THIRD and lines[4] == "idle"
        assert re.fullmatch(r"study +100%\|█+\| 1200/1200, best 0\.304 \(trial 0\)", lines[3])
        assert re.fullmatch(rf"trial-003  75%\|█+[^|]*\| 450/600, {LOSSES}", lines[5])
        assert all(len(line) <= 80 for line in lines)


def test_bars_are_gone_at_the_end() -> None:
    with screen() as terminal:
        with pytest.raises(KeyboardInterrupt), View(workers=3) as view:
            view.progress(1, "trial-000", 600, row(300))
            view.study(KNOWN[:1], 600, 600)
            view.trial(1, KNOWN[0])
            raise KeyboardInterrupt
        assert terminal.lines() == [FIRST]
        assert (terminal.screen.cursor.y, terminal.screen.cursor.x) == (1, 0)
        assert sys.stderr is terminal.file


def test_bars_keep_their_length_whatever_the_numbers() -> None:
    with screen() as terminal, View() as view:
        view.progress(0, "trial-000", 2600, row(8, loss=9.0, kl=1.0, speed=9.0))
        short = terminal.lines()[1].rindex("|")
        view.progress(0, "trial-000", 2600, row(2400))
        assert terminal.lines()[1].rindex("|") == short


@pytest.mark.parametrize("columns", [40, 20])
def test_a_narrow_terminal_cuts_bars_off(columns: int) -> None:
    with screen(columns) as terminal:
        with View(workers=3) as view:
            for step in range(1, 20):
                view.progress(0, "trial-000", 20, row(step))
                view.progress(1, "trial-001", 20, row(step))
            view.study(KNOWN, 600, 600)
            view.trial(2, KNOWN[2])
            begun = [line[:10].rstrip() for line in terminal.lines()]
            printed = -(-len(THIRD) // columns)
            assert begun[printed:] == ["study", "trial-000", "trial-001", "idle"]
        assert "".join(terminal.lines()) == THIRD


def test_with_more_workers_than_rows_the_study_s_bar_is_shown() -> None:
    with screen(rows=5) as terminal:
        with View(workers=64) as view:
            for worker in range(64):
                view.progress(worker, f"trial-{worker:03d}", 20, row(1))
            view.study(KNOWN[:1], 600, 600)
            view.trial(0, KNOWN[0])
            lines = terminal.lines()
            assert lines[0] == FIRST and lines[1].startswith("study")
            assert "more hidden" in lines[-1]
        assert terminal.lines() == [FIRST]


def test_other_output_to_stderr_tears_no_bar() -> None:
    with screen() as terminal, View(workers=2) as view:
        view.progress(1, "trial-001", 10, row(5))
        print("a warning of a library", file=sys.stderr, flush=True)
        view.say("warning: checkpoint.pt cannot be used\nand another line\n")
        lines = terminal.lines()
        assert lines[:3] == ["a warning of a library", "warning: checkpoint.pt cannot be used", "and another line"]
        assert [line[:9].rstrip() for line in lines[3:]] == ["starting", "starting", "trial-001"]


def test_without_a_terminal_there_are_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with View(workers=2) as view:
        view.progress(0, "warm-up", 20, row(10))
        view.progress(0, "warm-up", 20, row(20))
        view.progress(0, "trial-000", 30, row(30))
        view.study(KNOWN[:1], 600, 600)
        view.trial(0, KNOWN[0])
        view.say("warning: checkpoint.pt cannot be used\n")
    shown = capsys.readouterr()
    assert shown.out == f"{FIRST}; {BEST}\n"
    assert shown.err == f"warm-up: step 20/20, {LOSSES}\nwarning: checkpoint.pt cannot be used\n"


def test_without_a_terminal_a_warm_up_has_a_line_every_ten_seconds_and_at_its_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with View() as view:
        for step in range(1, 21):
            now += 0.3 * LINE_EVERY
            view.progress(0, "warm-up", 20, row(step))
    shown = [line.split(",")[0] for line in capsys.readouterr().err.splitlines()]
    assert shown == [f"warm-up: step {step}/20" for step in (4, 8, 12, 16, 20)]


def test_without_a_terminal_a_trial_tells_its_step_after_a_minute_without_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with View(workers=2) as view:
        view.study(KNOWN[:1], 600, 600)
        for step in range(1, 10):
            now += 20
            view.progress(0, "trial-003", 20, row(step))
            view.progress(1, "trial-004", 20, row(step))
            if step == 4:
                view.trial(0, KNOWN[0])
    shown = [line.split(",")[0] for line in capsys.readouterr().err.splitlines()]
    assert shown == ["trial-003: step 3/20", "trial-003: step 7/20"]


def test_quiet_shows_only_what_goes_wrong() -> None:
    with screen() as terminal, View(quiet=True) as view:
        view.progress(0, "warm-up", 20, row(20))
        view.study(KNOWN[:1], 600, 600)
        view.trial(0, KNOWN[0])
        assert terminal.lines() == []
        view.say("warning: checkpoint.pt cannot be used\n")
        assert terminal.lines() == ["warning: checkpoint.pt cannot be used"]


@pytest.mark.parametrize(("left", "shown"), [(None, ""), (0.0, ""), (50.0, ", 50 s left"), (240.0, ", 4 min left")])
def test_the_time_left(left: float | None, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    with View() as view:
        view.study(KNOWN[:1], 600, 600, left)
        view.trial(0, KNOWN[0])
    assert capsys.readouterr().out == f"{FIRST}; {BEST}{shown}\n"


def test_trials_at_a_rung_are_shown_and_lead_until_one_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    def at_rung(number: int, scores: dict[int, float]) -> FrozenTrial:
        trial = optuna.create_trial(
            state=TrialState.RUNNING, params={"alpha": 0.279}, distributions={"alpha": ALPHA},
            user_attrs={"m": 5.25}, intermediate_values=scores,
        )  # fmt: skip
        trial.number = number
        return trial

    known = [at_rung(0, {20: 0.4}), at_rung(1, {20: 0.3, 60: 0.2})]
    with View() as view:
        view.study(known[:1], 20, 580)
        view.trial(0, known[0])
        view.study(known, 80, 520)
        view.trial(0, known[1])
        view.study([*known, KNOWN[0]], 680, 0, 0.0)
        view.trial(0, KNOWN[0])
    assert capsys.readouterr().out.splitlines() == [
        "trial 0: 0.400 at step 20; alpha 0.279 m 5.25; best 0.400 at step 20 (trial 0)",
        "trial 1: 0.200 at step 60; alpha 0.279 m 5.25; best 0.200 at step 60 (trial 1)",
        f"{FIRST}; {BEST}",
    ]


@pytest.mark.slow
def test_a_quiet_sweep_prints_its_result_and_keeps_how_long_its_trials_took(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*tiny_flags("beta", "m"), "--device", "cpu", "--trials", "1", "--pruner", "none", "--out", str(tmp_path)]
    start = time.monotonic()
    assert main([*flags, "--workers", "1", "--quiet"]) == 0
    took = time.monotonic() - start
    shown = capsys.readouterr()
    assert shown.err == ""
    first, *_, last = shown.out.strip().splitlines()
    assert first.startswith("run ") and last.startswith("next: ")
    folder = tmp_path / "orl-faces-16px"
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{folder / 'study.db'}")
    steps, seconds = study.trials[0].user_attrs[TRAINED]  # the warm-up and the report are not the trial's
    assert steps > 0 and 0 < seconds < took


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_leaves_the_closing_message_alone(tmp_path: Path) -> None:
    flags = [*tiny_flags("beta", "m", "steps"), "--steps", "100000"]
    words = ["-m", "sweeps.cli", "--trials", "3", "--out", str(tmp_path), "--device", "cpu", *flags]
    with Terminal(columns=80) as terminal:
        end = terminal.file
        with subprocess.Popen([sys.executable, *words], stdin=end, stdout=end, stderr=end) as process:
            try:
                lines = terminal.wait_for(
                    lambda lines: any(re.search(r"trial-000 .*[1-9]\d+/100000", x) for x in lines)
                )
                assert len(lines) >= 3 and lines[-2].startswith("study ")
                terminal.press_ctrl_c()
                process.send_signal(signal.SIGINT)
                process.wait(60)
            finally:
                process.kill()
        lines = terminal.lines()
    assert process.returncode == 130
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'orl-faces-16px' / 'study.db'}")
    assert study.trials[0].state == TrialState.RUNNING
    text = "".join(line.ljust(80) for line in lines if "search" not in line)
    assert "|" not in text and "trial-000" not in text
    assert lines[-3] == "stopping each trial with a checkpoint at its next log; repeat to stop at once"
    assert "".join(lines[-2:]).endswith("rerun the same command to resume, from the checkpoint of trial 0")
