"""Search of folders: hidden files and our own pictures are no data, links are followed, names of parts are taken."""

import re
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, save_image
from noise import fill, pixels, sizes, whole
from PIL import Image

from introvae.data.image_set import ImageSet, load_images
from introvae.data.search import SUFFIXES
from introvae.errors import UserError


def names(images: ImageSet, root: Path) -> set[str]:
    """Return the names of the files below a folder whose pixels are among the images."""
    known = {pixels(path).tobytes(): path.relative_to(root).as_posix() for path in root.rglob("*.png")}
    return {known[image.numpy().tobytes()] for image in whole(images)}


def test_hidden_files_and_what_archives_add_are_no_data(tmp_path: Path) -> None:
    fill(tmp_path, 12)
    for name in ("._000.png", ".ipynb_checkpoints/000-checkpoint.png", "__MACOSX/faces/000.png", "deep/.git/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"no image")
    assert sum(sizes(load_images(tmp_path, 24))) == 12


def test_linked_folders_are_searched_once(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", 6)
    fill(tmp_path / "faces" / "own", 6, first=6)
    for name, target in {"a": "elsewhere", "b": "elsewhere", "loop": "faces", "own/up": "faces"}.items():
        (tmp_path / "faces" / name).symlink_to(tmp_path / target, target_is_directory=True)
    images = load_images(tmp_path / "faces", 24)
    assert sum(sizes(images)) == 12 and len({image.numpy().tobytes() for image in whole(images)}) == 12


@pytest.mark.parametrize("second", ["val", "valid", "validation", "test"])
def test_folders_are_taken_as_they_are_named(tmp_path: Path, second: str, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "train", 20)
    fill(tmp_path / second, 5, first=20)
    fill(tmp_path, 3, first=40)
    images = load_images(tmp_path, 24)
    flag = "test" if second == "test" else "validation"
    said = f"taking the folders of {tmp_path} as they are named: train for training, {second} for {flag}"
    assert f"{said}; left out beside them: 3 other images\n" in capsys.readouterr().err
    held_out = images.test if second == "test" else images.validation
    assert {pixels(path).tobytes() for path in (tmp_path / second).iterdir()} == {
        x.numpy().tobytes() for x in held_out[:]
    }
    assert sum(sizes(images)) == 25
    given = load_images(tmp_path, 24, validation=tmp_path / second)  # then nothing is guessed
    assert sizes(given)[1] == 5 and sum(sizes(given)) == 28


def test_a_folder_named_train_alone_is_none(tmp_path: Path) -> None:
    fill(tmp_path / "train", 8)
    fill(tmp_path / "more", 8, first=8)
    assert sum(sizes(load_images(tmp_path, 24))) == 16


def test_pictures_of_runs_and_reports_are_no_data(tmp_path: Path) -> None:
    fill(tmp_path, 12)
    before = names(load_images(tmp_path, 24), tmp_path)
    for place, file in (("predictions", "report.html"), ("run", "params.toml"), ("study", "study.db")):
        fill(tmp_path / place / "images", 3, first=20)
        (tmp_path / place / file).touch()
    assert names(load_images(tmp_path, 24), tmp_path) == before


def test_pictures_of_a_report_on_the_data_s_own_folder_are_no_data(tmp_path: Path) -> None:
    fill(tmp_path, 12)
    save_image(tmp_path / "comparison.png", (24, 24), seed=50)
    assert sum(sizes(load_images(tmp_path, 24))) == 13
    (tmp_path / "report.html").touch()
    assert sum(sizes(load_images(tmp_path, 24))) == 12


def test_pictures_that_a_model_made_are_no_data_unless_they_are_asked_for(tmp_path: Path) -> None:
    fill(tmp_path, 12)
    made = fill(tmp_path / "reconstruct", 5, 50)
    (made / ".introvae").touch()
    assert sum(sizes(load_images(tmp_path, 24))) == 12
    assert sum(sizes(load_images(made, 24))) == 5


PARTS = [("Train", "Val", "Test"), ("TRAINING", "validation", "testing"), ("train", "dev", "test")]


@pytest.mark.parametrize("where", [".", "faces", "a/b"])
@pytest.mark.parametrize("named", PARTS)
def test_parts_are_found_in_any_case_and_below_an_only_folder(
    tmp_path: Path, named: tuple[str, str, str], where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for count, name in zip((20, 5, 4), named, strict=True):
        fill(tmp_path / where / name, count, 30 * count)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "LICENSE").touch()
    assert sizes(load_images(tmp_path, 24)) == (20, 5, 4)
    shown = ", ".join(
        f"{name} for {part}" for name, part in zip(named, ("training", "validation", "test"), strict=True)
    )
    assert f"taking the folders of {tmp_path / where} as they are named: {shown}" in capsys.readouterr().err


def test_several_folders_for_one_part_are_refused(tmp_path: Path) -> None:
    for number, name in enumerate(("train", "val", "validation")):
        fill(tmp_path / name, 5, 10 * number)
    message = f"{tmp_path} holds val and validation, all for --validation; put them into one folder"
    with pytest.raises(UserError, match=re.escape(message)):
        load_images(tmp_path, 24)


def test_parts_that_are_merged_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, name in enumerate(("cats/train", "cats/Test", "dogs/train", "dogs/Test")):
        fill(tmp_path / name, 8, 10 * number)
    assert sum(sizes(load_images(tmp_path, 24))) == 32
    said = (
        f"warning: images below {tmp_path} in folders named train, test are merged and split again; to keep them apart,"
    )
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("beside", ["", "more"])
def test_held_out_images_among_others_are_warned_of(
    tmp_path: Path, beside: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / beside, 8)
    fill(tmp_path / "Val" / "cats", 8, 10)
    assert sum(sizes(load_images(tmp_path, 24))) == 16
    said = f"warning: images below {tmp_path} in folders named val are merged and split again; to keep them apart,"
    assert said in capsys.readouterr().err
    load_images(tmp_path / "Val", 24)
    assert "merged" not in capsys.readouterr().err


def test_the_folder_of_a_run_is_no_data(tmp_path: Path) -> None:
    """Otherwise curves.png and the pictures in images/ would be trained on."""
    fill(tmp_path / "images", 12)
    (tmp_path / "params.toml").touch()
    with pytest.raises(UserError, match=f"^{re.escape(str(tmp_path))} is the folder of a run, whose pictures are no"):
        load_images(tmp_path, 24)


def test_tables_beside_images_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path, 12)
    for name, counted in (("train", "1 Parquet file"), ("test", "2 Parquet files")):
        (tmp_path / f"{name}.parquet").touch()
        assert sum(sizes(load_images(tmp_path, 24))) == 12
        said = f"left out of {tmp_path}: {counted}; tables are read only where there are no images\n"
        assert said in capsys.readouterr().err


def test_folders_that_lead_into_each_other_end(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a").symlink_to(tmp_path / "a", target_is_directory=True)
    with pytest.raises(UserError, match="holds no images"):
        load_images(tmp_path, 24)


def test_links_to_nothing_are_unusable_images(tmp_path: Path) -> None:
    fill(tmp_path, 12)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    message = (
        f"1 of 13 images are unusable, more than 1%: {tmp_path}/gone.png cannot be read: No such file or directory"
    )
    with pytest.raises(UserError, match=re.escape(message)):
        load_images(tmp_path, 24)


def test_suffixes_that_are_not_read_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path, 12)
    for number, suffix in enumerate((".jpe", ".apng", ".pnm", ".pbm", ".mpo", ".JPG")):
        format_ = {".apng": "PNG", ".pnm": "PPM", ".pbm": "PPM"}.get(suffix, "JPEG")
        image = Image.fromarray(np.random.default_rng(number).integers(0, 256, (24, 24), np.uint8))
        (image.convert("1") if suffix == ".pbm" else image).save(tmp_path / f"a{suffix}", format_)
    for names, said in (
        (["a.jp2", "d.txt"], "1 file of formats that are not read (.jp2)"),
        (["b.JP2", "c.tga"], "3 files of formats that are not read (.jp2, .tga)"),
    ):
        for name in names:
            (tmp_path / name).touch()
        assert sum(sizes(load_images(tmp_path, 24))) == 18
        assert f"left out of {tmp_path}: {said}; convert to PNG\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("film.m4v", "film.m4v is a video; write its frames with ffmpeg -i VIDEO FOLDER/%06d.png"),
        ("db/data.mdb", "db/data.mdb is a database; write its values to image files"),
        ("faces.zip", "faces.zip is a file of images; give it as --data itself"),
        ("faces.jp2", "faces.jp2 is an image of a format that is not read; convert it to PNG"),
    ],
)
def test_a_folder_without_images_says_what_to_do_with_what_it_holds(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(UserError, match=re.escape(said)):
        load_images(tmp_path, 24)


def test_the_guide_lists_what_is_read() -> None:
    guide = (ROOT / "docs" / "guide" / "images.md").read_text()
    listed = guide[guide.index("It reads") : guide.index("Other files")]
    assert set(re.findall(r"`(\.\w+)`", listed)) == SUFFIXES
