"""Archives and arrays hold the images that a folder of the same ones would, or are refused with the reason."""

import io
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from introvae.data import containers
from introvae.data.image_set import ImageSet, load_images
from introvae.errors import UserError

COUNT, SIDE = 12, 16
NOISE = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE, 3), np.uint8)


def pixels(images: ImageSet) -> np.ndarray:
    """Return the pixels of all images, channels last, in an order of their own."""
    whole = torch.cat([part[:] for part in (images.train, images.validation, images.test)]).numpy()
    return np.array(sorted(whole.transpose(0, 2, 3, 1), key=lambda image: image.tobytes()))


def ordered(images: np.ndarray) -> np.ndarray:
    return np.array(sorted(images, key=lambda image: image.tobytes()))


GRAY = NOISE[..., 0]
ARRAYS = {
    "uint8, channels last": (NOISE, NOISE),
    "uint8, channels first": (NOISE.transpose(0, 3, 1, 2), NOISE),
    "gray": (GRAY, GRAY[..., None]),
    "gray with a channel": (GRAY[..., None], GRAY[..., None]),
    "floats": ((NOISE / 255).astype(np.float32), NOISE),
    "12 of 16 bits": (GRAY.astype(np.uint16) * 16, np.rint(GRAY * (16 / 4095 * 255)).astype(np.uint8)[..., None]),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_an_array_s_images_are_those_of_a_folder(tmp_path: Path, name: str, suffix: str) -> None:
    array, expected = ARRAYS[name]
    path = tmp_path / f"faces.{suffix}"
    if suffix == "npy":
        np.save(path, array)
    else:
        np.savez(path, images=array, labels=np.arange(COUNT))
    found = load_images(path, SIDE)
    assert found.name == "faces" and np.array_equal(pixels(found), ordered(expected))


def test_an_archive_is_unpacked_once_and_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[Path] = []

    def counted(path: Path, folder: Path, number: int) -> None:
        times.append(path)
        containers.unpack_zip(path, folder, number)

    monkeypatch.setitem(containers.UNPACK, ".zip", counted)
    np.save(tmp_path / "faces.npy", NOISE)
    files = sorted(containers.unpacked(tmp_path / "faces.npy").iterdir())
    path = tmp_path / "faces.zip"
    for count in (8, COUNT):
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(files[0], "../../outside.png")
            for number, file in enumerate(files[1:count]):
                archive.write(file, f"{number % 3}/{file.name}")
            archive.writestr("__MACOSX/._a.png", "no image")
        for _ in range(2):
            assert np.array_equal(pixels(load_images(path, SIDE)), ordered(NOISE[:count]))
    assert times == [path, path] and not list(tmp_path.rglob("outside.png"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.zip", b"no archive", "a.zip cannot be unpacked: File is not a zip file; or give a folder of images"),
        ("a.npy", b"no array", "it is damaged, or holds Python objects; save an array of numbers"),
        (
            "a.tar",
            b"",
            r"a.tar is an archive that is no zip; unpack it; --data takes a folder of images, or one of .zip, .npz,",
        ),
        ("a.npy", NOISE[0, 0], r"its array is \(16, 3\); images are \(N, H, W\)"),
        ("a.npy", NOISE.transpose(0, 3, 1, 2)[:, :2], r"its array is \(12, 2, 16, 16\)"),
        ("a.npy", NOISE.astype(np.int64), "its values are int64; they are uint8, float"),
        ("a.npy", NOISE.astype(np.uint16), "its values are uint16; they are uint8, float"),
        ("a.npy", NOISE.astype(np.float32), "values of image 0 run from 0 to 255; floats are in"),
        ("a.npy", np.array([{}]), "it is damaged, or holds Python objects; save an array of numbers"),
        ("a.npy", NOISE[..., [0, 1, 2, 2]], r"its array is \(12, 16, 16, 4\)"),
        ("a.npz", {"a": GRAY, "b": GRAY}, r"it holds 2 arrays of images \(a, b\); save one by numpy.save"),
        ("a.npz", {"a": np.arange(3)}, r"it holds 0 arrays of images"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, name: str, content: Any, message: str) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        np.savez(path, **content)
    else:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(UserError, match=message):
        load_images(path, SIDE)
    assert not list(tmp_path.rglob("*.part"))


def encoded(image: np.ndarray, kind: str = "png") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["image", "plain", "folder"])
def test_a_table_s_images_are_those_of_a_folder(tmp_path: Path, form: str) -> None:
    """In Hugging Face's form, as a column of bytes, and as a folder of several tables."""
    values: list[Any] = [encoded(image) for image in NOISE]
    if form == "image":
        values = [{"bytes": value, "path": f"{row}.png"} for row, value in enumerate(values)]
    name = "jpg" if form == "plain" else "image"
    table = pa.table({name: values, "label": list(range(COUNT))})
    path = tmp_path / "faces.parquet"
    if form == "folder":
        path = tmp_path / "faces"
        (path / "data").mkdir(parents=True)
        for part in range(2):
            parquet.write_table(table.slice(part * 6, 6), path / "data" / f"all-0000{part}-of-00002.parquet")
    else:
        parquet.write_table(table, path, row_group_size=5)
    found = load_images(path, SIDE)
    assert found.name == "faces" and np.array_equal(pixels(found), ordered(NOISE))


def test_tables_of_parts_are_taken_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    for name, part in (("train", NOISE[:7]), ("validation", NOISE[7:9]), ("test", NOISE[9:])):
        table = pa.table({"image": [encoded(image) for image in part]})
        parquet.write_table(table, folder / f"{name}-00000-of-00001.parquet")
    found = load_images(folder, SIDE)
    assert [len(part) for part in (found.train, found.validation, found.test)] == [7, 2, 3]
    assert np.array_equal(ordered(found.test[:].numpy().transpose(0, 2, 3, 1)), ordered(NOISE[9:]))
    assert "train for training, validation for validation, test for test" in capsys.readouterr().err


def test_an_array_of_one_image_is_no_set_of_its_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "photo.npy", np.zeros((64, 48, 3), np.uint8))
    with pytest.raises(UserError, match=r"its array is \(64, 48, 3\); images are \(N, H, W\), \(N, H, W, C\) or"):
        load_images(tmp_path / "photo.npy", SIDE, fit="pad")


def test_a_table_beside_images_is_no_data(tmp_path: Path) -> None:
    for number, image in enumerate(NOISE):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    parquet.write_table(pa.table({"text": ["a caption"] * COUNT}), tmp_path / "metadata.parquet")
    assert np.array_equal(pixels(load_images(tmp_path, SIDE)), ordered(NOISE))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["a"]}, r"a.parquet cannot be unpacked: it has no column image of bytes, but text \(string\)"),
        ({"one": [b"a"], "other": [b"b"]}, r"it has no column image of bytes, but one \(binary\), other \(binary\)"),
        ({"image": [encoded(NOISE[0]), None]}, "1 of 2 images are unusable, .*00000-00000001.png is no image"),
        (
            {"image": [{"bytes": None, "path": "a.png"}] * 3},
            "the column image of a.parquet has no bytes; write the images",
        ),
    ],
)
def test_a_table_without_images_is_refused(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=message):
        load_images(tmp_path / "a.parquet", SIDE)


