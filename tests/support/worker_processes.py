"""Worker processes of a driver: found, stopped and killed while it runs."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from waiting import wait_until

from introvae.runs.folder import last_row
from introvae.runs.record import SCORES


def worker_pids(driver: int | None = None) -> list[int]:
    """Return the ids of the worker processes of a driver, by default of this process."""
    parents = {int(stat.parent.name): _parent(stat) for stat in Path("/proc").glob("[0-9]*/stat")}
    servers = [pid for pid in processes("forkserver") if parents.get(pid) == (driver or os.getpid())]
    return [pid for pid, parent in parents.items() if parent in servers]


def _parent(stat: Path) -> int:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def processes(words: str) -> list[int]:
    """Return the ids of all processes whose command line holds these words."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if words in command.read_text().replace("\0", " "):
                found.append(int(command.parent.name))
    return found


def is_alive(pid: int) -> bool:
    """Tell whether a process is there, and not only waits for a parent that asks how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_amid(run: Path, step: int) -> bool:
    """Tell whether a run has passed a step and not ended."""
    row = last_row(run)
    return row is not None and row["step"] >= step and not (run / SCORES).exists()


def send_amid(run: Path, step: int, number: signal.Signals, driver: int | None = None) -> None:
    """Send a signal to the only worker of a driver amid a run, once that has passed a step.

    The process is stopped first, to be sure of where it is.
    """

    def sent() -> bool:
        pids = worker_pids(driver)
        if len(pids) != 1 or not is_amid(run, step):
            return False
        os.kill(pids[0], signal.SIGSTOP)
        amid = is_amid(run, step)
        if amid:
            os.kill(pids[0], number)
        if not amid or number != signal.SIGSTOP:
            with suppress(ProcessLookupError):  # where the signal has ended it
                os.kill(pids[0], signal.SIGCONT)  # without which it would get none but SIGKILL
        return amid

    wait_until(sent, 300)


@contextmanager
def beside(work: Callable[[], object]) -> Iterator[None]:
    """Do some work in a thread meanwhile, and raise what it raises."""
    errors: list[BaseException] = []

    def caught() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=caught)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if errors:
        raise errors[0]
