"""Lines for people about images. They name the archive that somebody gave, not the folder that it is unpacked to."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from introvae.errors import UserError

_given: ContextVar[tuple[Path, Path] | None] = ContextVar("given", default=None)


def note(text: str) -> None:
    """Print a line to stderr."""
    print(_as_given(text), file=sys.stderr, flush=True)


def counted(number: int, noun: str) -> str:
    """Return a number with a noun, in the plural unless it is 1."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


@contextmanager
def shown_as(folder: Path, given: Path) -> Iterator[None]:
    """Name `given` wherever a line or a UserError would name `folder`."""
    token = _given.set((folder, given))
    try:
        yield
    except UserError as error:
        raise UserError(_as_given(str(error))) from error
    finally:
        _given.reset(token)


def _as_given(text: str) -> str:
    pair = _given.get()
    return text.replace(str(pair[0]), str(pair[1])) if pair else text
