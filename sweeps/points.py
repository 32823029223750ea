"""Listed settings that begin a study, from a CSV file or by the name of a shipped one."""

import csv
import dataclasses
import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from introvae.config import NUMBERS_AT_256, load_toml
from introvae.errors import UserError
from introvae.runs.record import RunState

SHIPPED = Path(__file__).parent / "points"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One setting. Values that are None are drawn; a seed that is None follows from the trial's number.

    `beta_256` and `m_256` are for images of 256x256x3 numbers. At other sizes beta is scaled, which keeps the share of
    the large-scale structure, and `margin_ratio` takes the place of m. `seed` is that of the run and of its warm-up.

    Raises:
        UserError: If a value is out of range, or two of them say the same.
    """

    alpha: float | None = None
    beta: float | None = None
    beta_256: float | None = None
    m: float | None = None
    m_256: float | None = None
    margin_ratio: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value is None:
                continue
            if name == "seed" and not (0 <= value < 2**63 and value % 1 == 0):
                raise UserError(f"seed is {value}; allowed: a whole number of at most 63 bits, 0 or more")
            if not 0 <= value < math.inf:
                raise UserError(f"{name} is {value}; allowed: a finite number, 0 or more")
        for one, other in (("beta", "beta_256"), ("m", "margin_ratio"), ("m", "m_256")):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise UserError(f"{one} and {other} are both given; give one of them")
        if self.m_256 is not None and self.margin_ratio is None:
            raise UserError("m_256 is given without margin_ratio, which takes its place at other sizes; give both")

    def values(self, channels: int, image_size: int) -> dict[str, float]:
        """Return the given values, for images of this size."""
        given = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        scale = NUMBERS_AT_256 / (channels * image_size**2)
        if "beta_256" in given:
            given["beta"] = given.pop("beta_256") * scale
        m_256 = given.pop("m_256", None)
        if m_256 is not None and scale == 1:
            given["m"] = m_256
            del given["margin_ratio"]
        return given


def shipped_names() -> list[str]:
    """Return the names of the shipped lists of points."""
    return sorted(file.stem for file in SHIPPED.glob("*.csv"))


POINT_FIELDS = tuple(field.name for field in dataclasses.fields(Point))
SUMMARY = {"state", "alpha", "beta", "m", "m/KL"}  # columns of a report's summary.csv


def settings_of(name: str) -> dict[str, Any]:
    """Return the settings of the training that shipped points are meant for; none for the points of a file."""
    path = SHIPPED / f"{name}.toml"
    return load_toml(path) if path in SHIPPED.glob("*.toml") else {}


def read_points(name: str) -> tuple[Point, ...]:
    """Read a CSV file, or shipped points: a line of names among POINT_FIELDS, and a line for each point.

    An empty cell gives no value. A report's summary.csv gives alpha, beta, and m over a VAE's KL if that was measured.

    Raises:
        UserError: If there are no points or a line is none, with the file and the line.
    """
    path = SHIPPED / f"{name}.csv" if name in shipped_names() else Path(name)
    if not path.exists():
        names = ", ".join(shipped_names())
        raise UserError(f"there is no file {name}; --points takes a CSV file, a study's folder or one of {names}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True, skipinitialspace=True)
            reader.fieldnames = columns = [column.strip() for column in reader.fieldnames or ()]
            rows: Iterable[dict[str | Any, str | Any]] = reader
            if {*columns} >= SUMMARY:
                rows = _of_summary(reader)
            else:
                _check_columns(path, columns)
            points = tuple(_point(f"{path}, line {reader.line_num}", row) for row in rows)
    except UserError:
        raise
    except (OSError, ValueError, csv.Error) as error:  # bad UTF-8 is a ValueError
        raise UserError(f"cannot read {path}: {error}") from error
    if not points:
        raise UserError(f"{path} holds no point; it takes a line of names, then a line for each point")
    return points


def _of_summary(rows: Iterable[dict[str | Any, str | Any]]) -> Iterator[dict[str | Any, str | Any]]:
    """Yield the settings of a report's runs that have a score, each once, m by its ratio where that was measured."""
    seen = []
    for row in rows:
        ratio = row["m/KL"]
        point = {"alpha": row["alpha"], "beta": row["beta"], "m": "" if ratio else row["m"], "margin_ratio": ratio}
        if row["state"] in {state.value for state in RunState if state.ranked} and point not in seen:
            seen.append(point)
            yield point


def _check_columns(path: Path, columns: list[str]) -> None:
    for column in columns:
        if column not in POINT_FIELDS:
            near = difflib.get_close_matches(column, POINT_FIELDS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(POINT_FIELDS)}"
            raise UserError(f"{path} has a column {column!r}; {hint}")
    if len(set(columns)) < len(columns):
        raise UserError(f"{path} has a column twice: {', '.join(columns)}")


def _point(where: str, row: Mapping[str | None, str | list[str] | None]) -> Point:
    if None in row or None in row.values():
        raise UserError(f"{where} has not as many cells as the first line")
    cells = {str(name): str(cell).strip() for name, cell in row.items()}
    try:
        return Point(**{name: _number(name, cell) for name, cell in cells.items() if cell})
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _number(name: str, cell: str) -> Any:
    whole = name == "seed"
    try:
        return int(cell) if whole else float(cell)
    except ValueError:
        raise UserError(f"{name} is {cell!r}; it takes a {'whole ' if whole else ''}number") from None
