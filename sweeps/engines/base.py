"""The interface of an engine, through which alone the driver knows of processes, clusters and queues."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager

from sweeps.tasks.task import Result, Task


class Engine(ABC):
    """Runs at most one task at a time for each of its workers 0, 1, ....

    The future of a task fails only if the process that ran it is gone, for all else is part of the task's result.
    """

    capacity: int
    """Number of tasks at once."""

    queues: bool
    """A task may have to wait before it begins."""

    look: Callable[[], None]
    """Set by who submits tasks; an engine whose `submit` does not return at once calls it often meanwhile."""

    @abstractmethod
    def submit(self, worker: int, task: Task) -> "Future[Result]":
        """Run a task for a worker that has none.

        Raises:
            StoppedError: If the engine takes no task.
        """

    @abstractmethod
    def kill(self, worker: int) -> None:
        """End the process of a worker, whatever it does; its next task gets another one."""

    @abstractmethod
    def died(self, worker: int, error: BaseException) -> tuple[str, bool]:
        """Describe how the process of a worker died.

        Args:
            worker: The worker.
            error: The exception of its future.

        Returns:
            The description, and whether the process crashed by itself rather than was killed.

        Raises:
            StoppedError: If no process can be had.
        """

    @abstractmethod
    def close(self) -> None:
        """End all processes."""


@contextmanager
def environment(values: Mapping[str, str] | None = None) -> Iterator[None]:
    """Set variables for the Python processes that are started meanwhile, which import nothing from the current folder.

    A package there that is called sweeps or analysis would else stand for ours.
    """
    given = {"PYTHONSAFEPATH": "1"} | dict(values or {})
    usual = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in usual.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
