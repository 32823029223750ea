"""Writes go to files of their own: no link that somebody has put there is followed, and no other writer disturbs."""

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from helpers import tiny_flags

from introvae.data.pixel_cache import locked
from introvae.errors import UserError
from introvae.files import cache_root, create, expanded, folder_name, lock, remove_parts, write_atomically, write_part


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_text("precious")
    return path


def test_a_link_in_the_place_of_a_file_is_replaced(tmp_path: Path, victim: Path) -> None:
    for name in ("summary.csv", "summary.csv.part"):
        (tmp_path / name).symlink_to(victim)
    write_atomically(tmp_path / "summary.csv", b"new")
    assert (tmp_path / "summary.csv").read_bytes() == b"new" and not (tmp_path / "summary.csv").is_symlink()
    assert victim.read_text() == "precious"


def test_a_part_is_never_written_through_a_link(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "link").symlink_to(victim)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("link", "dangling", "victim"):
        with pytest.raises(FileExistsError):
            create(tmp_path / name)
    assert victim.read_text() == "precious" and not (tmp_path / "nowhere").exists()


def test_a_link_in_the_place_of_a_lock_is_refused(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(victim)
    with pytest.raises(UserError, match=r"cannot write to .*run: .lock is a link; remove it"), lock(tmp_path / "run"):
        pass
    assert victim.read_text() == "precious"


def test_many_writers_of_one_file_leave_one_whole_content(tmp_path: Path) -> None:
    path, contents = tmp_path / "summary.csv", [bytes([65 + index]) * 200_000 for index in range(4)]

    def write(content: bytes) -> None:
        for _ in range(20):
            write_atomically(path, content)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert not path.exists() or path.read_bytes() in contents
    for thread in threads:
        thread.join()
    assert [item.name for item in tmp_path.iterdir()] == ["summary.csv"] and path.read_bytes() in contents


def test_files_have_the_usual_permissions(tmp_path: Path) -> None:
    usual = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", b"")
        with lock(tmp_path):
            modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", ".lock")]
    finally:
        os.umask(usual)
    assert modes == [0o640, 0o640]


def test_what_a_killed_writer_leaves_is_removed(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for path in (tmp_path / "scores.json", tmp_path / "images" / "step-000001.png"):
        write_part(path, b"half")
    assert len(list(tmp_path.rglob("*.part"))) == 2
    with lock(tmp_path):
        assert not list(tmp_path.rglob("*.part"))
    remove_parts(tmp_path / "nowhere")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_refused(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    message = "has no locks .*choose a folder on another disk"
    with pytest.raises(UserError, match=message), lock(tmp_path / "run"):
        pass
    with pytest.raises(UserError, match=message), locked(tmp_path / "cache", "decoding"):
        pass


@pytest.mark.slow
def test_where_locks_are_missing_a_command_says_what_it_runs_on(tmp_path: Path) -> None:
    code = "import sys; sys.modules['fcntl'] = None; from analysis.train import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, *tiny_flags(), "--out", str(tmp_path / "run")]
    done = subprocess.run(words, capture_output=True, text=True)
    message = "introvae-train: introvae runs on Linux and macOS, on Windows in WSL: its locks need fcntl\n"
    assert (done.returncode, done.stderr) == (2, message)


@pytest.mark.parametrize(
    ("text", "name"), [(".faces", "faces"), ("..", "images"), ("a.b", "a.b"), ("漢" * 50, "漢" * 40)]
)
def test_names_of_folders_are_seen_and_short(text: str, name: str) -> None:
    assert folder_name(text) == name


def test_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object) -> None:
        raise KeyError

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cache_root() == tmp_path / f"introvae-{os.getuid()}"
    with pytest.raises(UserError, match="there is no home for ~/photos; write the whole path"):
        expanded("~/photos")
