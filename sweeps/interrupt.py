"""Ctrl-C and SIGTERM: the first one asks a study to stop, the second ends it."""

import signal
import sys
import threading
from types import FrameType


class Interrupt:
    """Flag that the first of the signals sets; the second raises KeyboardInterrupt. Use it in a with statement."""

    def __init__(self) -> None:
        self.received = 0

    def __call__(self) -> bool:
        return bool(self.received)

    def __enter__(self) -> "Interrupt":
        self.before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _: FrameType | None) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = number
        threading.Thread(target=_say, daemon=True).start()  # a thread can wait for a bar that this interrupts


def _say() -> None:
    text = "stopping each trial with a checkpoint at its next log; repeat to stop at once"
    print(text, file=sys.stderr, flush=True)
