"""The runs below a folder, read for the report: live, broken or foreign ones are named, and stop nothing.

A run whose files have the sizes and times of the last report is taken from the cache (`analysis.report.run_cache`).
"""

import io
import math
import os
import stat
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from analysis.report.run_cache import Entry, RunCache
from introvae.config import NUMBERS_AT_256, TrainConfig
from introvae.errors import UserError
from introvae.runs.curves import DRAWN
from introvae.runs.folder import CURVES, METRICS, PARAMS, read_config, read_metrics
from introvae.runs.pictures import GIF, last_picture, read_bands
from introvae.runs.record import RUNGS, SCORES, RunRecord, RunState, Scores, read_record
from introvae.training.schedule import value_at

FORMAT = 6  # of the cache's entries, increased when `_read` gives something else
CURVE_POINTS = 200
PICTURES = {"traversals": "images/traversals.png", "interpolations": "images/interpolations.png",
            "plane": "images/plane.png", "gif": f"images/{GIF}", "curves": CURVES}  # fmt: skip
ROW, TILE, QUALITY = 6, 64, 60  # samples in a row of a thumbnail, their pixels, and its WebP quality


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run folder.

    Attributes:
        name: Its path below the folder reported on.
        folder: Where it is.
        state: How it ended; running while it has not, and unreadable if a file cannot be read.
        reason: Why it ended early, how far a running one is, or what cannot be read.
        step: The last row of metrics.csv, 0 without one.
        config: Its settings; None if it is unreadable.
        scores: Its score and parts on validation images, by which runs are compared; NaN while it is running.
        test: The same on test images, for figures to quote; NaN for a run that has not reached its end.
        measures: Every other measure in its scores.json by name, those of test images as test_NAME.
        curves: The columns of metrics.csv, at most CURVE_POINTS rows; NaN where a cell is empty.
        thumbnail: Samples of the last picture as WebP, some 8 KB; empty without a picture.
        pictures: Paths of the pictures that exist, of "last" and PICTURES.
    """

    name: str
    folder: Path
    state: RunState
    reason: str
    step: int = 0
    config: TrainConfig | None = None
    scores: Scores = Scores()
    test: Scores = Scores()
    measures: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    thumbnail: bytes = b""
    pictures: Mapping[str, Path] = field(default_factory=dict)

    @cached_property
    def numbers(self) -> dict[str, float]:
        """The measures that are one number each, those by threshold as NAME_THRESHOLD."""
        return {name: value for name, value in _flat(self.measures) if isinstance(value, int | float)}

    @cached_property
    def lists(self) -> dict[str, list[float]]:
        """The measures that are lists of numbers, named in the same way."""
        return {name: value for name, value in _flat(self.measures) if isinstance(value, list) and name != RUNGS}

    @cached_property
    def parameters(self) -> dict[str, float]:
        """Final alpha and beta, and m where it counts: not in a plain VAE or a Soft-IntroVAE. Empty if unreadable."""
        if self.config is None:
            return {}
        alpha, beta = (value_at(schedule, self.config.steps) for schedule in (self.config.alpha, self.config.beta))
        margin = {"m": self.config.m} if alpha and self.config.objective == "intro" else {}
        return {"alpha": alpha, "beta": beta} | margin

    @property
    def shown_score(self) -> str:
        """The score on validation images, and on test images with its standard error, as text; "" without a score."""
        shown = [f"validation {self.scores.score:.3f}"] if math.isfinite(self.scores.score) else []
        shown += [f"test {with_error(self.test)}"] if math.isfinite(self.test.score) else []
        return ", ".join(shown)

    @property
    def beta_256(self) -> float | None:
        """The beta for 256x256x3 numbers that corresponds to the run's; None if the run is unreadable."""
        if self.config is None:
            return None
        return self.parameters["beta"] * self.config.channels * self.config.image_size**2 / NUMBERS_AT_256

    @property
    def margin_ratio(self) -> float | None:
        """m over the KL that a VAE reaches at the run's beta, as its warm-up has measured; None where none has."""
        warm = self.config is not None and self.config.warmup_steps  # earlier versions kept a prediction without
        return self._margin_over("vae_kl") if warm else None

    @property
    def predicted_margin_ratio(self) -> float | None:
        """m over the KL that is predicted of a VAE at the run's beta; None where it is measured, or neither is."""
        return self._margin_over("predicted_kl") if self.margin_ratio is None else None

    def _margin_over(self, name: str) -> float | None:
        m, kl = self.parameters.get("m"), self.numbers.get(name)
        ratio = m / kl if m is not None and kl else math.inf
        return ratio if math.isfinite(ratio) else None


def with_error(scores: Scores) -> str:
    """Return a score with its standard error, if that is known, as text."""
    return f"{scores.score:.3f}" + (f" ± {scores.stderr:.3f}" if math.isfinite(scores.stderr) else "")


