"""Folders of images: which images are used, and how they are split into training, validation and test images."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import save_image
from noise import fill, pixels, sizes, whole
from PIL import Image

from introvae.data.image_set import load_images
from introvae.errors import UserError


def holds(images: torch.Tensor, path: Path) -> bool:
    """Tell whether an image of noise, or nearly the same one, is among 24 px images."""
    wanted = pixels(path).ravel().astype(float)
    return any(abs(np.corrcoef(image.numpy().ravel(), wanted)[0, 1]) > 0.5 for image in images)


def test_a_folder_is_searched_cropped_and_split(tmp_path: Path) -> None:
    for index in range(20):
        save_image(tmp_path / f"{index % 3}" / f"{index}.png", (40, 30), seed=index)
    (tmp_path / "notes.txt").write_text("no image")
    images = load_images(str(tmp_path), 20)
    assert images.train.shape == (16, 3, 20, 20)
    assert images.validation.shape == images.test.shape == (2, 3, 20, 20)
    again = load_images(str(tmp_path), 20)
    other = load_images(str(tmp_path), 20, seed=1)
    assert torch.equal(images.validation[:], again.validation[:]) and torch.equal(images.test[:], again.test[:])
    assert not torch.equal(images.validation[:], other.validation[:])
    assert len({image.numpy().tobytes() for image in whole(images)}) == 20


def test_the_center_is_kept(tmp_path: Path) -> None:
    for index, value in enumerate((100, 150, 200)):
        picture = np.zeros((20, 60), np.uint8)
        picture[:, 20:40] = value
        Image.fromarray(picture).save(tmp_path / f"{index}.png")
    images = load_images(str(tmp_path), 20)
    assert images.channels == 1
    assert sorted((image.min().item(), image.max().item()) for image in whole(images)) == [
        (100, 100), (150, 150), (200, 200),
    ]  # fmt: skip


def test_gray_and_color(tmp_path: Path) -> None:
    for index in range(3):
        save_image(tmp_path / f"{index}.png", (20, 20), "L", index)
    assert load_images(str(tmp_path), 16).channels == 1
    assert load_images(str(tmp_path), 16, channels=3).channels == 3
    save_image(tmp_path / "3.png", (20, 20), "RGB", 3)
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
    gray, _, rotated = sorted(whole(load_images(str(tmp_path), 20)), key=lambda image: image.float().std().item())
    assert (gray == 0x80).all()
    assert rotated[0, 2, :].max() == 0 and rotated[0, 17, :].min() == 255


def test_a_broken_image_is_named_and_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path, 150)
    (tmp_path / "torn.png").write_bytes((tmp_path / "000.png").read_bytes()[:100])
    assert sum(sizes(load_images(str(tmp_path), 16))) == 150
    assert f"skipped: {tmp_path / 'torn.png'}" in capsys.readouterr().err


def broken(folder: Path) -> None:
    fill(folder, 20)
    (folder / "x.jpg").write_text("no image")


def small(folder: Path) -> None:
    save_image(folder / "a.png", (16, 12))
    save_image(folder / "b.png", (16, 16))


def alike(folder: Path) -> None:
    """Two pictures, one of them in many copies."""
    fill(folder, 2)
    for index in range(9):
        Image.open(folder / "000.png").resize((32 + index, 32 + index)).save(folder / f"copy{index}.jpg")


@pytest.mark.parametrize(
    ("fill_folder", "message"),
    [
        (broken, "1 of 21 images are unusable, more than 1%: .*x.jpg is no image that Pillow can read"),
        (small, "1 of 2 images are unusable.*is 16x12, smaller than 16 px.*--image-size"),
        (lambda folder: None, "holds no images"),
        (lambda folder: fill(folder, 2), "holds 2 different usable images, .*; at least 3 are needed"),
        (alike, "holds 2 different usable images, near duplicates counted as one; at least 3 are needed"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(
    tmp_path: Path, fill_folder: Callable[[Path], object], message: str
) -> None:
    fill_folder(tmp_path)
    with pytest.raises(UserError, match=message):
        load_images(str(tmp_path), 16)


def test_a_missing_folder_is_refused() -> None:
    message = r"there is no folder nowhere; --data takes orl-faces, mnist-5k, .*celeba:ROOT, or a path to images"
    with pytest.raises(UserError, match=message):
        load_images("nowhere", 16)


def copies(root: Path, count: int = 40) -> Path:
    """Write pictures twice, the second time mirrored or as a JPEG file."""
    fill(root, count)
    for index in range(count):
        picture = Image.open(root / f"{index:03d}.png")
        if index % 2:
            picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / f"mirrored{index:03d}.png")
        else:
            picture.save(root / f"again{index:03d}.jpg", quality=90)
    return root


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_picture_is_on_two_sides(tmp_path: Path, seed: int) -> None:
    images = load_images(copies(tmp_path), 24, seed=seed)
    assert sizes(images) == (64, 8, 8)
    for path in sorted(tmp_path.glob("0*.png")):
        picture = pixels(path)
        here = []
        for part in (images.train, images.validation, images.test):
            flat = part[:].flatten(1).double()
            for one in (picture, picture[:, ::-1]):
                both = torch.cat([torch.from_numpy(one.copy()).double().view(1, -1), flat])
                here.append(int((torch.corrcoef(both)[0, 1:] > 0.9).sum()))
        assert sorted(a + b for a, b in zip(here[::2], here[1::2], strict=True)) == [0, 0, 2], path


def test_the_split_does_not_depend_on_the_order_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = load_images(copies(tmp_path), 24)
    found = Path.rglob

    def backwards(self: Path, pattern: str) -> list[Path]:
        return sorted(found(self, pattern), reverse=True)

    monkeypatch.setattr(Path, "rglob", backwards)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # nothing of it is there yet
    assert torch.equal(whole(load_images(tmp_path, 24)), whole(images))


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([1, 1, 28], (28, 1, 1)),
        ([5, 6, 19], (19, 5, 6)),
        ([10, 10, 10], (10, 10, 10)),
        ([1] * 9 + [20], (23, 3, 3)),
        ([1, 1, 1], (1, 1, 1)),
    ],
)
def test_groups_of_any_size_leave_no_set_empty(tmp_path: Path, groups: list[int], expected: tuple[int, ...]) -> None:
    """A group as large as the validation set may be is not the validation set."""
    for picture, count in enumerate(groups):
        for copy in range(count):
            save_image(tmp_path / f"{picture}-{copy}.png", (24, 24), "L", picture)
    for seed in range(5):
        assert sizes(load_images(tmp_path, 24, seed=seed)) == expected


def test_given_folders_take_the_place_of_a_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, validation, test = (fill(tmp_path / name, count, first) for name, count, first in
                              (("data", 30, 0), ("validation", 7, 100), ("test", 5, 200)))  # fmt: skip
    one = load_images(data, 24, validation=validation)
    assert sizes(one) == (27, 7, 3) and holds(one.validation[:], validation / "100.png")
    other = load_images(data, 24, test=str(test))
    assert sizes(other) == (27, 3, 5) and holds(other.test[:], test / "200.png")
    both = load_images(data, 24, validation=validation, test=test)
    assert sizes(both) == (30, 7, 5)
    assert torch.equal(
        load_images(data, 24, validation=validation, test=test, seed=1).validation[:], both.validation[:]
    )
    assert capsys.readouterr().err == ""


def test_a_given_folder_inside_the_data_is_not_trained_on(tmp_path: Path) -> None:
    fill(tmp_path / "data", 20)
    inside = fill(tmp_path / "data" / "held" / "out", 4, 100)
    images = load_images(tmp_path / "data", 24, validation=inside, test=fill(tmp_path / "test", 3, 200))
    assert sizes(images) == (20, 4, 3)
    assert not any(holds(images.train[:], path) for path in inside.glob("*.png"))


def copied(data: Path, folder: Path, numbers: range) -> None:
    for index in numbers:
        Image.open(data / f"{index:03d}.png").save(folder / f"{index}.jpg", quality=90)


@pytest.mark.parametrize("named", [False, True])
def test_near_duplicates_of_given_images_are_left_out(
    tmp_path: Path, named: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Duplicates of validation images are not trained on, and those of test images are in neither other set."""
    data, validation, test = (fill(tmp_path / name, count, first) for name, count, first in
                              (("train", 30, 0), ("val", 7, 100), ("test", 5, 200)))  # fmt: skip
    copied(data, validation, range(3))
    copied(data, test, range(3, 5))
    shutil.copy(validation / "100.png", test)
    images = load_images(tmp_path, 24) if named else load_images(data, 24, validation=validation, test=test)
    assert sizes(images) == (25, 9, 8)
    assert not any(holds(images.train[:], data / f"{index:03d}.png") for index in range(5))
    assert not holds(images.validation[:], test / "100.png")
    said = capsys.readouterr().err.splitlines()[-2:]
    assert said == [
        f"1 of 10 images in {validation} are left out, as near duplicates of test images",
        f"5 of 30 images in {data} are left out, as near duplicates of validation or test images",
    ]


