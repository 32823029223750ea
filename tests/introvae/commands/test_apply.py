"""introvae-apply: images of one's own are reconstructed, encoded and interpolated as the Python API does it."""

import struct
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import CPU, exit_code, save_image, tiny_config
from permissions import bound_by_permissions
from PIL import Image

from introvae.commands.apply import main
from introvae.commands.sample import main as sample
from introvae.data.image_set import load_images, to_float
from introvae.data.search import image_files
from introvae.files import OUTPUT
from introvae.training.state import load_run
from introvae.training.trainer import Trainer


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photographs of other sizes than the run's."""
    for index in range(3):
        save_image(tmp_path / "photos" / f"{index}.png", (20 + index, 17), "RGB", index)
    return tmp_path / "photos"


def deep_png() -> bytes:
    """Make a PNG of 16 x 16 pixels with 16 bits for each of its colors, which Pillow cannot write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    rows = zlib.compress((b"\0" + bytes(6 * 16)) * 16)
    head = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def opened(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_reconstructions(trained: Trainer, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "made"
    assert exit_code(main, ["reconstruct", str(trained.folder), str(photos), "--out", str(out)]) == 0
    assert f"3 reconstructions: {out}, below" in capsys.readouterr().out
    with Image.open(photos / "1.png") as image:
        expected = load_run(trained.folder).reconstruct(image)[0, 0]
    assert np.abs(opened(out / "1-1.png") - expected.numpy() * 255).max() <= 0.51
    assert {path.name for path in out.iterdir()} == {OUTPUT, "0-0.png", "1-1.png", "2-2.png", "sheet.png"}


def test_reconstructions_and_samples_are_no_data(
    trained: Trainer, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even where they are written below the images, and twice; beside or above images they are not written."""
    before = len(image_files({"data": photos})["data"][1])
    for _ in range(2):
        assert exit_code(main, ["reconstruct", str(trained.folder), str(photos), "--out", str(photos / "made")]) == 0
        assert exit_code(sample, [str(trained.folder), "--n", "4", "--out", str(photos / "drawn")]) == 0
    assert len(image_files({"data": photos})["data"][1]) == before
    capsys.readouterr()
    for out in (photos, photos.parent):
        assert exit_code(sample, [str(trained.folder), "--n", "4", "--out", str(out)]) == 2
        assert capsys.readouterr().err == f"introvae-sample: {out} holds images already; choose another --out\n"
    assert len(image_files({"data": photos.parent})["data"][1]) == before


def test_results_of_earlier_calls_are_counted(
    trained: Trainer, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "made"), "--device", "cpu"]
    for argv in (["reconstruct", str(photos)], ["interpolate", str(photos / "0.png"), str(photos / "1.png")]):
        for _ in range(2):  # which writes the same names
            assert exit_code(main, [argv[0], str(trained.folder), *argv[1:], *out]) == 0
    said = f"{tmp_path}/made also holds pictures of earlier calls ({{}}); remove it to have none\n"
    assert capsys.readouterr().err == said.format(3) * 2
    assert exit_code(sample, [str(trained.folder), "--n", "4", *out]) == 0
    assert capsys.readouterr().err == said.format(3 + 9)


def test_a_long_name_of_an_image_is_cut(trained: Trainer, tmp_path: Path) -> None:
    """A file system takes 255 bytes; these letters have three each."""
    save_image(tmp_path / f"{'臉' * 80}.png", (16, 16), "L")
    flags = ["--out", str(tmp_path / "made"), "--device", "cpu"]
    assert exit_code(main, ["reconstruct", str(trained.folder), str(tmp_path), *flags]) == 0
    assert (tmp_path / "made" / f"0-{'臉' * 40}.png").is_file()


