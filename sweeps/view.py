"""What a study shows while it runs: in a terminal a bar for each worker below the lines of ended trials."""

import io
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stderr
from datetime import datetime
from statistics import mean
from typing import NoReturn, TextIO

from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm

from sweeps.search.pruning import FINISHED
from sweeps.study import best_trial
from sweeps.workers.slots import finished_slots
from sweeps.workers.watch import ONCE, SECONDS, Finished, Message, Progress, Said

LINE_EVERY = 10.0  # seconds between lines of a warm-up, without a terminal
BAR = "{desc:10}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}"
TEXT = "{desc}"
ERASE = "\x1b[K"  # a terminal's line from the cursor on, where a ^C may stand that no bar has covered
WIDTH = 48  # of what stands behind a bar, blanks included, so that the bar keeps its length
LATEST = 20  # trials whose mean cost tells the time left, for pruning makes them shorter and shorter
FEWEST = 3  # trials that tell it


class View:
    """Shows what the workers of one machine send: the only one that writes to the terminal. For a with statement.

    Without a terminal it prints a line for each trial, and for the warm-up every ten seconds. If `quiet` it shows
    only what goes wrong.
    """

    def __init__(self, trials: int, done: int, workers: int = 1, quiet: bool = False) -> None:
        self.trials, self.done, self.workers, self.quiet = trials, done, workers, quiet
        self.live = sys.stderr.isatty() and not quiet
        self.shown = time.monotonic()

    def __enter__(self) -> "View":
        self.stack, self.stderr = ExitStack(), sys.stderr
        if self.live:  # the study's bar is the highest, so that it is seen however many workers there are
            self.study = self._bar("study", 0, self.trials, BAR)
            self.bars = [self._bar("starting", 1 + index, 1, TEXT) for index in range(self.workers)]
            self.stack.enter_context(redirect_stderr(Lines(self._print_above)))  # what others write tears no bar
            self.study.n = self.done
            self.study.refresh()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()
        if self.live:
            print(ERASE, end="", file=self.stderr, flush=True)

    def show(self, worker: int, message: Message | None) -> None:
        """What worker 0, 1, ... has to say; None if it has left."""
        match message:
            case Said(text):
                self._print_above(text)
            case Progress() if not self.quiet:
                self._advance(worker, message)
            case Finished() if not self.quiet:
                self._finish(message)
            case None if self.live:
                self._retext(self.bars[worker], "done", TEXT)

    def _bar(self, text: str, position: int, total: int, form: str) -> "tqdm[NoReturn]":
        columns, rows = _room(self.stderr)
        bar: tqdm[NoReturn] = tqdm(
            desc=text, position=position, total=total, bar_format=form, file=self.stderr, leave=False,
            ncols=columns, nrows=rows,
        )  # fmt: skip
        bar.dynamic_ncols = _room  # type: ignore[assignment]  # as tqdm itself does
        self.stack.callback(bar.close)
        return bar

    def _retext(self, bar: "tqdm[NoReturn]", text: str, form: str) -> None:
        bar.bar_format = form
        bar.set_description_str(text, refresh=False)
        bar.refresh()

    def _advance(self, worker: int, progress: Progress) -> None:
        if self.live:
            bar = self.bars[worker]
            bar.n, bar.total = progress.step, progress.steps
            bar.set_postfix_str(progress.text.ljust(WIDTH - len(str(progress.step))), refresh=False)
            self._retext(bar, progress.label, BAR)
        elif progress.label == "warm-up":
            now = time.monotonic()
            if now - self.shown >= LINE_EVERY or progress.step == progress.steps:
                self._print_above(f"warm-up: step {progress.step}/{progress.steps}, {progress.text}")
                self.shown = now

    def _finish(self, finished: Finished) -> None:
        if not self.live:
            print(f"{finished.trial}; {finished.study}", flush=True)
            return
        with tqdm.external_write_mode(file=self.stderr):
            print(finished.trial, flush=True)
        self.study.n = finished.done
        self.study.set_postfix_str(finished.study)

    def _print_above(self, text: str) -> None:
        with tqdm.external_write_mode(file=self.stderr):
            print(f"{ERASE}{text}" if self.live else text, file=self.stderr, flush=True)


def _room(terminal: TextIO) -> tuple[int, int]:
    """The columns and rows for bars: one row stays for lines, three columns for the ^C that a terminal shows."""
    columns, rows = os.get_terminal_size(terminal.fileno())
    return max(1, (columns or 80) - 3), (rows or 24) - 1


class Lines(io.TextIOBase):
    """A text file that hands on each line that is written to it."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say, self.begun = say, ""

    def write(self, text: str) -> int:
        *lines, self.begun = (self.begun + text).split("\n")
        for line in lines:
            self.say(line)
        return len(text)


def finished(trial: FrozenTrial, known: list[FrozenTrial], total: int) -> Finished:
    """What there is to say of a trial that its worker has just finished, among those `known`, of `total` slots."""
    done = len(finished_slots(known))
    values = trial.params | trial.user_attrs.get("point", {})
    numbers = " ".join(f"{name} {value:.3g}" for name, value in values.items())
    derived = "m" in trial.user_attrs and "m" not in values
    margin = f" m {trial.user_attrs['m']:.4g}" if derived else ""
    score = f"score {trial.value:.3f}" if trial.value is not None else "no score"
    line = f"trial {trial.user_attrs['slot']}: {score}, {trial.user_attrs['outcome']}; {numbers}{margin}"
    best = best_trial(known)
    leader = f"best {best.value:.3f} (trial {best.user_attrs['slot']})" if best else "none complete"
    return Finished(line, leader + _left(known, total - done), done)


def _left(trials: Sequence[FrozenTrial], missing: int) -> str:
    """How long so many trials will take the workers of all machines; nothing as long as nothing can be said."""
    timed = [trial for trial in trials if trial.state in FINISHED and SECONDS in trial.user_attrs]
    if len(timed) < FEWEST or missing <= 0:
        return ""
    timed.sort(key=lambda trial: trial.datetime_complete or datetime.max)
    cost = mean(_cost(trial) for trial in timed[-LATEST:])
    workers = 1 + sum(trial.state == TrialState.RUNNING for trial in trials)
    none_short = all(trial.state == TrialState.COMPLETE for trial in timed)
    return f", {'at most ' if none_short else ''}{duration(cost * missing / min(workers, missing))} left"


def _cost(trial: FrozenTrial) -> float:
    """Its seconds without those that a worker spends once, before its first trial."""
    return sum(seconds for phase, seconds in trial.user_attrs[SECONDS].items() if phase not in ONCE)


def duration(seconds: float) -> str:
    """In the unit that a person would take."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
