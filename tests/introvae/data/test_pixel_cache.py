"""The cache of decoded images holds the same bits as decoding again, whatever happened while it was written."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from helpers import ROOT, save_image
from PIL import Image
from torch import Tensor
from waiting import wait_until

from analysis.evaluate import scored_images
from analysis.measures.spectrum import eigenvalues
from introvae.data import decode
from introvae.data import pixel_cache as cache
from introvae.data.image_set import ImageSet, load_images
from introvae.data.pixel_cache import ImageRows
from introvae.errors import UserError
from introvae.runs.pictures import fixed_images


def fill(root: Path, count: int = 12) -> Path:
    for index in range(count):
        save_image(root / f"{index:03d}.png", (20, 24), seed=index)
    return root


def folders(cache_folder: Path, root: Path) -> list[Path]:
    return sorted(cache_folder.glob(f"{root.name}-*"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return fill(tmp_path / tmp_path.name)  # a name that no other test has in the cache


def same(a: ImageSet, b: ImageSet) -> bool:
    return torch.equal(a.train[:], b.train[:]) and torch.equal(a.validation[:], b.validation[:])


def decoded_again(root: Path, cache_folder: Path, image_size: int = 16) -> ImageSet:
    """Decode without the cache."""
    for folder in folders(cache_folder, root):
        shutil.rmtree(folder)
    return load_images(str(root), image_size)


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of images in each decoding."""
    counts: list[int] = []

    def counted(paths: list[Path], out: Path, form: decode.Format) -> list[decode.Unusable]:
        counts.append(len(paths))
        return decode.decode(paths, out, form)

    monkeypatch.setattr(cache, "decode", counted)
    return counts


def test_images_are_decoded_once(photos: Path, decodings: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_images(str(photos), 16)
    assert same(first, load_images(str(photos), 16))
    assert load_images(str(photos), 16, seed=1).name == first.name  # another split of the same pixels
    monkeypatch.chdir(photos.parent)
    assert same(first, load_images(photos.name, 16))
    assert decodings == [12]
    load_images(str(photos), 20)
    load_images(str(photos), 16, channels=1)
    assert decodings == [12, 12, 12]


def touched(root: Path) -> None:
    os.utime(root / "003.png", ns=(1, 1))


def grown(root: Path) -> None:
    """Change pixels and size, but not the time."""
    stat = (root / "003.png").stat()
    save_image(root / "003.png", (30, 30), seed=99)
    os.utime(root / "003.png", ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        lambda root: save_image(root / "new.png", (20, 20), seed=99),
        lambda root: (root / "003.png").unlink(),
        lambda root: (root / "003.png").rename(root / "x.png"),
        touched,
        grown,
    ],
)
def test_changed_files_are_decoded_again(
    photos: Path, cache_folder: Path, decodings: list[int], change: Callable[[Path], None]
) -> None:
    load_images(str(photos), 16)
    change(photos)
    changed = load_images(str(photos), 16)
    assert len(decodings) == 2
    assert len(folders(cache_folder, photos)) == 1  # the old pixels are gone
    assert same(changed, decoded_again(photos, cache_folder))


@pytest.mark.parametrize("file", ["pixels.u8", "index.json"])
def test_a_damaged_cache_is_replaced(photos: Path, cache_folder: Path, file: str) -> None:
    first = load_images(str(photos), 16)
    (folder,) = folders(cache_folder, photos)
    (folder / file).write_bytes((folder / file).read_bytes()[:-10])
    assert same(first, load_images(str(photos), 16))


def test_unusable_images_are_named_on_every_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path, 150)
    (tmp_path / "077.png").write_bytes(b"no image")
    runs = []
    for _ in range(2):
        runs.append(load_images(str(tmp_path), 16))
        assert capsys.readouterr().err == f"skipped: {tmp_path / '077.png'} is not an image\n"
    assert same(*runs) and len(runs[0].train) + len(runs[0].validation) == 149
    assert min(image.max() for image in runs[0].train[:]) > 0  # the row of zeros is not among them
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(b"no image")
    for _ in range(2):
        with pytest.raises(UserError, match="4 of 153 images are unusable"):
            load_images(str(tmp_path), 16)


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
    images = cache.decoded(photos, paths, decode.Format(16, 3))
    assert len(threads) > 1
    assert images.rows.tolist() == [index for index in range(120) if index != 100]
    one_by_one = [decode.fit(Image.open(paths[index]), 16, 3) for index in images.rows]
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