def test_near_duplicates_of_given_images_are_in_no_draw(tmp_path: Path) -> None:
    data, test = fill(tmp_path / "data", 12), fill(tmp_path / "test", 1, 200)
    copied(data, test, range(10))
    fill(data, 2, 300)
    assert sizes(load_images(data, 24, test=test)) == (3, 1, 11)


def test_folders_of_the_same_pictures_are_refused(tmp_path: Path) -> None:
    data, test = fill(tmp_path / "data", 5), fill(tmp_path / "test", 5)
    message = f"all images in {data} are near duplicates of test images; give other images by --data"
    with pytest.raises(UserError, match=re.escape(message)):
        load_images(data, 24, test=test)


def test_color_in_one_folder_is_color_in_all(tmp_path: Path) -> None:
    data = fill(tmp_path / "data", 10)
    for index in range(2):
        save_image(tmp_path / "test" / f"{index}.png", (24, 24), "RGB", 50 + index)
    images = load_images(data, 24, test=tmp_path / "test")
    assert [part.shape[1] for part in (images.train, images.validation, images.test)] == [3, 3, 3]
    assert load_images(data, 24, channels=1, test=tmp_path / "test").test.shape[1] == 1


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({"validation": "nowhere"}, r"there is no folder .*nowhere; --validation takes a folder of images"),
        ({"test": "empty"}, "the folder .*empty holds no images"),
        ({"validation": "data"}, "--data .*data lies in --validation .*data, which takes images of its own"),
        ({"test": "."}, "--data .*data lies in --test "),
        ({"validation": "other", "test": "other/inner"}, "--test .*inner lies in --validation .*other"),
        ({"validation": "other", "test": "other"}, "--test .*other lies in --validation .*other"),
        ({"validation": "data/inner", "test": "small"}, "1 of 1 images are unusable.*is 9x9, smaller than 24 px"),
        ({"validation": "alone/inner", "data": "alone"}, "the folder .*alone holds no images outside of .*inner"),
    ],
)
def test_given_folders_that_cannot_be_used_are_refused(tmp_path: Path, places: dict[str, str], message: str) -> None:
    for name in ("data", "data/inner", "other", "other/inner", "alone/inner"):
        fill(tmp_path / name, 4)
    (tmp_path / "empty").mkdir()
    save_image(tmp_path / "small" / "0.png", (9, 9))
    with pytest.raises(UserError, match=message):
        folders = {name: tmp_path / place for name, place in places.items()}
        load_images(folders.pop("data", tmp_path / "data"), 24, **folders)  # type: ignore[arg-type]


@pytest.mark.parametrize("data", ["orl-faces", "mnist-5k", "mnist:somewhere", "celeba:somewhere"])
def test_sets_with_a_split_of_their_own_take_no_folder(tmp_path: Path, data: str) -> None:
    message = f"--test {tmp_path} needs a folder as --data; {data} has test images of its own"
    with pytest.raises(UserError, match=message):
        load_images(data, 32, test=tmp_path)


def test_many_broken_images_are_named(tmp_path: Path) -> None:
    for index in range(12):
        (tmp_path / f"{index:02d}.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"12 of 12 images are unusable.*00.png is no image.*09.png.*; 2 more; remove"):
        load_images(tmp_path, 16)


@pytest.mark.parametrize(("count", "said"), [(20, "2 of the images"), (30, "")])
def test_few_validation_images_are_warned_of(
    count: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(count):
        save_image(tmp_path / f"{index}.png", (20, 20), seed=index)
    load_images(str(tmp_path), 20)
    error = capsys.readouterr().err
    assert (f"warning: {said} in {tmp_path} for validation" in error) is bool(said) and error.count("warning") == bool(
        said
    )
