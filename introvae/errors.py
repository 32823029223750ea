"""Exceptions that end a command on purpose, and the test for running out of memory."""

import re


class UserError(ValueError):
    """A request that cannot be met; the message says what, why and what to do (exit code 2)."""


class InUseError(UserError):
    """Another process works in the folder."""


class DivergedError(RuntimeError):
    """Training reached a loss or a parameter that is not finite (exit code 1)."""


class OutOfMemoryError(RuntimeError):
    """A step or the networks need more memory than there is; the message says what to lower (exit code 1)."""


class StoppedError(RuntimeError):
    """Something that a study needs is gone; nothing is lost, and the message says what to do (exit code 1)."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an allocator refused: PyTorch's, Python's, or that of a library whose message says so."""
    words = r"out of memory|can't allocate memory|ALLOC_FAILED|bad_alloc|could not create a primitive$"
    return isinstance(error, MemoryError) or bool(re.search(words, str(error)))