def test_a_large_set_stays_in_its_file(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every use of the image set finds the same images as in memory."""
    small = load_images(str(photos), 16)
    assert isinstance(small.train, Tensor) and isinstance(small.validation, Tensor)
    memory = {"SC_PAGE_SIZE": 1024, "SC_PHYS_PAGES": 12 * 3 * 4 * 16 * 16 // 1024}  # four times the 12 images
    monkeypatch.setattr("introvae.data.pixel_cache.os.sysconf", memory.__getitem__)
    assert isinstance(load_images(str(photos), 16).train, Tensor)
    memory["SC_PHYS_PAGES"] -= 1
    large = load_images(str(photos), 16)
    assert isinstance(large.train, ImageRows) and isinstance(large.validation, ImageRows)
    assert large.to(torch.device("cpu")) is large
    assert same(small, large) and small.train.shape == large.train.shape and small.channels == large.channels
    assert small.train.nbytes == large.train.nbytes
    assert torch.equal(eigenvalues(small.train), eigenvalues(large.train))
    assert torch.equal(scored_images(small), scored_images(large))
    assert torch.equal(fixed_images(small.validation), fixed_images(large.validation))
    assert torch.equal(large.train.to(torch.device("cpu")), small.train)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_full_disk_is_reported_before_decoding(
    photos: Path, decodings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("introvae.data.pixel_cache.shutil.disk_usage", lambda path: Usage(0, 0, 2**31))
    monkeypatch.setattr("introvae.data.pixel_cache.math.prod", lambda shape: 2**28)
    with pytest.raises(
        UserError, match=r"12 images at 16 px take 3.0 GiB, and .* has 2.0 GiB free; set XDG_CACHE_HOME"
    ):
        load_images(str(photos), 16)
    assert decodings == []


def test_a_cache_that_cannot_be_written_is_refused(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(photos / "000.png"))
    with pytest.raises(UserError, match=r"cannot write decoded images to .*Not a directory; set XDG_CACHE_HOME"):
        load_images(str(photos), 16)


LOAD = """
import sys
from introvae.data.image_set import load_images
print(len(load_images(sys.argv[1], 16).train))
"""
DECODE_SLOWLY = """
import time
from introvae.data import decode
from introvae.data import pixel_cache as cache
def slowly(paths, out, form):
    with open(out.parent / "decodings", "a") as file: file.write("x")
    while not (out.parent / "go").exists(): time.sleep(0.01)
    return decode.decode(paths, out, form)
cache.decode = slowly
"""
HANG_UP = """
import time
from introvae.data import decode
from introvae.data import pixel_cache as cache
def hang():
    print("here", flush=True)
    time.sleep(600)
"""
READ_SLOWLY = """
import os, time
from introvae.data import decode
read = decode._read
def slowly(path, form):
    os.write(1, b"here\\n")  # at once, as other threads write too
    time.sleep(1)
    return read(path, form)
decode._read = slowly
"""
MOMENTS = {
    "before decoding": "cache.decode = lambda *args: hang()",
    "half-way": "cache.decode = lambda paths, out, form: (decode.decode(paths[:5], out, form), hang())",
    "all decoded": "cache.decode = lambda paths, out, form: (decode.decode(paths, out, form), hang())",
    "renamed": "cache.write_atomically = lambda *args: hang()",
}


def start(code: str, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_one_of_two_processes_decodes_while_the_other_waits(photos: Path, cache_folder: Path) -> None:
    with start(DECODE_SLOWLY + LOAD, str(photos)) as first:
        wait_until(lambda: any(cache_folder.glob(f"{photos.name}-*/decodings")))
        (folder,) = folders(cache_folder, photos)
        with start(DECODE_SLOWLY + LOAD, str(photos)) as second:
            assert second.stderr and first.stderr and first.stdout and second.stdout
            waiting = second.stderr.readline()
            (folder / "go").touch()
            assert waiting == f"waiting for another process that is decoding {photos} into {folder}\n"
            assert (first.stdout.read(), first.stderr.read()) == ("11\n", "")
            assert (second.stdout.read(), second.stderr.read()) == ("11\n", "")
    assert (folder / "decodings").read_text() == "x"
    assert same(load_images(str(photos), 16), decoded_again(photos, cache_folder))


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_run_after_a_killed_one_is_right(photos: Path, cache_folder: Path, moment: str) -> None:
    with start(HANG_UP + MOMENTS[moment] + "\n" + LOAD, str(photos)) as process:
        assert process.stdout and process.stdout.readline() == "here\n"
        process.kill()
    after = load_images(str(photos), 16)
    (folder,) = folders(cache_folder, photos)
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "index.json", "pixels.u8"]
    assert same(after, decoded_again(photos, cache_folder))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_decoding_stops_at_once(photos: Path, cache_folder: Path, number: signal.Signals) -> None:
    """A thread would take 16 s for all its images; Ctrl-C waits only for the one being decoded."""
    fill(photos, 80)
    with start(READ_SLOWLY + LOAD, str(photos)) as process:
        assert process.stdout and process.stdout.readline() == "here\n"
        process.send_signal(number)
        assert process.wait(timeout=10) == -number
    left = list(cache_folder.glob(f"{photos.name}-*/pixels*"))
    assert len(left) == (1 if number == signal.SIGKILL else 0)
    after = load_images(str(photos), 16)
    assert not list(cache_folder.glob(f"{photos.name}-*/*.part"))
    assert same(after, decoded_again(photos, cache_folder))


@pytest.mark.parametrize("through_stdin", [False, True])
def test_a_plain_script_loads_a_folder(photos: Path, tmp_path: Path, through_stdin: bool) -> None:
    """The script has no guard against processes that would run it again."""
    fill(photos, 100)
    path = tmp_path / "script.py"
    path.write_text(LOAD)
    command = [sys.executable, "-" if through_stdin else str(path), str(photos)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    text = path.read_text() if through_stdin else ""
    done = subprocess.run(command, input=text, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "90\n", "")


def test_rows_may_be_in_any_order() -> None:
    pixels = np.arange(6, dtype=np.uint8)[:, None, None, None]
    rows = ImageRows(pixels, np.array([4, 2, 0]))
    assert rows.shape == (3, 1, 1, 1) and rows.nbytes == 3
    assert rows[:].flatten().tolist() == [4, 2, 0]
    assert rows[torch.tensor([2, 0])].flatten().tolist() == [0, 4]
    assert rows.select(np.array([False, True, True]))[:].flatten().tolist() == [2, 0]
