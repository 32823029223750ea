"""Processes that share the slow imports of this one."""

import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable


def forked(work: Callable[[], object]) -> int:
    """Start a process whose exit code is the number that `work` returns, 0 for None, 1 if it fails; return its id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of libraries, which the child does not use
        child = os.fork()
    if not child:
        code = 1
        try:
            result = work()
            code = result if isinstance(result, int) else 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def ended(child: int) -> int:
    """Wait for the process, and return its exit code; negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Command:
    """Process that runs a command's main function with these words."""

    def __init__(self, main: Callable[[list[str]], object], words: list[str]) -> None:
        self.main, self.words = main, words
        self.files = [tempfile.TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115
        self.pid = forked(self._run)

    def wait(self) -> "Command":
        """Wait for its end, and set `code`, `stdout` and `stderr`."""
        self.code = ended(self.pid)
        shown = []
        for file in self.files:
            with file:
                file.seek(0)
                shown.append(file.read())
        self.stdout, self.stderr = shown
        return self

    def shown(self, number: int) -> str:
        """Return what has gone to file descriptor 1 or 2 up to now."""
        return os.pread(self.files[number - 1].fileno(), 2**20, 0).decode()

    def _run(self) -> object:
        for number, file in enumerate(self.files, start=1):
            os.dup2(file.fileno(), number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        code = self.main(self.words)
        sys.stdout.flush()
        sys.stderr.flush()
        return code
