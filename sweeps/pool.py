"""Worker processes that fill the slots of a study on one machine, and the process that looks after them."""

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from types import ModuleType
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial

from introvae.data.image_set import load_images
from introvae.errors import StoppedError
from introvae.training.device import find_device, tune_process
from sweeps.config import StudyConfig
from sweeps.disk import keep_best
from sweeps.plan import Setup, train_warmup
from sweeps.search.pruning import pruner_of
from sweeps.search.samplers import SlotSampler
from sweeps.study import open_study
from sweeps.trial import run_trial
from sweeps.view import Lines, finished
from sweeps.workers.slots import CutOff, Filler, Reported, Stop, give_up
from sweeps.workers.watch import SECONDS, Message, Said, Show, Watch

CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)  # nobody sends these
DEATHS = 3  # of the processes of one slot, or of processes without one, before it is given up
LOOK_EVERY = 0.5  # seconds between looks at the clock


@dataclass(frozen=True, kw_only=True)
class Job:
    """Work on a study for each of `workers` processes; its setup may lack the images, which these load themselves."""

    setup: Setup
    config: StudyConfig
    settings: dict[str, Any]
    workers: int
    removed: set[int] = field(default_factory=set)  # slots whose checkpoints are gone, as far as this process knows
    watch: Watch = field(default_factory=Watch)

    def study(self) -> optuna.Study:
        setup, config = self.setup, self.config
        sampler = SlotSampler(setup.config.seed, config.sampler, setup.space.distributions, setup.points)
        pruner = pruner_of(config.pruned_by)
        return open_study(setup.folder, self.settings, sampler, pruner, config.storage, config.grace)

    def on_trial(self, trial: FrozenTrial, trials: list[FrozenTrial]) -> None:
        if self.config.keep is not None:
            keep_best(trials, self.setup.run_folder, self.config.keep, self.removed)
        self.watch.show(finished(trial, trials, self.config.total))

    def filler(self, stop: Stop) -> Filler:
        """Train the warm-up that the trials share, and return what then fills the slots."""
        setup, config = self.setup, self.config
        if setup.shares_warmup(config.total):
            with suppress(CutOff):
                train_warmup(setup, setup.config, stop, self.watch)

        def run(trial: optuna.Trial, slot: int, reported: Reported) -> float:
            try:
                return run_trial(trial, setup, slot, reported, stop, self.watch)
            finally:
                trial.set_user_attr(SECONDS, self.watch.take())

        one_machine = config.storage is None or config.storage.startswith("sqlite")
        return Filler(self.study(), config.total, setup.run_folder, run, stop, one_machine, config.grace)

    def of_worker(self, index: int, show: Show) -> "Job":
        """Set up this process for worker `index`, and return its job, with images."""
        config, name = self.setup.config, str(self.setup.device)
        if self.workers > 1 and self.setup.device.type == "cpu":
            torch.set_num_threads(1)
        if self.workers > 1 and self.setup.device.type == "cuda":
            name = f"cuda:{index % torch.cuda.device_count()}"
        watch, device = Watch(show), find_device(name)
        tune_process(device)
        images = load_images(config.data, config.image_size, config.channels, config.images_seed).to(device)
        return replace(self, setup=replace(self.setup, images=images, device=device), watch=watch)


def work(job: Job, index: int, pipe: Connection) -> None:
    """Do a worker process's job.

    The pipe gets the slot in training, or None, and what there is to show; its last message is "done", an exception,
    or "again", which asks for another process in place of this one.
    """
    stop = _leave_with_parent()

    def show(message: Message) -> None:
        with suppress(BrokenPipeError):  # `stop` tells that the parent is gone, and a checkpoint comes first
            pipe.send(message)

    sys.stderr = Lines(lambda line: show(Said(line)))
    try:
        job = job.of_worker(index, show)
        pipe.send(_fill(job.filler(stop), job, pipe))
    except Exception as error:
        error.add_note(traceback.format_exc())  # which does not travel by itself
        with suppress(BrokenPipeError):
            pipe.send(error)


def _fill(filler: Filler, job: Job, pipe: Connection) -> str:
    run, begun = filler.run, False

    def announced(trial: optuna.Trial, slot: int, reported: Reported) -> float:
        nonlocal begun
        begun = True
        pipe.send(slot)
        try:
            return run(trial, slot, reported)
        except StoppedError:
            raise
        except RuntimeError as error:
            give_up(filler.study, slot, f"{type(error).__name__}: {error}")
            pipe.send("again")
            raise SystemExit(1) from error  # after an error of CUDA its process is of no further use
        finally:
            pipe.send(None)

    filler.run = announced
    while filler.take_one(job.on_trial):
        if begun and job.config.isolate:
            return "again"
    return "done"


