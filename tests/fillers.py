"""Workers that fill a study's slots with trials that only count, with a checkpoint at each step."""

import os
import signal
import time
from pathlib import Path

import optuna
from forks import ended, forked
from optuna.trial import TrialState

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


def fill_and_kill(folder: Path, url: str, workers: int, total: int, kills: int, steps: int) -> None:
    """As many processes fill the study together; `kills` of them are killed, each in the midst of a trial."""
    pids = [forked(lambda: fill(folder, url, total, steps)) for _ in range(workers)]
    study = open_study(folder, {}, url=url)
    killed: set[int] = set()
    while len(killed) < kills:
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            pid = trial.user_attrs.get("pid")
            if pid and 2 in trial.intermediate_values and pid not in killed and len(killed) < kills:
                os.kill(pid, signal.SIGSTOP)
                in_the_midst = int((folder / f"trial-{trial.user_attrs['slot']:03d}" / "step").read_text()) < steps
                os.kill(pid, signal.SIGKILL if in_the_midst else signal.SIGCONT)
                killed |= {pid} if in_the_midst else set()
    codes = [ended(pid) for pid in pids]
    assert sorted(codes) == [-signal.SIGKILL] * kills + [0] * (workers - kills)
