"""Settings that a study repeats with other seeds: what they are worth on average, and how much of it is luck."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import mean, stdev
from typing import Self

from analysis.report.charts.chart import study
from analysis.report.runs import Run
from analysis.report.table import UNITS, aligned, cell, escaped, terminal_width
from introvae.runs.record import RunState, Scores

SEEDS = ("seed", "warmup_seed", "split_seed")
DIGITS = 6  # of a margin ratio, by which two are the same
HEADINGS = ("setting", "alpha", "beta", "m", "m/KL", "runs", "validation", "test", "not complete")
TITLE = "Settings repeated with other seeds"
CAPTION = (
    "Mean ± standard deviation over seeds, best first within a study; a run that diverged or failed counts as 0, one "
    "that was stopped early does not count."
)
MARK = "not told apart from the best"
MEANING = f"{MARK}: its mean is within one standard error of the difference"


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of some values; NaN where these are too few, or one is not known."""

    mean: float
    deviation: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Return the spread of the values."""
        if any(map(math.isnan, values)):
            return cls(math.nan, math.nan, len(values))
        deviation = stdev(values) if len(values) > 1 else math.nan
        return cls(mean(values) if values else math.nan, deviation, len(values))

    def is_below(self, other: "Spread") -> bool:
        """Tell whether the mean is lower than another by more than one standard error of their difference."""
        if not (self.count and other.count):
            return False
        return other.mean - self.mean > math.hypot(*(s.deviation / s.count**0.5 for s in (self, other)))

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "-"
        return f"{self.mean:.3f}" + ("" if math.isnan(self.deviation) else f" ± {self.deviation:.3f}")


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """Runs of one setting that differ in their seeds.

    Attributes:
        runs: The runs, all ended.
        validation: Spread of their scores on validation images.
        test: The same on test images.
        note: MARK where the runs do not tell the setting apart from the best one of its study, or "".
    """

    runs: Sequence[Run]
    validation: Spread
    test: Spread
    note: str = ""

    @property
    def cells(self) -> dict[str, str]:
        """The row of the table as text; m and m/KL are shown where all runs have the same."""
        first, others = self.runs[0], len(self.runs) - 1
        ratios = {_ratio(run) for run in self.runs}
        values = first.parameters | {"m/KL": ratios.pop() if len(ratios) == 1 else None}
        if any(run.parameters.get("m") != first.parameters.get("m") for run in self.runs):
            values.pop("m")
        incomplete = sum(run.state is not RunState.COMPLETE for run in self.runs)
        known = {name: cell(name, values.get(name)) for name in ("alpha", "beta", "m", "m/KL")}
        return {
            "setting": f"{first.name} and {others} {'other' if others == 1 else 'others'}", **known,
            "runs": str(len(self.runs)), "validation": str(self.validation), "test": str(self.test),
            "not complete": str(incomplete), "note": self.note,
        }  # fmt: skip


def repeats(runs: Iterable[Run]) -> list[Repeats]:
    """Return the settings that runs of one study repeat with other seeds, study by study, sorted by mean.

    Settings are the same if all but the seeds and m is, and either m or the margin ratio: where a study is given margin
    ratios, m follows from the warm-up of each seed.
    """
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        if run.config is None or not run.state.ended:
            continue
        same = {name: value for name, value in run.config.to_dict().items() if name not in (*SEEDS, "m")}
        key = (*study(run), json.dumps(same, sort_keys=True))
        keys = [(*key, f"m {run.config.m}"), (*key, f"ratio {_ratio(run) or run.name}")]
        group = next((groups[key] for key in keys if key in groups), [])
        group.append(run)
        groups |= dict.fromkeys(keys, group)
    several = {
        id(group): group for group in groups.values() if len({run.config and run.config.seed for run in group}) > 1
    }
    found = [_repeats(group) for group in several.values()]
    found.sort(key=lambda one: (study(one.runs[0]), -one.validation.mean if one.validation.count else math.inf))
    studies = [list(group) for _, group in groupby(found, lambda one: study(one.runs[0]))]
    return [one for best, *others in studies for one in (best, *(_compared(other, best) for other in others))]


def _repeats(runs: Sequence[Run]) -> Repeats:
    """Measure the spread of runs that have reached their end, by a score or by failing."""
    counted = [run for run in runs if run.state is not RunState.PRUNED]
    validation = Spread.of([_worth(run, run.scores) for run in counted])
    return Repeats(runs=runs, validation=validation, test=Spread.of([_worth(run, run.test) for run in counted]))


def _worth(run: Run, scores: Scores) -> float:
    return 0.0 if run.state in (RunState.DIVERGED, RunState.FAILED) else scores.score


def _compared(one: Repeats, best: Repeats) -> Repeats:
    return one if one.validation.is_below(best.validation) else replace(one, note=MARK)


def _ratio(run: Run) -> float | None:
    return None if run.margin_ratio is None else float(f"{run.margin_ratio:.{DIGITS}g}")


def repeats_text(found: Sequence[Repeats], width: int | None = None) -> str:
    """Return the table for a terminal, at most `width` characters wide; "" if no setting is repeated."""
    if not found:
        return ""
    rows = [one.cells | {"setting": f"{'~' if one.note else ' '} {one.cells['setting']}"} for one in found]
    lines = [f"{TITLE}, mean ± standard deviation:", aligned(rows, width or terminal_width(), HEADINGS)]
    return "\n".join([*lines, *([f"~ {MEANING}"] if any(one.note for one in found) else [])])


def repeats_markdown(found: Sequence[Repeats]) -> str:
    """Return a heading and the table in GitHub's Markdown; "" if no setting is repeated."""
    if not found:
        return ""
    rows = [headings(), ["---"] * (len(HEADINGS) + 1)]
    rows += [[escaped(one.cells[name]) for name in (*HEADINGS, "note")] for one in found]
    table = "".join("| " + " | ".join(cells) + " |\n" for cells in rows)
    return f"\n## {TITLE}\n\n{CAPTION}\n\n{table}"


def headings() -> list[str]:
    """Return the headings of the table's columns, the last one of notes."""
    return [*(UNITS.get(name, name) for name in HEADINGS), "note"]
