"""Copies among images, and of training images among samples."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from helpers import blurred, noisy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from spoiling import jpeg

from analysis.measures.copies import copied_samples, distinct
from introvae.data.image_set import ImageSet, load_images, to_float

Change = Callable[[torch.Tensor], torch.Tensor]
CHANGES = {
    "nothing": lambda x: x,
    "mirrored": lambda x: x.flip(-1),
    "JPEG 90": lambda x: jpeg(x, 90, torch.Generator()),
    "mirrored, JPEG 90": lambda x: jpeg(x.flip(-1), 90, torch.Generator()),
    "slight noise": lambda x: noisy(x, 0.01),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize(("size", "channels"), [(32, 1), (64, 3)])
def test_copies_of_training_images_are_counted(change: Change, size: int, channels: int) -> None:
    data = load_images("orl-faces", size, channels)
    train, others = to_float(data.train[::6]), to_float(data.validation[::2])
    assert copied_samples(change(train), data.train) == 1
    assert copied_samples(torch.cat([change(train[:8]), others[8:]]), data.train) == 0.2


@pytest.mark.parametrize("size", [16, 32, 64])
def test_no_other_photograph_of_a_person_is_a_copy(size: int) -> None:
    data = load_images("orl-faces", size)
    for change in CHANGES.values():
        assert copied_samples(change(to_float(data.validation[:])), data.train) == 0
    assert distinct(to_float(torch.cat([data.train[:], data.validation[:], data.test[:]]))).all()


def test_samples_that_resemble_training_images_are_no_copies(faces: ImageSet) -> None:
    train = to_float(faces.train[:])
    for samples in (blurred(train, 1), noisy(train, 0.1), train.roll(1, -1), train.flip(-2), (train + train[0]) / 2):
        assert copied_samples(samples, faces.train) <= 1 / len(train)


def test_textures_of_one_brightness_are_no_copies() -> None:
    """Averaged to 16 px they hardly differ; their pixels do."""
    g = torch.Generator().manual_seed(0)
    fine = torch.randint(2, (20, 1, 128, 128), generator=g, dtype=torch.uint8) * 40 + 100
    assert distinct(to_float(fine)).all()
    assert copied_samples(to_float(fine[:10]), fine[10:]) == 0
    assert copied_samples(to_float(fine[:10]), fine) == 1


def test_pictures_that_differ_in_color_alone_are_no_copies() -> None:
    red = torch.zeros(1, 3, 32, 32)
    red[:, 0] = 0.6
    assert distinct(torch.cat([red, red.roll(1, 1), red.roll(2, 1)])).all()


def test_the_first_of_some_copies_is_kept(real: torch.Tensor) -> None:
    a, b, c = real[:3]
    images = torch.stack([a, b, a, b.flip(-1), c, a.flip(-1)])
    assert distinct(images).tolist() == [True, True, False, False, True, False]
    assert distinct(images[:1]).tolist() == [True]
    assert distinct(torch.full((4, 1, 16, 16), 0.5)).tolist() == [True, False, False, False]


def test_training_images_in_several_parts_give_the_same(faces: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = torch.cat([to_float(faces.train[::5]), to_float(faces.validation[:16])])
    assert copied_samples(samples, faces.train) == 0.75
    monkeypatch.setattr("analysis.measures.copies.CHUNK", 100)
    monkeypatch.setattr("analysis.measures.copies.PAIRS", 7)
    assert copied_samples(samples, faces.train) == 0.75


@given(hnp.arrays(np.uint8, (4, 3, 16, 16)), st.integers(0, 3))
def test_training_images_are_copies_of_themselves(images: np.ndarray, index: int) -> None:
    pixels = torch.from_numpy(images)
    assert copied_samples(to_float(pixels[[index]]).flip(-1), pixels) == 1
    assert not distinct(torch.cat([to_float(pixels), to_float(pixels)]))[4:].any()