def test_tables_of_one_name_in_several_folders_are_all_taken(tmp_path: Path) -> None:
    for place, rows in (("en", NOISE[:5]), ("fr", NOISE[5:]), (".hidden", NOISE[:1] + 1)):
        (tmp_path / "set" / place).mkdir(parents=True)
        table = pa.table({"image": pa.array([encoded(image) for image in rows]).dictionary_encode()})
        parquet.write_table(table, tmp_path / "set" / place / "train-00000-of-00001.parquet")
    (tmp_path / "set" / "en" / "._train-00000-of-00001.parquet").write_bytes(b"of a Mac")
    assert np.array_equal(pixels(load_images(tmp_path / "set", SIDE)), ordered(NOISE))


@pytest.mark.parametrize("form", ["{}.parquet", "{}-00000-of-00001.parquet", "{}/0000.parquet"])
def test_parts_are_told_by_the_names_of_tables_or_folders(tmp_path: Path, form: str) -> None:
    for name, rows in (("train", NOISE[:9]), ("test", NOISE[9:])):
        path = tmp_path / "set" / form.format(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table({"image": [encoded(image) for image in rows]}), path)
    found = load_images(tmp_path / "set", SIDE)
    assert np.array_equal(ordered(found.test[:].numpy().transpose(0, 2, 3, 1)), ordered(NOISE[9:]))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.mp4", "is a video; write its frames with ffmpeg -i VIDEO FOLDER/%06d.png; --data takes a folder"),
        ("a.mdb", "is a database; write its values to image files; --data takes"),
        ("a.h5", "is an HDF5 file; write its array of images with numpy.save; --data takes"),
        ("a.tar.gz", "is an archive that is no zip; unpack it; --data takes"),
        ("a.txt", "is a file; --data takes"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_what_to_do(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(UserError, match=re.escape(f"{name} {message}")):
        load_images(tmp_path / name, SIDE)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"notes.txt": b"none"}, "the folder {archive} holds no images"),
        ({f"{number}.png": b"cut off" for number in range(4)}, "unusable, more than 1%: {archive}/0.png "),
    ],
)
def test_what_is_wrong_with_the_content_of_an_archive_is_said_of_the_archive(
    content: dict[str, bytes], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    with pytest.raises(UserError, match=re.escape(said.format(archive=path))):
        load_images(path, 16)


def packed(path: Path, files: list[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of names that are there
        for name, content in files:
            archive.writestr(name, content)
    return path


def test_members_of_one_name_are_all_taken(tmp_path: Path) -> None:
    names = ["a.png"] * 5 + ["../a.png", "/a.png", "./a.png", "a-1.png", "a-1-2.png", "a/a.png", "b/../a.png"]
    path = packed(tmp_path / "faces.zip", [(name, encoded(image)) for name, image in zip(names, NOISE, strict=True)])
    assert np.array_equal(pixels(load_images(path, SIDE)), ordered(NOISE))


def test_what_is_said_of_an_archive_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The parts lie in a folder of its own, as archives often have them."""
    noise = np.random.default_rng(1).integers(0, 256, (300, SIDE, SIDE), np.uint8)
    files = [(f"faces/{'Train' if n < 280 else 'Test'}/{n}.png", encoded(image)) for n, image in enumerate(noise)]
    files += [("faces/Train/torn.png", b"torn"), ("faces/Train/copy.png", files[-1][1])]
    path = packed(tmp_path / "faces.zip", files)
    images = load_images(path, SIDE)
    assert [len(images.train) + len(images.validation), len(images.test)] == [280, 20]
    assert capsys.readouterr().err.splitlines() == [
        f"taking the folders of {path}/faces as they are named: Train for training, Test for test",
        f"skipped: {path}/faces/Train/torn.png is no image that Pillow can read",
        f"1 of 281 images in {path}/faces/Train are left out, as near duplicates of test images",
    ]


@pytest.mark.parametrize("suffix", ["m4v", "mpeg", "flv", "wmv"])
def test_every_video_is_refused_as_one(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.{suffix}").touch()
    with pytest.raises(UserError, match="is a video; write its frames with ffmpeg"):
        load_images(tmp_path / f"a.{suffix}", SIDE)


def test_a_table_that_is_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"cannot read .*a.parquet: No such file or directory; make it readable"):
        load_images(tmp_path, SIDE)


def test_long_names_of_any_letters_fit_the_cache(tmp_path: Path) -> None:
    """A file system takes 255 bytes; these letters have three each."""
    long = "臉" * 84
    path = packed(tmp_path / f"{long[:80]}.zip", [(f"{n}.png", encoded(image)) for n, image in enumerate(NOISE)])
    (tmp_path / long).mkdir()
    for number, image in enumerate(NOISE):
        Image.fromarray(image).save(tmp_path / long / f"{number}.png")
    assert np.array_equal(pixels(load_images(path, SIDE)), pixels(load_images(tmp_path / long, SIDE)))
