"""Slots 0..N-1 of a study and the trials that fill them, for any number of workers on any machines.

A slot is filled by exactly one finished trial. A trial that is no retry has the slot that the number of such trials
before it gives: trials are numbered by the database, one after another, so no counter and no lock is needed. A trial
that was cut off leaves its slot to a retry, which carries slot and parameters from its creation.
"""

import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from types import NoneType

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from introvae.errors import InUseError, StoppedError
from introvae.files import lock
from sweeps.search.pruning import FINISHED
from sweeps.workers.storage import causes

ALIVE = (TrialState.RUNNING, TrialState.WAITING)
RETRY = "retry_of"  # the attribute of a retry: the number of the trial before it
OWNER = "owner"  # the attribute of a trial in training: host and pid of its worker
DRAWN = "drawn"  # the attribute of a trial whose parameters are complete
LOOK_EVERY = 1.0  # seconds, while the remaining trials run elsewhere

Reported = dict[int, float]  # scores by step
Run = Callable[[optuna.Trial, int, Reported], float]
OnTrial = Callable[[FrozenTrial, list[FrozenTrial]], None]
Stop = Callable[[], bool]


class CutOff(Exception):
    """End of a trial that leaves its slot unfilled: it was asked to stop, or another trial fills the slot."""


# What Optuna raises for the result of a trial that has one already: it was taken for dead, or told twice because the
# database went away before it had answered; and how the trial itself may have ended then.
TOLD = (UpdateFinishedTrialError, ValueError, AssertionError)
ENDED = (NoneType, UpdateFinishedTrialError, optuna.TrialPruned, CutOff)


def by_slot(trials: list[FrozenTrial]) -> dict[int, list[FrozenTrial]]:
    """Sort all trials of a study, given in the order of their numbers, into slots, oldest first."""
    found: dict[int, list[FrozenTrial]] = {}
    fresh = 0
    for trial in trials:
        if RETRY in trial.user_attrs:
            found[trial.user_attrs["slot"]].append(trial)
        else:
            found[fresh] = [trial]
            fresh += 1
    return found


def finished_slots(trials: list[FrozenTrial]) -> set[int]:
    """Return the slots that finished trials fill, of all trials of a study in the order of their numbers."""
    return {slot for slot, tried in by_slot(trials).items() if any(t.state in FINISHED for t in tried)}


def missing_slots(study: optuna.Study, total: int) -> list[int]:
    """Return the slots among 0..total-1 that no finished trial fills."""
    filled = finished_slots(study.get_trials(deepcopy=False))
    return [slot for slot in range(total) if slot not in filled]


def give_up(study: optuna.Study, slot: int, reason: str) -> None:
    """Let the next trial of a slot that broke or hung its process end as failed, with the reason."""
    study.set_user_attr(f"slot {slot} failed", " ".join(reason.split())[:500])


def given_up(study: optuna.Study, slot: int) -> str | None:
    """Return why the slot was given up, or None."""
    return study.user_attrs.get(f"slot {slot} failed")


