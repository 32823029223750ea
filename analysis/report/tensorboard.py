"""Runs as TensorBoard shows them: the columns of metrics.csv, the pictures, and each run's settings and score."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from analysis.report.runs import Run
from introvae.errors import UserError
from introvae.runs.folder import read_metrics
from introvae.runs.pictures import pictures

SUFFIX = ".introvae"  # of the files of ours


def write_tensorboard(runs: Sequence[Run], folder: Path) -> None:
    """Write a run of TensorBoard for each run, in place of what an earlier call has written.

    A run whose files cannot be read is named on stderr, and passed over.

    Raises:
        UserError: If TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # an extra
        from torch.utils.tensorboard.summary import hparams
    except ImportError as error:
        raise UserError("--tensorboard needs a package that is missing; pip install 'introvae[tensorboard]'") from error
    for run in runs:
        try:
            _write(run, folder / run.name, SummaryWriter, hparams)
        except Exception as error:  # a log or picture of others' making
            print(f"skipped {run.name} for TensorBoard: {error}", file=sys.stderr)


def _write(run: Run, place: Path, writer_of: Any, hparams: Any) -> None:
    for old in place.glob(f"events.out.tfevents.*{SUFFIX}"):
        old.unlink()
    with writer_of(str(place), filename_suffix=SUFFIX) as writer:
        for row in read_metrics(run.folder) if run.curves else ():
            for name, value in row.items():
                if name != "step" and math.isfinite(value) and math.isfinite(row["step"]):
                    writer.add_scalar(name, value, int(row["step"]))
        for path in pictures(run.folder):
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB"))
            writer.add_image("pictures", pixels, int(path.stem.removeprefix("step-")), dataformats="HWC")
        scores = {"score": run.scores.score, "test": run.test.score}
        metrics = {f"score/{name}": value for name, value in scores.items() if math.isfinite(value)}
        for summary in hparams({**run.parameters, "state": run.state.value}, metrics):
            writer.file_writer.add_summary(summary)  # in the run itself; add_hparams would make another
        for name, value in metrics.items():
            writer.add_scalar(name, value, run.step)
