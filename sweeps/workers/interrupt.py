"""Ctrl-C and SIGTERM: the first asks, the second ends."""

import signal
import sys
import threading
from types import FrameType


class Interrupt:
    """Becomes true with the first of the signals; the second raises KeyboardInterrupt. For use in a with statement."""

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

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = number
        threading.Thread(target=_say, daemon=True).start()  # which waits, should this interrupt the drawing of a bar


def _say() -> None:
    print("stopping with a checkpoint at the next log of each trial; once more: now", file=sys.stderr, flush=True)