class Filler:
    """Worker that fills the slots 0..total-1 together with all others that do the same.

    `run` trains a trial in its slot, given the scores by step that earlier trials reported there, and raises CutOff if
    it is asked to stop. `folder(slot)` is the slot's run folder, locked meanwhile: if the lock is free, an owner on the
    same machine is dead. On another machine it counts as dead after `grace` seconds without a sign of life.
    """

    def __init__(
        self, study: optuna.Study, total: int, folder: Callable[[int], Path], run: Run,
        stop: Stop = lambda: False, one_machine: bool = True, grace: int = 300,
    ) -> None:  # fmt: skip
        self.study, self.total, self.folder, self.run, self.stop = study, total, folder, run, stop
        self.one_machine, self.grace = one_machine, timedelta(seconds=grace)
        self.claim, self.owned = ExitStack(), ExitStack()
        self.number = -1  # of the trial that was taken last
        self.error: Exception | None = None

    def fill(self, on_trial: OnTrial) -> None:
        """Fill slots until all are filled or `stop` says so.

        `on_trial` gets each trial that this call finished, and all trials of the study.
        """
        while self.take_one(on_trial):
            pass

    def take_one(self, on_trial: OnTrial) -> bool:
        """Fill one slot, or wait a moment if all that is left runs elsewhere; False if there is nothing to wait for.

        A slot is taken under a lock of this machine, so that nobody takes a trial whose owner is about to lock its
        folder for one whose owner is dead.
        """
        with ExitStack() as self.claim, ExitStack() as self.owned:
            self.claim.enter_context(patient_lock(self.folder(0).parent / ".claim", self.stop))
            if self.stop():
                return False
            trials = self._without_dead()
            if finished_slots(trials).issuperset(range(self.total)):
                return False
            waiting = any(trial.state == TrialState.WAITING for trial in trials)
            found = by_slot(trials)
            if not self._enqueue_cut_off(found) and not waiting and len(found) >= self.total:
                self.claim.close()
                time.sleep(LOOK_EVERY)
                return True
            self.number, self.error = -1, None
            try:
                self.study.optimize(self._objective, n_trials=1, catch=(CutOff,))
            except Exception as error:
                if gone := next((e for e in causes(error) if isinstance(e, StoppedError)), None):
                    raise gone from None  # what Optuna raises then has no name
                if not (isinstance(error, TOLD) and isinstance(self.error, ENDED)):
                    raise
        trials = self.study.get_trials(deepcopy=False)
        if self.number >= 0 and trials[self.number].state in FINISHED:
            on_trial(trials[self.number], trials)
        return True

    def _objective(self, trial: optuna.Trial) -> float:
        self.number = trial.number
        try:
            return self._run(trial)
        except Exception as error:
            self.error = error
            raise

    def _run(self, trial: optuna.Trial) -> float:
        found = by_slot(self.study.get_trials(deepcopy=False))
        slot = next(slot for slot, trials in found.items() if any(t.number == trial.number for t in trials))
        others = [t for t in found[slot] if t.number != trial.number]
        taken = any(t.state in FINISHED or (t.state in ALIVE and t.number < trial.number) for t in others)
        if taken or slot >= self.total:
            raise CutOff("another trial fills the slot, or nobody wants it")
        try:
            self.owned.enter_context(lock(self.folder(slot)))  # until the study knows the result
        except InUseError as error:
            raise CutOff("its owner, taken for dead, is alive") from error
        trial.set_user_attr("slot", slot)
        trial.set_user_attr(OWNER, {"host": socket.gethostname(), "pid": os.getpid()})
        self.claim.close()
        return self.run(trial, slot, {step: score for t in others for step, score in t.intermediate_values.items()})

    def _without_dead(self) -> list[FrozenTrial]:
        """Return all trials, once those whose owner is gone have become FAIL."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(self.study)
        trials = self.study.get_trials(deepcopy=False)
        dead = [trial for trial in trials if trial.state == TrialState.RUNNING and self._is_dead(trial)]
        for trial in dead:
            with suppress(ValueError, UpdateFinishedTrialError):  # somebody else was quicker
                self.study.tell(trial.number, state=TrialState.FAIL)
        return self.study.get_trials(deepcopy=False) if dead else trials

    def _is_dead(self, trial: FrozenTrial) -> bool:
        host = trial.user_attrs.get(OWNER, {}).get("host")
        if self.one_machine or host == socket.gethostname():
            return host is None or _is_free(self.folder(trial.user_attrs["slot"]))
        age = datetime.now() - (trial.datetime_start or datetime.now())
        return host is None and age > self.grace  # with a host, Optuna's heartbeats tell

    def _enqueue_cut_off(self, found: dict[int, list[FrozenTrial]]) -> bool:
        """Enqueue a retry for each slot whose trials were all cut off; tell whether there was one."""
        enqueued = False
        for slot, trials in found.items():
            if slot < self.total and all(t.state == TrialState.FAIL for t in trials) and _is_free(self.folder(slot)):
                drawn = next((t.params for t in reversed(trials) if DRAWN in t.user_attrs), {})
                self.study.enqueue_trial(drawn, {"slot": slot, RETRY: trials[-1].number})
                enqueued = True
        return enqueued


@contextmanager
def patient_lock(folder: Path, stop: Stop) -> Iterator[None]:
    """Hold the folder as `introvae.files.lock` does, once it is free; without it once `stop` is true."""
    with ExitStack() as stack:
        while not stop():
            with suppress(InUseError):
                stack.enter_context(lock(folder))
                break
            time.sleep(0.02)
        yield


def _is_free(folder: Path) -> bool:
    try:
        with lock(folder):
            return True
    except InUseError:
        return False
