"""A run folder: settings, log and checkpoints. Every write is atomic, and no read can run code.

params.toml             [config] the settings, [machine] where they ran
metrics.csv             a row every log_every steps
checkpoint.pt           the last good state; checkpoint.previous.pt the one before; *.broken could not be used
images/step-NNNNNN.png  originals, reconstructions, samples, at native size (`introvae.runs.pictures`)
images/training.gif     the pictures one after another  } once the run has ended,
curves.png              metrics.csv drawn                } but not for a pruned trial
scores.json             the run's record, once it has ended (`introvae.runs.record`)
"""

import csv
import io
import math
import sys
import textwrap
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from introvae.config import TrainConfig, differences, dump_toml, load_toml
from introvae.errors import UserError, is_out_of_memory
from introvae.files import sync, write_atomically, write_part
from introvae.runs.schema import is_step

PARAMS, METRICS, CURVES = "params.toml", "metrics.csv", "curves.png"
CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
LONGEST_ROW = 2048  # bytes of a row of metrics.csv, and of one after it that is not whole


def write_params(folder: Path, config: TrainConfig, machine: Mapping[str, Any]) -> None:
    """Write params.toml, unless the folder holds it already.

    Raises:
        UserError: If the folder holds a run with another configuration, with the differences.
    """
    path = folder / PARAMS
    if path.exists():
        check_config(folder, config)
    else:
        write_atomically(path, dump_toml({"config": config.to_dict(), "machine": machine}).encode())


def check_config(folder: Path, config: TrainConfig) -> None:
    """Refuse a run with another configuration.

    Raises:
        UserError: If it is another, with the differences.
    """
    if found := differences(read_config(folder).to_dict(), config.to_dict()):
        raise UserError(f"{folder} holds another run ({'; '.join(found)}); choose another --out")


def read_config(folder: Path) -> TrainConfig:
    """Read a run's settings from its params.toml.

    Raises:
        UserError: If the folder is no run, or the file is broken or holds a bad value.
    """
    if not (folder / PARAMS).exists():
        runs = sorted(folder.glob(f"*/{PARAMS}"))
        if runs:
            raise UserError(f"{folder} is a folder of runs; name one, such as {runs[0].parent}, or give --best")
        raise UserError(f"{folder} is no run: it has no {PARAMS}" if folder.is_dir() else f"there is no run {folder}")
    values = load_toml(folder / PARAMS).get("config")
    if not isinstance(values, dict):
        raise UserError(f"{folder / PARAMS} has no table [config]")
    return TrainConfig.from_dict(values)


def read_machine(folder: Path) -> dict[str, Any]:
    """Read where a run was trained, and on how many images; empty if that is not known.

    Raises:
        UserError: If the file is missing or broken.
    """
    values = load_toml(folder / PARAMS).get("machine")
    return values if isinstance(values, dict) else {}


def read_white(folder: Path) -> int:
    """Read the whole number that was white in a run's images of more than 8 bits; 0 if that is not known."""
    white = read_machine(folder).get("white")
    return white if isinstance(white, int) and white > 0 else 0


def check_images(folder: Path, facts: Mapping[str, int | str]) -> None:
    """Refuse a run whose images are not those with which it began: those held out now might have been trained on then.

    Args:
        folder: The run folder.
        facts: What is found now, `ImageSet.facts`. What the run does not record is not compared.

    Raises:
        UserError: If one is another, with both.
    """
    recorded = {name: count for name, count in read_machine(folder).items() if name in facts}
    if found := differences(recorded, {name: facts[name] for name in recorded}):
        raise UserError(f"{folder} was trained with other images ({'; '.join(found)}); restore them, or train it again")


