"""Decoding by threads gives what decoding one by one gives, says how long it takes, and stops when it is told to."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from forks import Command
from helpers import ROOT
from photos import decoded_again, fill, folders, same
from PIL import Image
from waiting import wait_until

from introvae.data import decode
from introvae.data import pixel_cache as cache
from introvae.data.image_set import load_images
from introvae.data.pixels import to_pixels

LOAD = """
import sys
from introvae.data.image_set import load_images
print(len(load_images(sys.argv[1], 16).train))
"""
READ_SLOWLY = """
import os, signal, time
from introvae.data import decode
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell turns off for what runs in its background
read = decode._read
def slowly(path, form):
    os.write(1, b"here\\n")  # at once, as other threads write too
    time.sleep(0.5)
    return read(path, form)
decode._read = slowly
decode._usable_cores = lambda: 2
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return fill(tmp_path / tmp_path.name)  # a name that no other test has in the cache


def test_threads_decode_the_same_as_one_by_one(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(photos, 120)
    (photos / "100.png").write_bytes(b"no image")
    paths = sorted(photos.glob("*.png"))
    threads: set[str] = set()
    read = decode._read

    def noted(path: Path, form: decode.Format) -> np.ndarray:
        threads.add(threading.current_thread().name)
        time.sleep(0.001)  # as a decoder, without the interpreter lock
        return read(path, form)

    monkeypatch.setattr(decode, "_usable_cores", lambda: 4)
    monkeypatch.setattr(decode, "_read", noted)
    images = cache.decoded(photos, paths, decode.Format(16, 3)).images
    assert len(threads) > 1
    assert images.rows.tolist() == [index for index in range(120) if index != 100]
    one_by_one = [to_pixels(Image.open(paths[index]), 16, 3) for index in images.rows]
    assert np.array_equal(images[:].numpy(), np.stack(one_by_one))


def test_a_long_decoding_says_so_once(
    photos: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(photos, 120)
    load_images(str(photos), 16)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(decode, "QUIET", 0)
    decoded_again(photos, cache_folder)
    (folder,) = folders(cache_folder, photos)
    assert capsys.readouterr().err == f"decoding 120 images into {folder}\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    decoded_again(photos, cache_folder)
    shown = capsys.readouterr().err
    assert "decoding images:" in shown and "/120 [" in shown and str(folder) not in shown


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_disk_that_fills_up_does_not_make_images_unusable(photos: Path) -> None:
    with pytest.raises(OSError, match="No space left on device"):
        decode.decode(sorted(photos.glob("*.png")), Path("/dev/full"), decode.Format(16, 3))


def start(command: list[str], given: str = "") -> subprocess.Popen[str]:
    """Start Python; `given` is its standard input."""
    process = subprocess.Popen(
        [sys.executable, *command], env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin
    process.stdin.write(given)
    process.stdin.close()
    return process


@pytest.mark.slow
def test_ctrl_c_waits_only_for_the_images_that_are_being_decoded(photos: Path, cache_folder: Path) -> None:
    """Each of the two threads would go on to the last of its 16 images."""
    fill(photos, 80)
    with start(["-c", READ_SLOWLY + LOAD, str(photos)]) as process:
        assert process.stdout
        before = [process.stdout.readline() for _ in range(3)]  # by the third the main thread waits for the others
        process.send_signal(signal.SIGINT)
        after = process.stdout.read().splitlines(keepends=True)
    assert process.returncode == -signal.SIGINT
    assert set(before + after) == {"here\n"} and len(before + after) < 2 * 16
    assert not list(cache_folder.glob(f"{photos.name}-*/pixels*"))
    assert same(load_images(str(photos), 16), decoded_again(photos, cache_folder))


def test_a_decoding_that_is_killed_leaves_nothing_that_is_used(photos: Path, cache_folder: Path) -> None:
    def hang(path: Path, form: decode.Format) -> np.ndarray:
        print("here")
        time.sleep(600)
        raise AssertionError

    def load_and_hang(words: list[str]) -> int:
        decode._read = hang  # in a process of its own
        return len(load_images(words[0], 16).train)

    process = Command(load_and_hang, [str(photos)])
    wait_until(lambda: "here" in process.shown(1))
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait().code == -signal.SIGKILL
    assert len(list(cache_folder.glob(f"{photos.name}-*/pixels*"))) == 1
    after = load_images(str(photos), 16)
    assert not list(cache_folder.glob(f"{photos.name}-*/*.part"))
    assert same(after, decoded_again(photos, cache_folder))


@pytest.mark.slow
def test_a_plain_script_loads_a_folder(tmp_path: Path) -> None:
    """The script has no guard against processes that would run it again, be it a file or read from standard input."""
    path = tmp_path / "script.py"
    path.write_text(LOAD)
    here, there = (str(fill(tmp_path / f"{tmp_path.name}-{name}", 100)) for name in ("here", "there"))
    for process in [start([str(path), here]), start(["-", there], LOAD)]:
        with process:
            assert process.stdout and process.stderr
            assert (process.stdout.read(), process.stderr.read()) == ("80\n", "")
        assert process.returncode == 0
