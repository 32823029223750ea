"""Runs as TensorBoard shows them: the columns of metrics.csv, the pictures, and each run's settings and score."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from analysis.report.runs import Run
from introvae.errors import UserError
from introvae.runs.folder import read_metrics
from introvae.runs.pictures import pictures

EVENTS = "events.out.tfevents.*"


def write_tensorboard(runs: Sequence[Run], folder: Path) -> None:
    """Write a run of TensorBoard for each run, in place of those that an earlier call has written.

    Raises:
        UserError: If TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # an extra
        from torch.utils.tensorboard.summary import hparams
    except ImportError as error:
        raise UserError("--tensorboard needs a package that is missing; pip install 'introvae[tensorboard]'") from error
    for run in runs:
        place = folder / run.name
        for old in place.glob(EVENTS):
            old.unlink()
        with SummaryWriter(str(place)) as writer:
            for row in read_metrics(run.folder) if run.curves else ():
                for name, value in row.items():
                    if name != "step" and math.isfinite(value):
                        writer.add_scalar(name, value, int(row["step"]))
            for path in pictures(run.folder):
                step = int(path.stem.removeprefix("step-"))
                with Image.open(path) as image:
                    writer.add_image("pictures", np.asarray(image.convert("RGB")), step, dataformats="HWC")
            scores = {"score": run.scores.score, "test": run.test.score}
            metrics = {f"score/{name}": value for name, value in scores.items() if math.isfinite(value)}
            for summary in hparams({**run.parameters, "state": run.state.value}, metrics):
                writer.file_writer.add_summary(summary)  # in the run itself; add_hparams would make another
            for name, value in metrics.items():
                writer.add_scalar(name, value, run.step)
