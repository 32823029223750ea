"""Files and folders: atomic writes, locks, and the cache folder."""

import errno
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from introvae.errors import InUseError, UserError

try:
    import fcntl
except ImportError:  # which Windows lacks
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
OUTPUT = ".introvae"  # marks a folder of what a model has made
LONGEST_NAME = 120  # bytes, less than half of what file systems take, as more is added
LOCKLESS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # errors of file systems that have no locks


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it holds its old or its new content at any instant, whatever happens in between."""
    write_part(path, content).replace(path)
    sync(path.parent)


def write_part(path: Path, content: bytes | memoryview) -> Path:
    """Write the content to disk under a new name beside `path`, and return it ready to be renamed.

    Raises:
        OSError: If it cannot be written; the error names `path`, and nothing is left behind.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with create(part) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error
    return part


def make_folder(path: Path) -> None:
    """Create a folder to write into; one that is there already may be no link, which could lead anywhere.

    Raises:
        OSError: If it cannot be created, or is a link.
    """
    if path.is_symlink():
        raise OSError(errno.ELOOP, "is a link; remove it", str(path))
    path.mkdir(parents=True, exist_ok=True)


def create(path: Path) -> BinaryIO:
    """Create a file that is not there; unlike `open`, this follows no link that somebody has put in its place."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666), "wb")


def remove_parts(folder: Path) -> None:
    """Remove what was being written into a folder, or into its pictures, when its process was killed."""
    for part in (*folder.glob(".*.part"), *folder.glob("images/.*.part")):
        part.unlink(missing_ok=True)


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
        file = open_lock(folder / LOCK)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}; choose another --out") from error
    with file:
        try:
            hold(file, wait=False)
        except BlockingIOError as error:
            holder = file.read().decode(errors="replace") or "another process"
            raise InUseError(f"{folder} is in use by {holder}; wait for it or choose another --out") from error
        remove_parts(folder)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        file.flush()
        yield


def hold(file: BinaryIO, wait: bool) -> None:
    """Lock an open file for this process.

    Raises:
        BlockingIOError: If another process holds it, and this one is not to wait.
        UserError: If its file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in LOCKLESS:
            raise
        raise UserError(
            f"the file system of {file.name} has no locks ({error.strerror}), without which two processes could write "
            "to one folder; choose a folder on another disk, for decoded images by XDG_CACHE_HOME"
        ) from error


def open_lock(path: Path) -> BinaryIO:
    """Open a file to lock, and create it if it is missing.

    Raises:
        OSError: If it cannot be opened, or is a link; the error names the file.
        UserError: If this system has no such locks.
    """
    if fcntl is None:
        raise UserError("introvae runs on Linux and macOS, on Windows in WSL: its locks need fcntl")
    try:
        return open(path, "r+b", opener=lambda name, _: os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666))
    except OSError as error:
        strerror = f"{path.name} is a link; remove it" if error.errno == errno.ELOOP else error.strerror
        raise OSError(error.errno, strerror, str(path)) from error


def folder_name(text: str) -> str:
    """Return a text as the name of a folder that people see: without leading dots, and of at most 120 bytes."""
    return os.fsencode(text.lstrip("."))[:LONGEST_NAME].decode(errors="ignore") or "images"


def expanded(path: Path | str) -> Path:
    """Return a path with its ~ replaced.

    Raises:
        UserError: If nobody has that home.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"there is no home for {path}; write the whole path") from error


def cache_root() -> Path:
    """Return the folder for files that this package can recreate, `$XDG_CACHE_HOME/introvae`.

    Without a home it is a user's own folder for temporary files.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "introvae"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"introvae-{os.getuid()}"
