"""The runs below a folder, read for the report: what is live, broken or foreign is named and stops nothing.

A run whose files have the sizes and times of the last report is taken from its cache (`analysis.report.run_cache`).
"""

import io
import os
import stat
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from analysis.measures.glossary import PARTS
from analysis.report.run_cache import Entry, RunCache
from introvae.config import NUMBERS_AT_256, TrainConfig
from introvae.errors import UserError
from introvae.runs.folder import CURVES, METRICS, PARAMS, read_config, read_metrics
from introvae.runs.pictures import BANDS, GIF, last_picture, read_bands
from introvae.runs.record import SCORES, read_scores
from introvae.training.schedule import value_at

ENDED = ("complete", "pruned", "collapsed", "diverged", "failed")  # the states in scores.json
RUNNING, UNREADABLE = "running", "unreadable"
FORM = 1  # of what the cache holds, to be counted up when `_read` gives something else
CURVE_POINTS = 200
PICTURES = {"traversals": "images/traversals.png", "interpolations": "images/interpolations.png",
            "plane": "images/plane.png", "gif": f"images/{GIF}", "curves": CURVES}  # fmt: skip
TILES, TILE, QUALITY = 6, 64, 60  # columns of a thumbnail, their pixels, and of WebP


@dataclass(frozen=True)
class Run:
    """One run folder as plain values.

    `state` is complete, pruned, collapsed, diverged or failed as scores.json says, running while there is none, or
    unreadable; then `config`, `scores` and `curves` are empty, and `reason` says why.
    """

    name: str  # its path below the folder reported on
    folder: Path
    state: str
    reason: str  # why it ended early, how far a running one is, what cannot be read
    step: int  # of the last row of metrics.csv, 0 without one
    config: Mapping[str, Any]  # [config] of params.toml
    scores: Mapping[str, Any]  # scores.json, its score and parts checked: finite, in [0, 1]
    curves: Mapping[str, Sequence[float]]  # the columns of metrics.csv, CURVE_POINTS rows at most; NaN where empty
    thumbnail: bytes  # WebP of a few tiles of the last picture, some 8 KB; empty without a picture
    pictures: Mapping[str, Path]  # those that exist, of "last" and PICTURES

    @property
    def score(self) -> float | None:
        return self.scores.get("score")

    @property
    def measures(self) -> Mapping[str, Any]:
        return self.scores.get("measures", {})

    @cached_property
    def numbers(self) -> dict[str, float]:
        """The measures that are one number each, and those by threshold as NAME_THRESHOLD; some may be NaN."""
        return {name: value for name, value in _flat(self.measures) if _is_number(value)}

    @cached_property
    def lists(self) -> dict[str, list[float]]:
        """The measures that are lists of numbers, named in the same way."""
        lists = ((name, value) for name, value in _flat(self.measures) if isinstance(value, list))
        return {name: value for name, value in lists if all(map(_is_number, value))}

    @cached_property
    def parameters(self) -> dict[str, float]:
        """Final alpha and beta, and m where it counts: not in a plain VAE or a Soft-IntroVAE.

        Empty for a run whose settings cannot be read.
        """
        if not self.config:
            return {}
        config = TrainConfig.from_dict(self.config)
        alpha, beta = (value_at(schedule, config.steps) for schedule in (config.alpha, config.beta))
        margin = {"m": config.m} if alpha and config.objective == "intro" else {}
        return {"alpha": alpha, "beta": beta} | margin

    @property
    def beta_256(self) -> float | None:
        """The beta for 256x256x3 numbers that this one is for the run's images; None for a run without settings."""
        if not self.config:
            return None
        return self.parameters["beta"] * self.config["channels"] * self.config["image_size"] ** 2 / NUMBERS_AT_256

    @property
    def margin_ratio(self) -> float | None:
        """m over the KL that a VAE reaches at this beta; None for a run without m or without that KL."""
        m, vae_kl = self.parameters.get("m"), self.numbers.get("vae_kl")
        return m / vae_kl if m is not None and vae_kl else None


def read_runs(root: Path) -> list[Run]:
    """All runs at or below `root`, sorted by name; folders that begin with a dot and links are passed over.

    A folder is taken for a run if it holds a params.toml, metrics.csv or scores.json, or cannot be listed.
    Raises UserError if there is no such folder or no run in it.
    """
    if not root.is_dir():
        raise UserError(f"there is no folder {root}")
    cache = RunCache(root)
    runs = [run for folder, refusal in sorted(_walk(root)) if (run := _read_or_refuse(folder, root, refusal, cache))]
    if not runs:
        raise UserError(f"there is no run below {root}; introvae-train or introvae-sweep makes some")
    cache.save()
    return runs


