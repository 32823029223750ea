"""The view of a running study: in a terminal a bar for each worker below the lines of ended trials."""

import io
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stderr
from typing import NoReturn, TextIO

from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm

from introvae.training.progress import LINE_EVERY, describe, duration
from sweeps.study import best_trial, leading_trial
from sweeps.tasks.outcome import FINISHED

BAR = "{desc:10}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}"
ERASE = "\x1b[K"  # erases a terminal's line from the cursor on, where a ^C may stand that no bar has covered
WIDTH = 48  # columns behind a bar, padded so that the bar keeps its length
SILENT = 60.0  # seconds without a line, where there is no terminal, after which a trial tells its step


class View:
    """Shows what a driver tells of its workers; nothing else writes to the terminal. Use it in a with statement.

    Without a terminal, it prints a line for each trial that has ended or come to a rung, one for the warm-up every ten
    seconds, and one for a trial after a minute without any. If `quiet`, it shows only what goes wrong.
    """

    def __init__(self, workers: int = 1, quiet: bool = False) -> None:
        self.workers, self.quiet = workers, quiet
        self.live = sys.stderr.isatty() and not quiet
        self.last_line, self.leader = time.monotonic(), ""

    def __enter__(self) -> "View":
        self.stack, self.stderr = ExitStack(), sys.stderr
        if self.live:
            self.stack.callback(print, ERASE, end="", file=self.stderr, flush=True)
            # the study's bar comes first, so that it is seen however many workers there are
            self.bars = [self._bar(position) for position in range(1 + self.workers)]
            self.stack.enter_context(redirect_stderr(Lines(lambda text: self._print_above(text, self.stderr))))
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def say(self, text: str) -> None:
        """Show lines that a worker wrote to stderr."""
        for line in text.splitlines():
            print(line, file=sys.stderr, flush=True)

    def progress(self, worker: int, label: str, steps: int, row: dict[str, float]) -> None:
        """Show the last row of metrics.csv of the run of worker 0, 1, ..., a trial or "warm-up"."""
        step, text = int(row["step"]), describe(row)
        if self.live:
            self._draw(1 + worker, label, step, steps, text.ljust(WIDTH - len(str(step))))
        elif not self.quiet:
            now, trial = time.monotonic(), label != "warm-up"
            if now - self.last_line >= (SILENT if trial else LINE_EVERY) or (step == steps and not trial):
                print(f"{label}: step {step}/{steps}, {text}", file=sys.stderr, flush=True)
                self.last_line = now

    def study(self, trials: list[FrozenTrial], trained: int, left: int, lasts: float | None = None) -> None:
        """Show how far the study is.

        Args:
            trials: All its trials.
            trained: Steps that they have trained.
            left: Steps that they are still to train.
            lasts: Seconds that these take; None if that is not known.
        """
        self.leader = _leader(trials) + (f", {duration(lasts)} left" if lasts else "")
        if self.live:
            self._draw(0, "study", trained, trained + left, self.leader)

    def trial(self, worker: int, trial: FrozenTrial) -> None:
        """Show a trial that has just ended, or come to a rung, and the worker that ran it as idle."""
        if self.live:
            self._print_above(_described(trial), sys.stdout)
            self._draw(1 + worker, "idle")
        elif not self.quiet:
            print(f"{_described(trial)}; {self.leader}", flush=True)
            self.last_line = time.monotonic()

    def _bar(self, position: int) -> "tqdm[NoReturn]":
        columns, rows = _room(self.stderr)
        bar: tqdm[NoReturn] = tqdm(
            desc="starting", position=position, bar_format="{desc}", file=self.stderr, leave=False,
            ncols=columns, nrows=rows,
        )  # fmt: skip
        bar.dynamic_ncols = _room  # type: ignore[assignment]  # tqdm calls it for each drawing
        self.stack.callback(bar.close)
        return bar

    def _draw(self, position: int, label: str, step: int = 0, steps: int = 0, text: str | None = None) -> None:
        """Draw a bar, or its label alone if there is no text."""
        bar = self.bars[position]
        bar.n, bar.total, bar.bar_format = step, steps, "{desc}" if text is None else BAR
        bar.set_description_str(label, refresh=False)
        bar.set_postfix_str(text or "")

    def _print_above(self, text: str, file: TextIO) -> None:
        with tqdm.external_write_mode(file=self.stderr):
            print(ERASE, end="", file=self.stderr, flush=True)
            print(text, file=file, flush=True)


def _room(terminal: TextIO) -> tuple[int, int]:
    """Return the columns and rows for bars, less a row for lines and three columns for the ^C that a terminal shows."""
    columns, rows = os.get_terminal_size(terminal.fileno())
    return max(1, (columns or 80) - 3), (rows or 24) - 1


class Lines(io.TextIOBase):
    """A text file that passes on each line that is written to it."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say, self.begun = say, ""

    def write(self, text: str) -> int:
        *lines, self.begun = (self.begun + text).split("\n")
        for line in lines:
            self.say(line)
        return len(text)


def _described(trial: FrozenTrial) -> str:
    """Describe how a trial ended, or how far it is, and its values."""
    attributes = trial.user_attrs
    values = trial.params | attributes.get("point", {})
    numbers = " ".join(f"{n} {v if isinstance(v, str) else f'{v:.3g}'}" for n, v in values.items())
    if "m" in attributes and "m" not in values:
        numbers += f" m {attributes['m']:.4g}"
    score = f"score {trial.value:.3f}" if trial.value is not None else "no score"
    if trial.state not in FINISHED:
        score = _at_rung(trial)
    outcome = f", {attributes['outcome']}" if trial.state in FINISHED else ""
    return f"trial {trial.number}: {score}{outcome}; {numbers}"


def _at_rung(trial: FrozenTrial) -> str:
    step = max(trial.intermediate_values)
    return f"{trial.intermediate_values[step]:.3f} at step {step}"


def _leader(trials: Sequence[FrozenTrial]) -> str:
    """Describe the best trial: the one with the highest score of those that have come furthest."""
    if best := best_trial(trials):
        return f"best {best.value:.3f} (trial {best.number})"
    first = leading_trial(trial for trial in trials if trial.state == TrialState.RUNNING)
    return f"best {_at_rung(first)} (trial {first.number})" if first else "none complete"
