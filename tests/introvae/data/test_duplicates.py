"""Near duplicates: changes that leave a picture the same are seen through, and different pictures stay apart."""

import numpy as np
import pytest
import torch
from duplicates import CHANGES, to_image, to_pixels
from torch import Tensor

from introvae.data import duplicates
from introvae.data.duplicates import group_duplicates
from introvae.data.image_set import ImageSet, load_images


@pytest.fixture(scope="module")
def people() -> Tensor:
    """One photograph of each person of ORL at 64 px."""
    return load_images("orl-faces", 64).validation[::2]


def same(groups: np.ndarray) -> list[bool]:
    """Tell for each image of the first half whether it is in one group with that of the second half."""
    one, other = np.split(groups, 2)
    return [bool(found) for found in one == other]


SLIGHT = [name for name in CHANGES if name not in ("cropped by 4 px at the top and left", "30% brighter")]


@pytest.mark.parametrize("change", SLIGHT)
def test_a_slight_change_is_seen_through(people: Tensor, change: str) -> None:
    changed = to_pixels([CHANGES[change](to_image(pixels)) for pixels in people], people)
    assert not torch.equal(changed, people)
    groups = group_duplicates([people, changed])
    assert all(same(groups)) and len(set(groups)) == len(people)


def test_different_people_are_different_pictures(people: Tensor) -> None:
    assert group_duplicates([people]).tolist() == list(range(40))
    assert group_duplicates([people.expand(-1, 3, -1, -1)]).tolist() == list(range(40))


@pytest.mark.parametrize("size", [16, 33])
def test_other_sizes_are_compared_alike(size: int) -> None:
    people = load_images("orl-faces", size).validation[::2]
    groups = group_duplicates([people, people.flip(-1), (people * 0.9).byte()])
    assert groups.tolist() == [*range(40)] * 3


def test_a_duplicate_of_a_duplicate_is_one_too(people: Tensor) -> None:
    """Each picture of a chain is a little darker at the left; the ends are not duplicates, but through the others."""
    shade = torch.linspace(-1, 1, 64)
    chain = torch.stack([people[0].float() * (1 + 0.35 * step * shade) for step in (0, 0.5, 1, 1.5, 2)])
    chain = (chain / 2).clamp(0, 255).byte()
    assert group_duplicates([chain]).tolist() == [0] * 5
    assert group_duplicates([chain[[0, 4]]]).tolist() == [0, 1]


def test_flat_images_are_the_same_only_if_they_are_equal() -> None:
    flat = torch.tensor([0, 10, 10, 255, 0], dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 32, 32)
    assert group_duplicates([flat]).tolist() == [0, 1, 1, 3, 0]
    assert group_duplicates([flat[:0], flat[:1]]).tolist() == [0]


def test_parts_of_any_number_give_the_same_groups(people: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.cat([people, people.flip(-1), people.roll(1, -1)])
    groups = group_duplicates([images])
    assert groups.tolist() == [*range(40)] * 3
    for name, size in (("ROWS", 7), ("OTHERS", 11), ("PAIRS", 3)):
        monkeypatch.setattr(duplicates, name, size)
    assert np.array_equal(group_duplicates([images]), groups)
    assert np.array_equal(group_duplicates(images.split([1, 50, 69])), groups)


@pytest.mark.slow
def test_a_kind_of_picture_is_not_one_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """The digit 1 looks alike in many hands; copies stay together."""
    ones = load_images("mnist-5k", 28).train[400:600]
    images = torch.cat([ones, ones[:20].flip(-1)])
    monkeypatch.setattr(duplicates, "LARGEST", len(images))
    assert np.bincount(group_duplicates([images])).max() > 150
    monkeypatch.undo()
    groups = group_duplicates([images])
    assert np.bincount(groups).max() <= 50
    assert np.array_equal(groups[:20], groups[200:])


def test_copies_by_the_hundred_stay_together(people: Tensor) -> None:
    copies = people[:1].float() * torch.linspace(0.8, 1, 200)[:, None, None, None]
    assert set(group_duplicates([copies.byte(), people[1:2]])) == {0, 200}


def test_what_takes_long_is_said_once(
    faces: ImageSet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(duplicates, "ROWS", 100)
    group_duplicates([faces.train])
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(duplicates, "QUIET", 0)
    group_duplicates([faces.train])
    assert capsys.readouterr().err == "looking for duplicates among 240 images\n"
