"""Engines on this machine: in the driver's own process, or a process for each worker."""

import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any

from introvae.errors import StoppedError
from sweeps.engines.base import Engine, environment
from sweeps.tasks.task import Result, Task, Worker, prepare_process, run_task

CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)  # nobody sends these
THREADS = "OMP_NUM_THREADS"
STARTS = 3  # of a worker's process that all fail before its first task, until that ends the study


class InlineEngine(Engine):
    """Engine without processes: tasks run in `submit`, one after another."""

    capacity, queues = 1, False

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def submit(self, worker: int, task: Task) -> "Future[Result]":
        self.worker.look = self.look
        future: Future[Result] = Future()
        future.set_result(self.worker.run(task))
        return future

    def kill(self, worker: int) -> None:
        pass

    def died(self, worker: int, error: BaseException) -> tuple[str, bool]:
        raise error

    def close(self) -> None:
        pass


class LocalEngine(Engine):
    """Engine on this machine: a pool of one process for each worker, so that no death breaks another worker.

    Args:
        devices: Name of the device of each worker.
        threads: Threads of the CPU for each; PyTorch's default if None.
    """

    queues = False

    def __init__(self, devices: list[str], threads: int | None) -> None:
        self.devices, self.threads, self.capacity = devices, threads, len(devices)
        multiprocessing.get_context("forkserver").set_forkserver_preload(
            ["sweeps.tasks.task", "torch._dynamo", "seaborn"]  # slow imports, once for all
        )
        self.pools: dict[int, _Pool] = {}
        self.failed_starts = 0

    def submit(self, worker: int, task: Task) -> "Future[Result]":
        task = replace(task, device=self.devices[worker], threads=self.threads)
        try:
            if worker in self.pools:
                return self.pools[worker].executor.submit(run_task, task)
        except BrokenProcessPool:  # it died between two tasks
            self.kill(worker)
        self.pools[worker] = _Pool(task)
        return self.pools[worker].executor.submit(run_task, task)

    def kill(self, worker: int) -> None:
        if pool := self.pools.pop(worker, None):
            pool.end()

    def died(self, worker: int, error: BaseException) -> tuple[str, bool]:
        pool = self.pools.pop(worker)
        code = pool.end()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        if not pool.started():
            self.failed_starts += 1
            if self.failed_starts >= STARTS:
                raise StoppedError(f"workers die before they have a task ({how}); rerun the same command to resume")
            return how, False
        self.failed_starts = 0
        return how + (", out of memory?" if -code == signal.SIGKILL else ""), -code in CRASHES

    def close(self) -> None:
        for worker in list(self.pools):
            self.kill(worker)


class _Pool:
    """Pool of one process, which is told at once what it will be needed for."""

    def __init__(self, task: Task) -> None:
        inherited = {THREADS: str(task.threads)} if task.threads else {}
        self.context = _Context()
        self.executor = ProcessPoolExecutor(1, self.context, _leave_with_parent)
        with environment(inherited):
            self.ready = self.executor.submit(prepare_process, task.setup, task.device, task.threads)

    def started(self) -> bool:
        return self.ready.done() and not self.ready.exception()

    def end(self) -> int:
        """End the process, and return its exit code; negative for a signal."""
        self.context.only.kill()
        self.executor.shutdown(cancel_futures=True)
        return self.context.only.exitcode or 0


class _Process(ForkServerProcess):
    """Process that does not import, and so rerun, the script that started it."""

    def start(self) -> None:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            super().start()
        finally:
            sys.modules["__main__"] = main


class _Context(ForkServerContext):
    """Context that keeps the only process that is made in it."""

    only: _Process

    def Process(self, *args: Any, **kwargs: Any) -> _Process:  # type: ignore[override]
        self.only = _Process(*args, **kwargs)
        return self.only


def _leave_with_parent() -> None:
    """Tie this process to its parent, which alone listens to signals."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent

    def watch(parent: BaseProcess = parent) -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