def test_one_is_counted_as_one(
    trained: Trainer, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, image, out = str(trained.folder), str(photos / "0.png"), ["--out", str(tmp_path / "made"), "--device", "cpu"]
    for main_of, words, said in (
        (sample, [run, "--n", "1"], "1 sample: "),
        (main, ["encode", run, image], "1 image: mu and logvar "),
        (main, ["reconstruct", run, image], "1 reconstruction: "),
    ):
        assert exit_code(main_of, [*words, *out]) == 0
        assert capsys.readouterr().out.startswith(said)


def test_latents(trained: Trainer, photos: Path, tmp_path: Path) -> None:
    files = [str(photos / f"{index}.png") for index in (2, 0)]
    assert exit_code(main, ["encode", str(trained.folder), *files, "--out", str(tmp_path)]) == 0
    with np.load(tmp_path / "latents.npz") as found:
        assert found["files"].tolist() == files
        images = [Image.open(file) for file in files]
        for name, value in zip(("mu", "logvar"), load_run(trained.folder).encode(images), strict=True):
            torch.testing.assert_close(torch.from_numpy(found[name]), value)


def test_an_interpolation_goes_from_one_reconstruction_to_the_other(
    trained: Trainer, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ends = [str(photos / "0.png"), str(photos / "1.png")]
    assert exit_code(main, ["interpolate", str(trained.folder), *ends, "--n", "5"]) == 0
    assert exit_code(main, ["reconstruct", str(trained.folder), *ends]) == 0
    row = [opened(Path(f"interpolate/00{index}.png")).astype(int) for index in range(5)]
    for end, name in ((row[0], "0-0"), (row[4], "1-1")):
        assert np.abs(end - opened(Path(f"reconstruct/{name}.png"))).max() <= 1
    assert all((first != second).any() for first, second in pairwise(row))


def test_images_of_more_than_8_bits_are_read_as_those_of_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deep = tmp_path / "deep"
    deep.mkdir()
    for index in range(12):
        values = np.random.default_rng(index).integers(0, 4000, (16, 16), dtype=np.uint16)
        Image.fromarray(values).save(deep / f"{index:02}.tif")
    images = load_images(deep, 16)
    trainer = Trainer(tiny_config(steps=8), images, tmp_path / "run", CPU)
    trainer.run()
    assert exit_code(main, ["encode", str(tmp_path / "run"), str(deep), "--out", str(tmp_path / "made")]) == 0
    with np.load(tmp_path / "made" / "latents.npz") as found:
        mu = torch.from_numpy(found["mu"])
    expected = load_run(tmp_path / "run").encode(to_float(images.train[:]))[0]
    assert torch.cdist(expected, mu).min(1).values.max() < 1e-5  # each training image is among them

    Image.fromarray(np.full((16, 16), 5000, np.uint16)).save(deep / "brighter.tif")
    assert exit_code(main, ["encode", str(tmp_path / "run"), str(deep / "brighter.tif")]) == 2
    assert "holds values from 5000 to 5000; whole numbers are from 0 to white, 4095 here" in capsys.readouterr().err


def test_no_image_that_is_read_is_written_over(
    trained: Trainer, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["interpolate", str(trained.folder), str(photos / "0.png"), str(photos / "1.png"), "--out", str(photos)]
    before = {path: path.read_bytes() for path in photos.iterdir()}
    assert exit_code(main, words) == 2
    assert "holds images that are read; choose another --out" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in photos.iterdir()}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["interpolate", "RUN", "photos/0.png"], "interpolate takes two images and --n 2 or more, not 1 and 9"),
        (["encode", "RUN", "photos/none.png"], "there is no image file photos/none.png"),
        (["encode", "RUN", "photos/text.png"], "cannot read photos/text.png: no image"),
        (["encode", "RUN", "photos/deep.png"], "cannot read photos/deep.png: has 16 bits for each of its 3 channels"),
        (["encode", "photos", "photos/0.png"], "photos"),
        (["encode", "RUN", "empty"], "the folder empty holds no images"),
    ],
)
def test_nonsense_is_refused_in_one_line(
    words: list[str],
    message: str,
    trained: Trainer,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(photos.parent)
    (photos / "text.png").write_text("no image")
    (photos / "deep.png").write_bytes(deep_png())
    Path("empty").mkdir()
    assert exit_code(main, [str(trained.folder) if word == "RUN" else word for word in words]) == 2
    shown = capsys.readouterr().err
    assert not Path(words[0]).exists()
    assert message in shown and len(shown.strip().splitlines()) == 1 and shown.startswith("introvae-apply: ")


def test_an_image_that_may_not_be_read_is_refused_without_the_system_s_numbers(
    trained: Trainer, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = photos / "0.png"
    image.chmod(0)
    with bound_by_permissions():
        assert exit_code(main, ["encode", str(trained.folder), str(image), "--device", "cpu"]) == 2
    assert capsys.readouterr().err == f"introvae-apply: cannot read {image}: Permission denied\n"
