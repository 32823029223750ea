"""Files and folders: atomic writes, locks, and the cache folder."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from introvae.errors import InUseError, UserError


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it holds its old or its new content at any instant, whatever happens in between."""
    write_part(path, content).replace(path)
    sync(path.parent)


def write_part(path: Path, content: bytes | memoryview) -> Path:
    """Write the content to disk under a temporary name beside `path`, and return it ready to be renamed.

    An OSError names `path`, and leaves nothing behind.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error
    return part


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of names, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the folder for this process. The lock ends with the process, however that ends.

    Raises:
        InUseError: If another process holds it, with its number and machine.
        UserError: If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a+")
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}; choose another --out") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read() or "another process"
            raise InUseError(f"{folder} is in use by {holder}; wait for it or choose another --out") from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def cache_root() -> Path:
    """Return the folder for files that this package can recreate, `$XDG_CACHE_HOME/introvae`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "introvae"
