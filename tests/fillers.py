"""Workers that fill a study's slots with trials that only count: a script for test_workers.py and test_storage.py.

    python fillers.py FOLDER URL WORKERS TOTAL KILLS STEPS

Each worker is a process of its own, forked from this one, which has done the slow imports. KILLS of them are killed
with SIGKILL, each in the midst of a trial. A trial counts to STEPS with a checkpoint at each.
"""

import os
import signal
import sys
import time
from pathlib import Path

import optuna

from introvae.run import write_atomically
from sweeps.slots import DRAWN, CutOff, Filler, Stop
from sweeps.study import open_study

STEP = 0.02  # seconds


def count(
    folder: Path, steps: int, trial: optuna.Trial, slot: int, reported: dict[int, float], stop: Stop = lambda: False
) -> float:
    """Score x, rising over the steps; half of the trials are pruned at their end."""
    x = trial.suggest_float("x", 0, 1)
    trial.set_user_attr(DRAWN, x)
    checkpoint = folder / f"trial-{slot:03d}" / "step"
    first = int(checkpoint.read_text()) if checkpoint.exists() else 0
    trial.set_user_attr("first_step", first)
    for step in reported:
        trial.report(reported[step], step)
    for step in range(first + 1, steps + 1):
        time.sleep(STEP)
        write_atomically(checkpoint, str(step).encode())
        if stop():
            raise CutOff
        if step == 2:
            trial.report(x / 2, step)
    trial.report(x, steps)
    if slot % 2:
        raise optuna.TrialPruned
    return x


def fill(folder: Path, url: str, total: int, steps: int) -> None:
    study = open_study(folder, {}, url=url)
    one_machine = url.startswith("sqlite")
    Filler(
        study, total, lambda slot: folder / f"trial-{slot:03d}",
        lambda trial, slot, reported: count(folder, steps, trial, slot, reported), one_machine=one_machine,
    ).fill(lambda study, trial: None)  # fmt: skip


def main(folder: Path, url: str, workers: int, total: int, kills: int, steps: int) -> int:
    pids = []
    for _ in range(workers):
        pids.append(os.fork())
        if not pids[-1]:
            fill(folder, url, total, steps)
            os._exit(0)
    study = open_study(folder, {}, url=url)
    killed: set[int] = set()
    while len(killed) < kills:
        for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
            pid = trial.user_attrs.get("pid")
            if pid and pid not in killed and len(killed) < kills and 2 in trial.intermediate_values:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
                break
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    return 0 if sorted(codes) == [-signal.SIGKILL] * kills + [0] * (workers - kills) else 1


if __name__ == "__main__":
    path, url, *numbers = sys.argv[1:]
    sys.exit(main(Path(path), url, *map(int, numbers)))