def save_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Write checkpoint.pt, from tensors and plain values only; the one before becomes checkpoint.previous.pt."""
    import torch

    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    part = write_part(folder / CHECKPOINT, buffer.getbuffer())
    if (folder / CHECKPOINT).exists():
        (folder / CHECKPOINT).replace(folder / PREVIOUS)
    part.replace(folder / CHECKPOINT)
    sync(folder)


def load_checkpoint(folder: Path, restore: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any] | None:
    """Load the newest checkpoint that `restore` accepts, with tensors on the CPU; return None if there is none at all.

    `restore` raises an exception for a state that does not fit. A checkpoint that is passed over for the one before is
    named on stderr and renamed to NAME.broken, so that it never replaces the good one.

    Raises:
        UserError: If there are checkpoints and none can be used.
    """
    broken: dict[str, str] = {}
    for name in (CHECKPOINT, PREVIOUS):
        try:
            state = _read_checkpoint(folder / name)
            if restore:
                restore(state)
        except FileNotFoundError:
            continue
        except Exception as error:  # what a file of unknown content may raise has no bounds
            if is_out_of_memory(error):
                raise
            broken[name] = _reason(error)
            continue
        for bad, reason in broken.items():
            (folder / bad).replace(folder / f"{bad}.broken")
            print(
                f"warning: {folder / bad} cannot be used ({reason}); continuing from step {state['step']} in {name}",
                file=sys.stderr,
            )
        return state
    if broken:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in broken.items())
        remedy = "restore one, or remove the folder to start over"
        raise UserError(f"no checkpoint in {folder} can be read ({reasons}); {remedy}")
    return None


def _read_checkpoint(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as file:
        if file.testzip():  # torch.load does not look at the checksums
            raise ValueError("its checksum is wrong")
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or type(state.get("step")) is not int:
        raise ValueError("it holds no training state")
    return state


def _reason(error: Exception) -> str:
    if isinstance(error, zipfile.BadZipFile):
        return "it is cut off, or no checkpoint"
    if isinstance(error, UnpicklingError):
        return "it holds more than tensors and plain values"
    return textwrap.shorten(f"{type(error).__name__}: {error}", 160)


def read_metrics(folder: Path, most: int | None = None, columns: Sequence[str] = ("step",)) -> list[dict[str, float]]:
    """Read the rows of metrics.csv, at most `most` (2 or more) evenly spaced ones with the first and the last.

    An empty cell is NaN, and a last line that was cut off is left out.

    Raises:
        UserError: If the file is no table of numbers with these columns, names one twice, or has an odd step.
    """
    path = folder / METRICS
    if not path.exists():
        return []
    try:
        if not path.is_file():
            raise ValueError("it is not a file")  # a pipe would be waited for
        text = path.read_text(encoding="utf-8")
        if "\n" not in text:
            raise ValueError("it is empty, or cut off in its first line")
        header, *lines = csv.reader(text[: text.rfind("\n") + 1].splitlines())
        if missing := [name for name in columns if name not in header]:
            raise ValueError(f"it has no column {missing[0]}")
        if twice := [name for name in header if header.count(name) > 1]:
            raise ValueError(f"it has two columns {twice[0]}")
        if most and len(lines) > most:
            lines = [lines[index * (len(lines) - 1) // (most - 1)] for index in range(most)]
        rows = [
            {name: float(cell) if cell else math.nan for name, cell in zip(header, line, strict=True)} for line in lines
        ]
        if odd := [row["step"] for row in rows if not is_step(row["step"])]:
            raise ValueError(f"step is {odd[0]}")
        return rows
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}; restore it, or remove {folder} to start over") from error


def last_row(folder: Path) -> dict[str, float] | None:
    """Read the last whole row of a metrics.csv that may be growing; None where there is none yet."""
    try:
        with (folder / METRICS).open("rb") as file:
            names = file.readline().decode().strip().split(",")
            file.seek(max(file.tell(), file.seek(0, io.SEEK_END) - LONGEST_ROW))
            cells = file.read().decode().split("\n")[-2].split(",")
        return {name: float(cell) if cell else math.nan for name, cell in zip(names, cells, strict=True)}
    except (FileNotFoundError, IndexError, ValueError):
        return None


def checkpoint_time(folder: Path) -> int:
    """Return when checkpoint.pt was written, in nanoseconds; 0 where there is none yet."""
    try:
        return (folder / CHECKPOINT).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def log_stamp(folder: Path) -> tuple[int, float] | None:
    """Return size and time of a metrics.csv, which tell whether it has grown; None where there is none yet."""
    try:
        status = (folder / METRICS).stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime


class MetricsLog:
    """The log metrics.csv, begun with the rows that are `kept`, without those of steps that a resumed run repeats."""

    def __init__(self, folder: Path, columns: tuple[str, ...], kept: Sequence[Mapping[str, float]]) -> None:
        self.path = folder / METRICS
        self.columns = columns
        lines = [",".join(columns), *(self._line(row) for row in kept)]
        write_atomically(self.path, ("\n".join(lines) + "\n").encode())

    def append(self, row: Mapping[str, float]) -> None:
        """Add a row.

        Raises:
            OSError: If it cannot be written; the error names the file.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(self._line(row) + "\n")
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def sync(self) -> None:
        """Flush the rows to disk, so that they outlive a power cut as a checkpoint does."""
        sync(self.path)

    def _line(self, row: Mapping[str, float]) -> str:
        """Format a row; nine digits give back a float32 exactly, and every step."""
        return ",".join("" if math.isnan(row[name]) else f"{row[name]:.9g}" for name in self.columns)