def thumbnail(picture: Path) -> bytes:
    """The first tiles of each band of a picture written by `write_picture`, small, as WebP."""
    pixels = np.concatenate(list(read_bands(picture).values()))
    tile = len(pixels) // len(BANDS)
    columns = min(TILES, pixels.shape[1] // tile)
    tiles = Image.fromarray(pixels[:, : columns * tile])
    buffer = io.BytesIO()
    small = tiles.resize((columns * TILE, len(BANDS) * TILE), Image.Resampling.BOX)
    small.save(buffer, "WEBP", quality=QUALITY, method=0)  # the default of 4 takes four times as long for a fifth less
    return buffer.getvalue()


def _walk(root: Path) -> Iterator[tuple[Path, str]]:
    """Folders that look like runs, and those that cannot be listed with the reason; a vanished one is neither."""
    refused: list[OSError] = []
    for folder, subfolders, files in os.walk(root, onerror=refused.append):
        if not {PARAMS, METRICS, SCORES}.isdisjoint([*subfolders, *files]):
            yield Path(folder), ""
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
    for error in refused:
        if not isinstance(error, FileNotFoundError):
            yield Path(error.filename), f"cannot list the folder: {error.strerror}"


def _read_or_refuse(folder: Path, root: Path, refusal: str, cache: RunCache) -> Run | None:
    """None for a folder that is gone by now."""
    name = _utf8(str(folder.relative_to(root)) if folder != root else folder.resolve().name)
    try:
        if refusal:
            raise UserError(refusal)
        return _read_run(folder, name, cache)
    except Exception as error:  # what files of unknown content may raise has no bounds
        if isinstance(error, MemoryError):
            raise
        return None if _is_gone(folder) else Run(name, folder, UNREADABLE, _utf8(_say(error)), 0, {}, {}, {}, b"", {})


def _is_gone(folder: Path) -> bool:
    try:
        folder.stat()
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    return False


def _read_run(folder: Path, name: str, cache: RunCache) -> Run:
    """What cannot be read is not kept: permissions change, and no file tells."""
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
    """Arrays take a quarter of the memory of lists."""
    curves = {column: array("d", values) for column, values in entry.values["curves"].items()}
    return Run(name, folder, **entry.values | {"curves": curves}, thumbnail=entry.thumbnail, pictures=pictures)


def _stamp(files: Sequence[Path]) -> str:
    """What changes when one of the files does. Raises UserError for what would block a reader, such as a pipe."""
    stamps: list[Any] = [FORM]
    for path in files:
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{path} is no file")
        stamps.append((path.name, found.st_size, found.st_mtime_ns))
    return repr(stamps)


def _read(folder: Path) -> dict[str, Any]:
    """The fields of a Run that the cache holds. Raises an exception if a file is not what this version writes."""
    config, scores, rows = read_config(folder), read_scores(folder), read_metrics(folder, CURVE_POINTS)
    step = int(rows[-1]["step"]) if rows else 0
    state, reason = RUNNING, f"step {step} of {config.steps}"
    if scores is not None:
        _check(scores)
        state, reason = scores["state"], _utf8(str(scores.get("reason") or ""))
    curves = {column: [row[column] for row in rows] for column in (rows[0] if rows else ())}
    return {"state": state, "reason": reason, "step": step, "config": config.to_dict(), "scores": scores or {},
            "curves": curves}  # fmt: skip


def _check(scores: Mapping[str, Any]) -> None:
    state = scores.get("state")
    if state not in ENDED:
        raise UserError(f"state is {state!r} in {SCORES}; known: {', '.join(ENDED)}")
    for name in ("score", *(part for part in PARTS if part in scores)):
        value: Any = scores.get(name)
        if not _is_number(value) or not 0 <= value <= 1:
            raise UserError(f"{name} is {value!r} in {SCORES}; it takes a number from 0 to 1")
    if not isinstance(scores.get("measures", {}), dict):
        raise UserError(f"measures is {scores['measures']!r} in {SCORES}; it takes a table")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _flat(measures: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in measures.items():
        if isinstance(value, dict):
            yield from ((f"{name}_{key}", inner) for key, inner in value.items())
        else:
            yield name, value


def _say(error: Exception) -> str:
    return str(error) if isinstance(error, UserError | OSError) else f"{type(error).__name__}: {error}"


def _utf8(text: str) -> str:
    """The text with "?" for what stands for bytes that are none, such as in the name of a file."""
    return text.encode(errors="replace").decode()
