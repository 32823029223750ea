"""The typed record of a run: how it ended, what it is worth, and its file scores.json."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from introvae.errors import UserError
from introvae.files import write_atomically
from introvae.runs.schema import is_share, known_measures, printable, shown

SCORES = "scores.json"
PARTS = ("reconstruction", "sharpness", "structure", "diversity", "informativeness")
"""The parts of the score, each a field of `Scores`."""

DISC, SQUARE, CROSS = "M-4.5 0A4.5 4.5 0 1 1 4.5 0A4.5 4.5 0 1 1-4.5 0Z", "M-4-4H4V4H-4Z", "M-4-4L4 4M4-4L-4 4"
TRIANGLE, WEDGE, DIAMOND = "M0-5L5 4H-5Z", "M0 5L5-4H-5Z", "M0-5.5L5.5 0L0 5.5L-5.5 0Z"


class RunState(StrEnum):
    """The state of a run, with what tables, charts and studies need to know about it.

    Attributes:
        meaning: One line for people.
        symbol: A character that stands for the state in text.
        shape: The same as an SVG path of about 9 units across, centered at the origin.
        tone: "good", "fair" or "bad", by which pages choose a color.
        ranked: Runs of this state are compared by their score.
        ended: scores.json has been written.
        failed: The run is of no use, and a study counts it as infeasible.
        final: The score, if there is one, belongs to the end of the training.
    """

    meaning: str
    symbol: str
    shape: str
    tone: str
    ranked: bool
    ended: bool
    failed: bool
    final: bool

    COMPLETE = "complete", "trained to its last step", "●", DISC, "good", frozenset({"ranked", "ended", "final"})
    PRUNED = (
        "pruned",
        "stopped early because other runs promised more",
        "■",
        SQUARE,
        "fair",
        frozenset({"ranked", "ended"}),
    )
    COLLAPSED = (
        "collapsed",
        "ignores its input, or makes all samples alike",
        "✖",
        CROSS,
        "bad",
        frozenset({"ended", "failed", "final"}),
    )
    DIVERGED = (
        "diverged",
        "a loss was not finite, or the energies ran away",
        "▲",
        TRIANGLE,
        "bad",
        frozenset({"ended", "failed", "final"}),
    )
    FAILED = (
        "failed",
        "ran out of memory, crashed or exceeded its time",
        "▼",
        WEDGE,
        "bad",
        frozenset({"ended", "failed"}),
    )
    RUNNING = "running", "has not ended yet", "◆", DIAMOND, "fair", frozenset[str]()
    UNREADABLE = "unreadable", "its files cannot be read", "?", DIAMOND, "bad", frozenset[str]()

    def __new__(cls, value: str, meaning: str, symbol: str, shape: str, tone: str, traits: frozenset[str]) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning, member.symbol, member.shape, member.tone = meaning, symbol, shape, tone
        for trait in ("ranked", "ended", "failed", "final"):
            setattr(member, trait, trait in traits)
        return member


@dataclass(frozen=True, kw_only=True)
class Scores:
    """A score and its five parts, each in [0, 1], 1 is best; `stderr` is the score's standard error.

    A value that is not known is NaN.
    """

    score: float = math.nan
    stderr: float = math.nan
    reconstruction: float = math.nan
    sharpness: float = math.nan
    structure: float = math.nan
    diversity: float = math.nan
    informativeness: float = math.nan


RUNGS = "rungs"  # the measure of a study's trial: pairs of a step and the score by which trials were compared there

SCORE_NAMES = tuple(f.name for f in fields(Scores))


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The content of scores.json: the outcome of a run that has ended.

    Attributes:
        state: One of the states that have ended.
        reason: Why the run did not simply complete; "" if it did.
        scores: What the run is worth on validation images; a run that diverged or failed scores 0.
        test: The same on test images, by which nothing is chosen; None for a run that has not reached its end.
        weights: The weights of the parts in what its study maximized; empty for a run on its own.
        optimized: What its study maximized, in [0, 1]; NaN for a run on its own.
        measures: Every other measure by its name (`analysis.measures.glossary`).
        test_measures: Those of test images, a few at most; beside `test` in scores.json, and none without it.
    """

    state: RunState
    reason: str = ""
    scores: Scores = field(default_factory=Scores)
    test: Scores | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    optimized: float = math.nan
    measures: Mapping[str, Any] = field(default_factory=dict)
    test_measures: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a record from the content of scores.json.

        Raises:
            UserError: If it is not what `to_dict` returns: a state is unknown, a score is no number in [0, 1], or a
                measure is not of its kind (`introvae.runs.schema`).
        """
        state, reason = values.get("state"), values.get("reason") or ""
        ended = [known.value for known in RunState if known.ended]
        if state not in ended:
            raise UserError(f"state is {shown(state)}; known: {', '.join(ended)}")
        if not isinstance(reason, str):
            raise UserError(f"reason is {shown(reason)}; it takes a text")
        known, test, weights = _shares(values, (*SCORE_NAMES, "optimized")), _table(values, "test"), _weights(values)
        optimized = known.pop("optimized", math.nan)
        if weights and math.isnan(optimized):
            raise UserError("weights are given without optimized, the value that they gave; give both")
        return cls(
            state=RunState[state.upper()], reason=printable(reason), scores=Scores(**known),
            test=Scores(**_shares(test, SCORE_NAMES, "test.")) if test else None,
            weights=weights, optimized=optimized, measures=known_measures(_table(values, "measures"), "measures"),
            test_measures=known_measures(_table(test, "measures", "test."), "test.measures", "test_"),
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return the content of scores.json; what is not known is absent."""
        known = _known(asdict(self.scores) | {"optimized": self.optimized})
        test: dict[str, Any] = _known(asdict(self.test)) if self.test else {}
        if test and self.test_measures:
            test["measures"] = dict(self.test_measures)
        tables = {"test": test, "weights": dict(self.weights), "measures": dict(self.measures)}
        filled = {name: table for name, table in tables.items() if table}
        return {"state": self.state.value, "reason": self.reason} | known | filled