def _leave_with_parent() -> Stop:
    """Return a flag that is set once the parent says so or is gone; Ctrl-C reaches the parent as well, which tells."""
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    parent = multiprocessing.parent_process()
    assert parent

    def watch() -> None:
        parent.join()
        stop.set()

    threading.Thread(target=watch, daemon=True).start()
    return stop.is_set


@dataclass
class _Worker:
    index: int
    process: ForkServerProcess
    slot: int | None = None  # in training since `since`
    since: float = 0.0
    last: str | None = None  # message before its end


class Supervisor:
    """Supervisor of workers, which starts them, replaces those that die, and ends trials that take too long.

    `start(index, pipe)` is called in each worker's process. `timeout` is in seconds for each trial. `show(index,
    message)` gets what a worker has to show, and None once it has left.
    """

    def __init__(
        self,
        start: Callable[[int, Connection], None],
        study: optuna.Study,
        stop: Stop,
        timeout: float | None = None,
        show: Callable[[int, Message | None], None] = lambda worker, message: None,
    ) -> None:
        self.start, self.study, self.stop, self.timeout, self.show = start, study, stop, timeout, show
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["sweeps.pool"])  # slow imports, once for all workers
        self.workers: dict[Connection, _Worker] = {}
        self.deaths: Counter[int | None] = Counter()
        self.error: Exception | None = None

    def supervise(self, workers: int) -> None:
        """Return when all workers are done.

        Raises:
            StoppedError: If workers die again and again.
            Exception: Whatever a worker ended with, once the others have stopped.
        """
        try:
            for index in range(workers):
                self._start(index)
            told = False
            while self.workers:
                for pipe in wait(list(self.workers), LOOK_EVERY):
                    self._read(pipe)  # type: ignore[arg-type]
                if (self.stop() or self.error) and not told:
                    told = True
                    self._signal(signal.SIGTERM)
                self._end_hung()
        finally:
            self._signal(signal.SIGKILL)
        if self.error:
            raise self.error

    def _start(self, index: int) -> None:
        ours, theirs = self.context.Pipe(duplex=False)
        process = self.context.Process(target=self.start, args=(index, theirs))
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")  # else the process would import, and so rerun, the script
        try:
            process.start()
        finally:
            sys.modules["__main__"] = main
        theirs.close()
        self.workers[ours] = _Worker(index, process)

    def _read(self, pipe: Connection) -> None:
        worker = self.workers[pipe]
        try:
            message = pipe.recv()
        except (EOFError, ConnectionResetError):
            del self.workers[pipe]
            worker.process.join()
            self.show(worker.index, None)
            self._replace(worker)
            return
        if isinstance(message, Message):
            self.show(worker.index, message)
        elif isinstance(message, int | None):
            worker.slot, worker.since = message, time.monotonic()
        elif isinstance(message, Exception):
            self.error = self.error or message
            worker.last = "done"
        else:
            worker.last = message

    def _replace(self, worker: _Worker) -> None:
        if worker.last == "done" or self.stop() or self.error:
            return
        if worker.last is None:
            self._count_death(worker)
        if not self.error:
            self._start(worker.index)

    def _count_death(self, worker: _Worker) -> None:
        """Give up a slot that broke its process or lost several; other trials of killed processes continue."""
        code, slot = worker.process.exitcode or 0, worker.slot
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        self.deaths[slot] += 1
        if slot is None and self.deaths[slot] >= DEATHS:
            self.error = StoppedError(f"workers die before they have a trial ({how}); rerun the same command to resume")
        elif slot is not None and (-code in CRASHES or self.deaths[slot] >= DEATHS):
            give_up(self.study, slot, f"its process died ({how}{', out of memory?' if code == -9 else ''})")

    def _end_hung(self) -> None:
        for worker in self.workers.values():
            if self.timeout and worker.slot is not None and time.monotonic() - worker.since > self.timeout:
                give_up(self.study, worker.slot, f"not done after {self.timeout:g} s")
                worker.slot = None
                worker.last = "again"
                worker.process.kill()

    def _signal(self, number: signal.Signals) -> None:
        for worker in self.workers.values():
            if worker.process.pid:
                with suppress(ProcessLookupError):
                    os.kill(worker.process.pid, number)
