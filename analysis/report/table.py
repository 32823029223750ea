"""Tables of runs: ranked, as a DataFrame, and as text for a terminal or for Markdown."""

import math
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.report.runs import Run
from introvae.runs.record import PARTS, SCORE_NAMES, RunState

SETTINGS = ("alpha", "beta", "m", "m/KL")
SUMMARY = ("run", *SCORE_NAMES, *SETTINGS, "kl", "step", "state", "reason")
UNITS = {"m": "m nats", "kl": "KL nats"}
SHORT = {"reconstruction": "recon", "informativeness": "info", "sharpness": "sharp", "structure": "struct",
         "diversity": "div"}  # fmt: skip
WIDTH = 100  # characters of a line in a terminal
NOTE = 50  # of a state and its reason, before the names of runs are shortened for its sake

Row = Mapping[str, Any]


def ranked(runs: Iterable[Run]) -> list[Run]:
    """Sort runs best first: complete and pruned ones by score, then the other states in the order of `RunState`."""
    order = list(RunState)

    def key(run: Run) -> tuple[int, float]:
        place = 0 if run.state.ranked else order.index(run.state)
        return place, -run.scores.score if math.isfinite(run.scores.score) else 0.0

    return sorted(runs, key=key)


def frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Return a row for each run, in the given order: the columns of SUMMARY, then each measure that is a number.

    m and kl are in nats, m/KL is `Run.margin_ratio`; NaN where a run has no such value.
    """
    measures = dict.fromkeys(name for run in runs for name in run.numbers)
    return pd.DataFrame([row(run) for run in runs], columns=list(dict.fromkeys((*SUMMARY, *measures))))


def row(run: Run) -> dict[str, Any]:
    """Return what is known of a run by column."""
    values: dict[str, Any] = {"run": run.name, "step": run.step, "state": run.state.value, "reason": run.reason}
    return values | vars(run.scores) | run.parameters | {"m/KL": run.margin_ratio} | run.numbers


def text_table(runs: Sequence[Run]) -> str:
    """Return the table for a terminal: runs with a rank, those without, and the unreadable with their reasons.

    It is at most WIDTH characters wide: what is too long is cut, names in their middle; summary.csv holds all of it.
    """
    good, bad, unreadable = [], [], []
    for run in runs:
        values = row(run)
        if run.state.ranked:
            good.append(values)
        elif run.state is RunState.UNREADABLE:
            unreadable.append(_wrapped(f"{values['run']}: {values['reason']}"))
        else:
            bad.append(values | {"state": ": ".join(filter(None, (values["state"], values["reason"])))})
    tables = [
        _aligned(good, ("run", "score", *PARTS, *SETTINGS, "kl", "state")) if good else "",
        _aligned(bad, ("run", *SETTINGS, "state")) if bad else "",
        "\n".join(["unreadable:", *unreadable]) if unreadable else "",
    ]
    return "\n\n".join(filter(None, tables))


def markdown(runs: Sequence[Run], title: str) -> str:
    """Return a heading and a table in GitHub's Markdown, which shows names and reasons as they are."""
    lines = [[UNITS.get(name, name) for name in SUMMARY], ["---"] * len(SUMMARY)]
    lines += [[_escaped(_cell(name, values.get(name))) for name in SUMMARY] for values in map(row, runs)]
    return f"# {_escaped(title)}\n\n" + "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|&~])", r"\\\1", text)


def _wrapped(text: str) -> str:
    return textwrap.fill(_cell("", text), WIDTH, initial_indent="  ", subsequent_indent="    ")


def _aligned(rows: Sequence[Row], columns: Sequence[str]) -> str:
    lines = [[SHORT.get(name, UNITS.get(name, name)) for name in columns]]
    lines += [[_cell(name, values.get(name)) for name in columns] for values in rows]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    room = WIDTH - sum(widths[1:-1]) - len(columns) + 1
    widths[-1] = min(widths[-1], max(NOTE, room - widths[0]))
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


def _cell(name: str, value: Any) -> str:
    """Format a value: three digits for a number, whole from 100 to a million, and two decimals for a part."""
    if isinstance(value, str):
        return "".join(character if character.isprintable() else " " for character in value)
    if value is None or not math.isfinite(value):
        return "-"
    if name in ("score", *PARTS):
        return f"{value:.2f}" if name in PARTS else f"{value:.3f}"
    return f"{value:.0f}" if 100 <= abs(value) < 1e6 or value == 0 else f"{value:.3g}"