def _known(numbers: Mapping[str, float]) -> dict[str, Any]:
    return {name: value for name, value in numbers.items() if not math.isnan(value)}


def _table(values: Mapping[str, Any], name: str, place: str = "") -> dict[str, Any]:
    table = values.get(name, {})
    if not isinstance(table, dict):
        raise UserError(f"{place}{name} is {shown(table)}; it takes a table")
    return table


def _weights(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the weights of the parts in what a study maximized."""
    weights = _table(values, "weights")
    for part, weight in weights.items():
        if part not in PARTS or type(weight) not in (int, float) or not 0 < weight <= sys.float_info.max:
            raise UserError(f"weights has {shown({part: weight})}; it takes numbers above 0 for {', '.join(PARTS)}")
    return weights


def _shares(values: Mapping[str, Any], names: Sequence[str], place: str = "") -> dict[str, float]:
    """Return those numbers in [0, 1] that a table has, the score being one of them."""
    known = {name: values[name] for name in names if name in values}
    for name in ("score", *known):
        if not is_share(known.get(name)):
            raise UserError(f"{place}{name} is {shown(known.get(name))}; it takes a number from 0 to 1")
    return known


def write_record(folder: Path, record: RunRecord) -> None:
    """Write scores.json into a run folder."""
    write_atomically(folder / SCORES, (json.dumps(record.to_dict(), indent=1) + "\n").encode())


def read_record(folder: Path) -> RunRecord | None:
    """Read scores.json of a run folder; return None while the run has not ended.

    Raises:
        UserError: If the file cannot be read, or holds what no version of this package wrote.
    """
    path = folder / SCORES
    try:
        if not path.is_file() and path.exists():
            raise UserError("it is not a file")  # a pipe would be waited for
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise UserError("it holds no table")
        return RunRecord.from_dict(values)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise UserError(f"cannot read {path}: {reason}; restore or remove the file") from error


def best_run(study: Path) -> Path:
    """Return the complete run below `study` with the highest score, or with the best of what its study maximized.

    These are of validation images. Runs whose scores.json cannot be read are named on stderr, and passed over. Hidden
    folders and links to folders are no runs of the study, as in a report.

    Raises:
        UserError: If `study` holds no complete run.
    """
    complete: dict[Path, float] = {}
    for path in sorted(study.glob(f"[!.]*/{SCORES}")):
        if path.parent.is_symlink():
            continue
        try:
            record = read_record(path.parent)
        except UserError as error:
            print(f"warning: {error}", file=sys.stderr)
            continue
        if record and record.state is RunState.COMPLETE:
            complete[path.parent] = record.scores.score if math.isnan(record.optimized) else record.optimized
    if not complete:
        raise UserError(f"{study} holds no complete run; --best takes a folder of runs with {SCORES}")
    return max(complete, key=complete.__getitem__)
