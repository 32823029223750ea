"""Terminal of the tests' own, which shows what is written to it as a person would see it."""

import fcntl
import os
import pty
import select
import struct
import termios
import time
from collections.abc import Callable
from typing import Self

import pyte


class Terminal:
    """Pseudoterminal; `file` is its other side, for a program's stdout and stderr."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.file = os.fdopen(theirs, "w", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        os.close(self.ours)

    def lines(self) -> list[str]:
        """Return the text on the screen, without blank lines and trailing blanks."""
        while select.select([self.ours], [], [], 0)[0]:
            self.stream.feed(os.read(self.ours, 65536))
        return [line.rstrip() for line in self.screen.display if line.strip()]

    def press_ctrl_c(self) -> None:
        """Show Ctrl-C as a terminal does; sending the signal is left to the test."""
        os.write(self.ours, b"\x03")
        time.sleep(0.01)

    def wait_for(self, shown: Callable[[list[str]], bool], timeout: float = 60) -> list[str]:
        """Return the lines once `shown` accepts them; fail after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not shown(lines := self.lines()):
            assert time.monotonic() < deadline, lines
            select.select([self.ours], [], [], 0.1)
        return lines
