"""Workers that fill a study's slots with trials that only count and write a checkpoint at each step."""

import os
import signal
import sys
import time
from collections.abc import Container
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import optuna
from forks import ended, forked
from optuna.trial import FrozenTrial, TrialState

from introvae.files import write_atomically
from sweeps.config import StudyConfig
from sweeps.pool import Supervisor, work
from sweeps.study import open_study
from sweeps.workers import slots
from sweeps.workers.slots import DRAWN, OWNER, CutOff, Filler, Stop, given_up
from sweeps.workers.watch import Show

STEP = 0.02  # seconds


def count(
    folder: Path, steps: int, trial: optuna.Trial, slot: int, reported: dict[int, float], stop: Stop = lambda: False
) -> float:
    """Count to `steps` and score x; half of the trials are pruned at their end."""
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


@dataclass
class Counting:
    """Job of a worker: `trials` that count to `steps`; a slot among `faults` fails as named there."""

    folder: Path
    trials: int
    steps: int = 5
    faults: dict[int, str] = field(default_factory=dict)
    starts: bool = True
    config: StudyConfig = StudyConfig()

    def of_worker(self, index: int, show: Show) -> "Counting":
        if not self.starts:
            os.kill(os.getpid(), signal.SIGKILL)
        slots.LOOK_EVERY = 0.1
        return self

    def on_trial(self, trial: FrozenTrial, trials: list[FrozenTrial]) -> None:
        pass

    def filler(self, stop: Stop) -> Filler:
        return Filler(open_study(self.folder, {}), self.trials, self.run_folder, partial(self.run, stop), stop)

    def run_folder(self, slot: int) -> Path:
        return self.folder / f"trial-{slot:03d}"

    def run(self, stop: Stop, trial: optuna.Trial, slot: int, reported: dict[int, float]) -> float:
        if reason := given_up(trial.study, slot):
            trial.set_user_attr("outcome", reason)
            raise optuna.TrialPruned
        fault = self.faults.get(slot)
        if fault == "hangs":
            time.sleep(600)
        if fault == "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        if fault == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "CUDA":
            raise RuntimeError("CUDA error: device-side assert triggered")
        if fault == "complains":
            print("the database does not answer", file=sys.stderr)
        if fault == "no space":
            raise OSError(28, "No space left on device", "metrics.csv")
        return count(self.folder, self.steps, trial, slot, reported, stop)


def supervisor(job: Counting, stop: Stop = lambda: False, timeout: float | None = None) -> Supervisor:
    return Supervisor(partial(work, job), open_study(job.folder, {}), stop, timeout)  # type: ignore[arg-type]


def supervise(job: Counting, workers: int) -> None:
    supervisor(job).supervise(workers)


def fill(folder: Path, url: str, total: int, steps: int) -> None:
    study = open_study(folder, {}, url=url)
    one_machine = url.startswith("sqlite")
    Filler(
        study, total, lambda slot: folder / f"trial-{slot:03d}",
        lambda trial, slot, reported: count(folder, steps, trial, slot, reported), one_machine=one_machine,
    ).fill(lambda trial, trials: None)  # fmt: skip


def fill_and_kill(folder: Path, url: str, workers: int, total: int, kills: int, steps: int) -> None:
    """Fill the study with `workers` processes at once; `kills` of them are killed, each amid a trial."""
    pids = [forked(lambda: fill(folder, url, total, steps)) for _ in range(workers)]
    study = open_study(folder, {}, url=url)
    killed: set[int] = set()
    while len(killed) < kills:
        killed.add(kill_amid_a_trial(study, folder, steps, killed))
    codes = [ended(pid) for pid in pids]
    assert sorted(codes) == [-signal.SIGKILL] * kills + [0] * (workers - kills)


def kill_amid_a_trial(study: optuna.Study, folder: Path, steps: int, spared: Container[int] = ()) -> int:
    """Kill a process between the second step of a trial and its last, and return its id.

    The process is stopped first, to be sure of where it is.
    """
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            pid = trial.user_attrs.get(OWNER, {}).get("pid")
            if pid and 2 in trial.intermediate_values and pid not in spared:
                os.kill(pid, signal.SIGSTOP)
                amid = int((folder / f"trial-{trial.user_attrs['slot']:03d}" / "step").read_text()) < steps
                os.kill(pid, signal.SIGKILL if amid else signal.SIGCONT)
                if amid:
                    return pid
    raise AssertionError("no trial was met amid its steps")
