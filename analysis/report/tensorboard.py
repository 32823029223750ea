"""Runs as TensorBoard shows them: the columns of metrics.csv, the pictures, and each run's settings and score."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from analysis.report.runs import Run
from introvae.errors import UserError
from introvae.runs.folder import read_metrics
from introvae.runs.pictures import pictures, step_of

SUFFIX = ".introvae"  # of the files of ours


def write_tensorboard(runs: Sequence[Run], folder: Path) -> None:
    """Write a run of TensorBoard for each run, in place of what an earlier call has written.

    A run whose files cannot be read is named on stderr, and passed over.

    Raises:
        UserError: If TensorBoard is not installed.
        OSError: If the folder cannot be written.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # an extra
        from torch.utils.tensorboard.summary import hparams
    except ImportError as error:
        raise UserError("--tensorboard needs a package that is missing; pip install 'introvae[tensorboard]'") from error
    for run in runs:
        try:
            rows = read_metrics(run.folder) if run.curves else []
            shown = {step_of(path): _pixels(path) for path in pictures(run.folder)}
        except Exception as error:  # Pillow raises errors of a dozen types at malformed files
            print(f"skipped {run.name} for TensorBoard: {error}", file=sys.stderr)
            continue
        for old in (folder / run.name).glob(f"events.out.tfevents.*{SUFFIX}"):
            old.unlink()
        scores = {"score/validation": run.scores.score, "score/test": run.test.score}
        metrics = {name: value for name, value in scores.items() if math.isfinite(value)}
        with SummaryWriter(str(folder / run.name), filename_suffix=SUFFIX) as writer:
            for row in rows:
                step = row.pop("step")
                for name in [name for name, value in row.items() if math.isfinite(value) and math.isfinite(step)]:
                    writer.add_scalar(name, row[name], int(step))
            for at, pixels in shown.items():
                writer.add_image("pictures", pixels, at, dataformats="HWC")
            for summary in hparams({**run.parameters, "state": run.state.value}, metrics):
                writer.file_writer.add_summary(summary)  # in the run itself; add_hparams would make another
            for name, value in metrics.items():
                writer.add_scalar(name, value, run.step)


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