def read_runs(root: Path | str) -> list[Run]:
    """Read all runs at or below a folder.

    Args:
        root: The folder. A folder below it is taken for a run if it holds a params.toml, metrics.csv or scores.json,
            or cannot be listed. Folders whose names begin with a dot, and links to folders, are skipped.

    Returns:
        The runs, sorted by name.

    Raises:
        UserError: If there is no such folder, or no run in it.

    Examples:
        >>> from analysis import read_runs
        >>> for run in read_runs("predictions"):
        ...     print(run.name, run.state, run.scores.score, run.parameters)  # doctest: +ELLIPSIS
        beta-comparison/trial-000 collapsed ...
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"there is no folder {root}")
    cache = RunCache(root)
    runs = [run for folder, refusal in sorted(_walk(root)) if (run := _read_or_refuse(folder, root, refusal, cache))]
    if not runs:
        raise UserError(f"there is no run below {root}; introvae-train or introvae-sweep makes some")
    cache.save()
    return runs


def thumbnail(picture: Path) -> bytes:
    """Return the samples of a picture by `write_picture`, which tell runs apart, as a small WebP of two rows."""
    band = read_bands(picture)["samples"]
    side = len(band)
    count = band.shape[1] // side
    columns = min(ROW, count)
    rows = min(2, count // columns)
    tiles = Image.fromarray(np.concatenate(np.split(band[:, : rows * columns * side], rows, axis=1)))
    buffer = io.BytesIO()
    small = tiles.resize((columns * TILE, rows * TILE), Image.Resampling.BOX)
    small.save(buffer, "WEBP", quality=QUALITY, method=0)  # the default of 4 takes four times as long for a fifth less
    return buffer.getvalue()


def _walk(root: Path) -> Iterator[tuple[Path, str]]:
    """Find folders that look like runs, and those that cannot be listed with the reason."""
    refused: list[OSError] = []
    for folder, subfolders, files in os.walk(root, onerror=refused.append):
        if not {PARAMS, METRICS, SCORES}.isdisjoint([*subfolders, *files]):
            yield Path(folder), ""
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
    for error in refused:
        if not isinstance(error, FileNotFoundError):
            yield Path(error.filename), f"cannot list the folder: {error.strerror}"


def _read_or_refuse(folder: Path, root: Path, refusal: str, cache: RunCache) -> Run | None:
    """Read a run; return None if its folder has vanished."""
    name = _utf8(str(folder.relative_to(root)) if folder != root else folder.resolve().name)
    try:
        if refusal:
            raise UserError(refusal)
        return _read_run(folder, name, cache)
    except Exception as error:  # what files of unknown content may raise has no bounds
        if isinstance(error, MemoryError):
            raise
        if _is_gone(folder):
            return None
        return Run(name=name, folder=folder, state=RunState.UNREADABLE, reason=_utf8(_say(error)))


def _is_gone(folder: Path) -> bool:
    try:
        folder.stat()
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    return False


def _read_run(folder: Path, name: str, cache: RunCache) -> Run:
    """Read a run, from the cache if its files have not changed; what cannot be read is not cached."""
    pictures = {kind: folder / path for kind, path in PICTURES.items() if (folder / path).is_file()}
    last = last_picture(folder)
    stamp = _stamp([*(folder / file for file in (PARAMS, METRICS, SCORES)), *([last] if last else [])])
    entry = cache.get(name, stamp)
    if entry is None:
        entry = Entry(stamp, _read(folder), b"")
        if last:
            try:
                entry = replace(entry, thumbnail=thumbnail(last))
            except Exception as error:  # what Pillow may raise has no bounds either
                entry.values["reason"] = _utf8(f"cannot read {last}: {_say(error)}")
                return _run(name, folder, entry, pictures)
        cache.put(name, entry)
    return _run(name, folder, entry, pictures | ({"last": last} if last else {}))


def _run(name: str, folder: Path, entry: Entry, pictures: Mapping[str, Path]) -> Run:
    """Build a run from a cache entry; arrays take a quarter of the memory of lists."""
    values = entry.values
    record = RunRecord.from_dict(values["record"]) if values["record"] else None
    return Run(
        name=name,
        folder=folder,
        state=record.state if record else RunState.RUNNING,
        reason=values["reason"],
        step=values["step"],
        config=TrainConfig.from_dict(values["config"]),
        scores=record.scores if record else Scores(),
        test=(record.test if record else None) or Scores(),
        measures=_measures(record) if record else {},
        curves={column: array("d", points) for column, points in values["curves"].items()},
        thumbnail=entry.thumbnail,
        pictures=pictures,
    )


def _measures(record: RunRecord) -> dict[str, Any]:
    return {**record.measures, **{f"test_{name}": value for name, value in record.test_measures.items()}}


def _stamp(files: Sequence[Path]) -> str:
    """Return a text that changes when one of the files does; raise UserError for what blocks a reader, as a pipe."""
    stamps: list[Any] = [FORMAT]
    for path in files:
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{path} is not a file")
        stamps.append((path.name, found.st_size, found.st_mtime_ns))
    return repr(stamps)


def _read(folder: Path) -> dict[str, Any]:
    """Read the plain values that the cache holds of a run; raise an exception if a file is none of this package's."""
    config, record, rows = read_config(folder), read_record(folder), read_metrics(folder, CURVE_POINTS, DRAWN)
    step = int(rows[-1]["step"]) if rows else 0
    reason = record.reason if record else f"step {step} of {config.steps}"
    curves = {column: [row[column] for row in rows] for column in (rows[0] if rows else ())}
    return {"reason": _utf8(reason), "step": step, "config": config.to_dict(),
            "record": record.to_dict() if record else None, "curves": curves}  # fmt: skip


def _flat(measures: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in measures.items():
        if isinstance(value, dict):
            yield from ((f"{name}_{key}", inner) for key, inner in value.items())
        else:
            yield name, value


def _say(error: Exception) -> str:
    return str(error) if isinstance(error, UserError | OSError) else f"{type(error).__name__}: {error}"


def _utf8(text: str) -> str:
    """Replace by "?" what stands for bytes that are no UTF-8, as in the name of a file."""
    return text.encode(errors="replace").decode()
