"""The cache of decoded images holds the same bits as decoding again, whatever happened while it was written."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from forks import Command
from helpers import save_image
from photos import decoded_again, fill, folders, same
from torch import Tensor
from waiting import wait_until

from analysis.evaluate import scored_images
from analysis.measures.spectrum import eigenvalues
from introvae.data import decode
from introvae.data import folders as folders_of_images
from introvae.data import pixel_cache as cache
from introvae.data.duplicates import group_duplicates
from introvae.data.image_set import load_images
from introvae.data.pixel_cache import ImageRows
from introvae.errors import UserError
from introvae.runs.pictures import fixed_images


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return fill(tmp_path / tmp_path.name)  # a name that no other test has in the cache


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
    assert same(first, load_images(photos, 16, channels=first.channels))  # as the workers of a study ask for them
    assert decodings == [12]
    load_images(str(photos), 20)
    assert load_images(photos, 16, channels=4 - first.channels).channels != first.channels
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
        assert capsys.readouterr().err == f"skipped: {tmp_path / '077.png'} is no image that Pillow can read\n"
    assert same(*runs) and len(runs[0].train) + len(runs[0].validation) + len(runs[0].test) == 149
    assert min(image.max() for image in runs[0].train[:]) > 0  # the row of zeros is not among them
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(b"no image")
    for _ in range(2):
        with pytest.raises(UserError, match="4 of 153 images are unusable"):
            load_images(str(tmp_path), 16)


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


@pytest.fixture
def groupings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of images in each search for duplicates."""
    counts: list[int] = []

    def counted(parts: Sequence[ImageRows]) -> np.ndarray:
        counts.append(sum(map(len, parts)))
        return group_duplicates(parts)

    monkeypatch.setattr(folders_of_images, "group_duplicates", counted)
    return counts


def test_duplicates_are_looked_for_once(
    photos: Path, tmp_path: Path, cache_folder: Path, groupings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_images(photos, 16)
    assert same(first, load_images(photos, 16))
    load_images(photos, 16, seed=1)
    assert groupings == [12]
    validation = fill(tmp_path / "validation", 3)  # the same as three of the others
    for _ in range(2):
        load_images(photos, 16, validation=validation)
    assert groupings == [12, 15]
    grown(photos)
    load_images(photos, 16)
    assert groupings == [12, 15, 12]
    monkeypatch.setattr(folders_of_images, "VERSION", 99)
    load_images(photos, 16)
    assert groupings == [12, 15, 12, 12]


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_damaged_groups_are_replaced(
    photos: Path, cache_folder: Path, groupings: list[int], content: bytes | None
) -> None:
    first = load_images(photos, 16)
    (folder,) = folders(cache_folder, photos)
    path = folder / "duplicates.npz"
    path.write_bytes(path.read_bytes()[:-30] if content is None else content)
    assert same(first, load_images(photos, 16)) and groupings == [12, 12]
    assert same(first, load_images(photos, 16)) and groupings == [12, 12]


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


def load(words: list[str]) -> int:
    print(len(load_images(words[0], 16).train))
    return 0


def load_slowly(words: list[str]) -> int:
    def slowly(paths: Sequence[Path], out: Path, form: decode.Format) -> list[decode.Unusable]:
        with (out.parent / "decodings").open("a") as file:
            file.write("x")
        wait_until((out.parent / "go").exists)
        return decode.decode(paths, out, form)

    cache.decode = slowly  # in a process of its own
    return load(words)


def test_one_of_two_processes_decodes_while_the_other_waits(photos: Path, cache_folder: Path) -> None:
    first = Command(load_slowly, [str(photos)])
    wait_until(lambda: any(cache_folder.glob(f"{photos.name}-*/decodings")))
    (folder,) = folders(cache_folder, photos)
    second = Command(load_slowly, [str(photos)])
    wait_until(lambda: second.shown(2))
    (folder / "go").touch()
    for process in (first, second):
        process.wait()
        assert (process.code, process.stdout) == (0, "10\n"), process.stderr
    assert second.stderr.startswith(f"waiting for another process that is decoding {photos} into {folder}\n")
    assert " decoding " not in first.stderr  # the second may be the first to look for duplicates
    assert (folder / "decodings").read_text() == "x"
    assert same(load_images(str(photos), 16), decoded_again(photos, cache_folder))


def hang(*_: object) -> None:
    print("here")
    time.sleep(600)


MOMENTS: dict[str, tuple[str, Callable[..., object]]] = {  # the function that is replaced, and by what
    "before decoding": ("decode", hang),
    "half-way": ("decode", lambda paths, out, form: hang(decode.decode(paths[:5], out, form))),
    "all decoded": ("decode", lambda paths, out, form: hang(decode.decode(paths, out, form))),
    "renamed": ("write_atomically", hang),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_run_after_a_killed_one_is_right(photos: Path, cache_folder: Path, moment: str) -> None:
    def load_and_hang(words: list[str]) -> int:
        setattr(cache, *MOMENTS[moment])  # in a process of its own
        return load(words)

    process = Command(load_and_hang, [str(photos)])
    wait_until(lambda: process.shown(1) == "here\n")
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait().code == -signal.SIGKILL
    after = load_images(str(photos), 16)
    (folder,) = folders(cache_folder, photos)
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "duplicates.npz", "index.json", "pixels.u8"]
    assert same(after, decoded_again(photos, cache_folder))


def test_rows_may_be_in_any_order() -> None:
    pixels = np.arange(6, dtype=np.uint8)[:, None, None, None]
    rows = ImageRows(pixels, np.array([4, 2, 0]))
    assert rows.shape == (3, 1, 1, 1) and rows.nbytes == 3
    assert rows[:].flatten().tolist() == [4, 2, 0]
    assert rows[torch.tensor([2, 0])].flatten().tolist() == [0, 4]
    assert rows.select(np.array([False, True, True]))[:].flatten().tolist() == [2, 0]
