"""Kill introvae-sweep with SIGKILL again and again, and continue it.

The moments are drawn at random among the lines of the sweep, the trainer and Optuna's storage that a process runs.
"""

import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import matplotlib.backends.backend_agg  # noqa: F401  imported here once, not in every process
import optuna.storages._rdb.storage as optuna_storage
import seaborn  # noqa: F401
import torch._dynamo  # noqa: F401
from forks import ended, forked

import analysis.report.write  # noqa: F401
from introvae import files
from introvae.runs import folder
from introvae.training import trainer
from sweeps import driver, plan, study
from sweeps.cli import main
from sweeps.tasks import fence, task

SWEEP = {module.__file__ for module in (driver, fence, plan, study, task, optuna_storage)}
FILES = (  # every second moment is one of the sweep's own
    SWEEP | {files.__file__, folder.__file__, trainer.__file__},
    SWEEP,
)


def lines(files: set[str | None], last: int) -> Callable[[FrameType, str, Any], Any]:
    """Return a trace function that ends the process at the `last` line of the files."""
    seen = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal seen
        if event == "line":
            seen += 1
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace if frame.f_code.co_filename in files else None

    return trace


def sweep(flags: list[str], out: Path, kind: int, last: int) -> int:
    def traced() -> int:
        sys.settrace(lines(FILES[kind], last) if last else None)
        return main([*flags, "--out", str(out)])

    return ended(forked(traced))


def kill_and_continue(root: Path, kills: int, flags: list[str]) -> None:
    """Continue the study in root/0 with the same command until it is done, then that in root/1, until `kills` kills.

    The last study is continued to its end.
    """
    draws = random.Random(0)
    number, killed = 0, 0
    while killed < kills:
        code = sweep(flags, root / str(number), killed % 2, int(10 ** draws.uniform(2, 4)))
        killed += code == -signal.SIGKILL
        number += code == 0
        assert code in (0, -signal.SIGKILL)
    assert sweep(flags, root / str(number), 0, 0) == 0
