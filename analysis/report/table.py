"""Tables of runs: ranked, as a DataFrame, and as text for a terminal or for Markdown."""

import math
import re
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.report.runs import Run, with_error
from introvae.runs.record import PARTS, SCORES, RunState, Scores
from introvae.runs.schema import printable

PREDICTED = "m/predicted KL"  # a column of runs whose KL no warm-up has measured, beside m/KL where there are any
SETTING_COLUMNS = ("alpha", "beta", "m", "m/KL")
SUMMARY = (
    "run", "validation", "validation_stderr", "test", "test_stderr", *PARTS, *SETTING_COLUMNS, "kl", "step", "state",
    "reason",
)  # fmt: skip
SHOWN = tuple(name for name in SUMMARY if not name.endswith("_stderr"))  # beside their scores
UNITS = {"m": "m nats", "kl": "KL nats"}
SHORT = {"reconstruction": "recon", "informativeness": "info", "sharpness": "sharp", "structure": "struct",
         "diversity": "div", PREDICTED: "m/predicted"}  # fmt: skip
WIDTH, NARROWEST, WIDEST = 100, 80, 120  # characters of a line: where there is no terminal, and in one
LEAST_NAME = 17  # characters of a name, for which the parts of the score make room: its end, trial-1000, is read
NOTE = 50  # of a state and its reason, before the names of runs are shortened for its sake

Row = Mapping[str, Any]


def ranked(runs: Iterable[Run]) -> list[Run]:
    """Sort runs best first: complete and pruned ones by score on validation images, then the other states in order.

    Of equal ones the latest is first: whoever trains a committed run again looks for their own.
    """
    order = list(RunState)

    def key(run: Run) -> tuple[int, float, float]:
        place = 0 if run.state.ranked else order.index(run.state)
        return place, -run.scores.score if math.isfinite(run.scores.score) else 0.0, -_written(run)

    return sorted(runs, key=key)


def _written(run: Run) -> float:
    """Return when the record of a run was written; 0 where there is none, or none that may be looked at."""
    try:
        return (run.folder / SCORES).stat().st_mtime
    except OSError:
        return 0.0


def frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Return a row for each run, in the given order: the columns of SUMMARY, then each measure that is a number.

    The parts are of validation images, m and kl in nats, m/KL is `Run.margin_ratio`; NaN where a run has no such value.
    """
    measures = dict.fromkeys(name for run in runs for name in run.numbers)
    columns = list(dict.fromkeys((*with_predicted(runs, SUMMARY), *measures)))
    return pd.DataFrame([row(run) for run in runs], columns=columns)


def with_predicted(runs: Sequence[Run], names: Sequence[str]) -> Sequence[str]:
    """Return names of columns, with PREDICTED after m/KL if any of the runs has a value for it."""
    if all(run.predicted_margin_ratio is None for run in runs):
        return names
    place = names.index("m/KL") + 1
    return *names[:place], PREDICTED, *names[place:]


def row(run: Run) -> dict[str, Any]:
    """Return what is known of a run by column."""
    values: dict[str, Any] = {"run": run.name, "step": run.step, "state": run.state.value, "reason": run.reason}
    values |= {name: getattr(run.scores, name) for name in PARTS}
    for name, scores in (("validation", run.scores), ("test", run.test)):
        values |= {name: scores.score, f"{name}_stderr": scores.stderr}
    ratios = {"m/KL": run.margin_ratio, PREDICTED: run.predicted_margin_ratio}
    return values | run.parameters | ratios | run.numbers


def _with_errors(**scored: Scores) -> dict[str, str]:
    """Return known scores with their standard errors, for people."""
    return {name: with_error(scores) for name, scores in scored.items() if math.isfinite(scores.score)}


def text_table(runs: Sequence[Run], width: int | None = None) -> str:
    """Return the table for a terminal: runs with a rank, those without, and the unreadable with their reasons.

    What is too long is cut, names in their middle, and where the parts of the score have no room they are left out;
    summary.csv holds all of it.

    Args:
        runs: The runs, in their order.
        width: Characters of a line at most; by default those of the terminal, from 80 to 120.
    """
    width = width or terminal_width()
    good, bad, unreadable = [], [], []
    for run in runs:
        values = row(run) | {name: text.replace(" ", "") for name, text in _with_errors(test=run.test).items()}
        if run.state.ranked:
            good.append(values)
        elif run.state is RunState.UNREADABLE:
            unreadable.append(_wrapped(f"{values['run']}: {values['reason']}", width))
        else:
            bad.append(values | {"state": ": ".join(filter(None, (values["state"], values["reason"])))})
    scored, settings = ("run", "validation", "test"), with_predicted(runs, SETTING_COLUMNS)
    tables = [
        aligned(good, width, (*scored, *PARTS, *settings, "state"), (*scored, *settings, "state")) if good else "",
        aligned(bad, width, ("run", *settings, "state")) if bad else "",
        "\n".join(["unreadable:", *unreadable]) if unreadable else "",
    ]
    return "\n\n".join(filter(None, tables))


def terminal_width() -> int:
    """Return how many characters of a line a table may take."""
    return min(max(shutil.get_terminal_size((WIDTH, 24)).columns, NARROWEST), WIDEST)


def markdown(runs: Sequence[Run], title: str) -> str:
    """Return a heading and a table in GitHub's Markdown, which shows names and reasons as they are."""
    names = with_predicted(runs, SHOWN)
    lines = [[UNITS.get(name, name) for name in names], ["---"] * len(names)]
    rows = [row(run) | _with_errors(validation=run.scores, test=run.test) for run in runs]
    lines += [[escaped(cell(name, values.get(name))) for name in names] for values in rows]
    return f"# {escaped(title)}\n\n" + "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def escaped(text: str) -> str:
    """Escape what Markdown gives a meaning."""
    return re.sub(r"([\\`*_\[\]<>|&~])", r"\\\1", text)


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(cell("", text), width, initial_indent="  ", subsequent_indent="    ")


def aligned(rows: Sequence[Row], width: int, columns: Sequence[str], *fewer: Sequence[str]) -> str:
    """Align cells; with `fewer` columns if these leave no room for names."""
    lines = [[SHORT.get(name, UNITS.get(name, name)) for name in columns]]
    lines += [[cell(name, values.get(name)) for name in columns] for values in rows]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    room = width - sum(widths[1:-1]) - len(columns) + 1
    if fewer and room < min(widths[0], LEAST_NAME) + min(widths[-1], NOTE):
        return aligned(rows, width, *fewer)
    widths[-1] = min(widths[-1], max(len(lines[0][-1]), min(NOTE, room - LEAST_NAME), room - widths[0]))
    widths[0] = min(widths[0], room - widths[-1])
    text = []
    for first, *middle, last in lines:
        numbers = " ".join(f"{cell:>{width}}" for cell, width in zip(middle, widths[1:-1], strict=True))
        text.append(f"{_cut(first, widths[0], 1 / 3):{widths[0]}} {numbers} {_cut(last, widths[-1], 1)}".rstrip())
    return "\n".join(text)


def _cut(text: str, width: int, place: float) -> str:
    """Cut a text to a width, with ".." at a `place` in [0, 1] of it."""
    if len(text) <= width:
        return text
    head = round(place * (width - 2))
    return f"{text[:head]}..{text[len(text) - (width - 2 - head) :]}"


def cell(name: str, value: Any) -> str:
    """Format a value: three digits for a number, whole from 100 to a million, and two decimals for a part."""
    if isinstance(value, str):
        return printable(value)
    if value is None or not math.isfinite(value):
        return "-"
    if name in ("validation", "test", *PARTS):
        return f"{value:.2f}" if name in PARTS else f"{value:.3f}"
    return f"{value:.0f}" if 100 <= abs(value) < 1e6 or value == 0 else f"{value:.3g}"
