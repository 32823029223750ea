"""Sheets of a run's latents."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import tiny_config, tiny_flags
from PIL import Image
from studies import write_scores

from analysis.outputs import outputs_of, scored_images
from analysis.report.latent_sheets import write_latent_sheets
from analysis.report.runs import read_runs
from analysis.report.sheets import BELOW, LINE, MARGIN
from analysis.rescore import rescore
from analysis.train import main
from introvae.data.image_set import ImageSet
from introvae.nn.networks import IntroVAE, build
from introvae.training.trainer import Trainer

NAMES = ("traversals", "interpolations", "plane")
SIDE = 64  # of a tile
FIRST_ROW = MARGIN + LINE + BELOW  # below the captions


def write(model: IntroVAE, images: ImageSet, folder: Path) -> None:
    write_latent_sheets(model, images.validation, outputs_of(model, scored_images(images)), folder)


def written(folder: Path) -> list[bytes]:
    return [(folder / "images" / f"{name}.png").read_bytes() for name in NAMES]


def drawn(folder: Path) -> list[bool]:
    return [(folder / "images" / f"{name}.png").exists() for name in NAMES]


def test_the_pictures_of_a_run_are_small_and_the_same_each_time(trained: Trainer, small_faces: ImageSet) -> None:
    write(trained.model, small_faces, trained.folder)
    first = written(trained.folder)
    write(trained.model, small_faces, trained.folder)
    assert written(trained.folder) == first
    assert all(1_000 < len(png) < 300_000 for png in first)
    for name, rows in zip(NAMES, (8, 6, 7), strict=True):
        with Image.open(trained.folder / "images" / f"{name}.png") as image:
            assert rows * SIDE < image.height < rows * (SIDE + 8) + 50


def test_the_plane_stands_between_its_originals(trained: Trainer, small_faces: ImageSet) -> None:
    """Left of the top row stands the original whose encoding is the first corner, enlarged to 64 px."""
    write(trained.model, small_faces, trained.folder)
    with Image.open(trained.folder / "images" / "plane.png") as image:
        row = np.asarray(image.convert("L"))[FIRST_ROW:][:SIDE]
    tile = np.kron(small_faces.validation[:1][0, 0].numpy(), np.ones((4, 4), np.uint8))
    assert sum(np.array_equal(row[:, left : left + SIDE], tile) for left in range(row.shape[1])) == 1


@pytest.mark.parametrize(("count", "channels"), [(1, 1), (2, 3), (5, 3)])
def test_a_few_images_are_enough(small_faces: ImageSet, tmp_path: Path, count: int, channels: int) -> None:
    torch.manual_seed(0)
    few = small_faces.validation[:count].expand(-1, channels, -1, -1)
    write(build(tiny_config(channels=channels, latent=3)), ImageSet("few", few, few, few), tmp_path)
    assert all(drawn(tmp_path))


def test_a_model_that_gives_no_numbers_is_drawn(small_faces: ImageSet, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build(tiny_config())
    torch.nn.init.constant_(model.decoder.head.bias, math.nan)
    write(model, small_faces, tmp_path)
    assert all(drawn(tmp_path))


def test_a_run_that_is_trained_to_its_end_has_them(tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path / "run"), *tiny_flags()]) == 0
    assert all(drawn(tmp_path / "run"))
    (run,) = read_runs(tmp_path)
    assert set(NAMES) <= run.pictures.keys()


@pytest.mark.parametrize("state", ["complete", "collapsed", "pruned"])
def test_a_run_that_is_measured_again_has_them_unless_pruned(trained: Trainer, state: str) -> None:
    write_scores(trained.folder, {"state": state, "reason": "", "score": 0.5})
    rescore(read_runs(trained.folder.parent))
    assert set(drawn(trained.folder)) == {state != "pruned"}
