"""Waiting for conditions, never for times."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[..., object], seconds: float = 120) -> None:
    """Wait until `condition()` is true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
