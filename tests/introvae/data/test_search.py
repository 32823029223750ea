"""Search of folders: hidden files and our own pictures are no data, links are followed, names of parts are taken."""

from pathlib import Path

import pytest
from noise import fill, pixels, sizes, whole

from introvae.data.image_set import ImageSet, load_images


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
    assert f"taking the folders of {tmp_path} as they are named: train for training, {second} for {flag}" in (
        capsys.readouterr().err
    )
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
