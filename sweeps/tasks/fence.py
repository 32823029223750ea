"""Fences: a file in each run folder names the one attempt at the run that may write there."""

import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

from introvae.errors import StoppedError
from introvae.files import remove_parts, write_atomically

ATTEMPT, STOP = ".attempt", "stop"


class Superseded(StoppedError):
    """Another attempt at the run has begun, or the run has ended; this one must write nothing more."""


class Fence:
    """Fence around a run folder: a file there names the attempt that may write, and tells it when to stop.

    A worker that was taken for dead may come back at any time. It looks here at each log, before it writes.
    """

    def __init__(self, folder: Path, attempt: str) -> None:
        self.path, self.attempt = folder / ATTEMPT, attempt

    @classmethod
    def claim(cls, folder: Path) -> "Fence":
        """Begin another attempt at the run, after which all earlier ones leave."""
        folder.mkdir(parents=True, exist_ok=True)
        fence = cls(folder, secrets.token_hex(8))
        write_atomically(fence.path, fence.attempt.encode())
        remove_parts(folder)
        return fence

    def begin(self) -> None:
        """Leave a sign of life, for whoever waits for a process to begin with the attempt's task."""
        now = time.time_ns()  # the file system's own clock may not have moved since the claim
        with suppress(FileNotFoundError):
            os.utime(self.path, ns=(now, now))

    def sign(self) -> int:
        """Return the last sign of life, a time in nanoseconds; 0 if the folder is closed."""
        try:
            return self.path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def stop(self) -> None:
        """Ask the attempt to write a checkpoint at its next log, and to leave."""
        write_atomically(self.path, f"{self.attempt} {STOP}".encode())

    def remove(self) -> None:
        """Close the folder for every attempt, once the run has ended."""
        self.path.unlink(missing_ok=True)

    def __call__(self) -> bool:
        """Tell whether the attempt is to stop.

        Raises:
            Superseded: If the folder is no longer this attempt's.
        """
        try:
            attempt, *told = self.path.read_text().split()
        except FileNotFoundError:
            attempt, told = "", []
        if attempt != self.attempt:
            raise Superseded(f"another introvae-sweep has taken over {self.path.parent}")
        return told == [STOP]
