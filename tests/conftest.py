"""Real faces, and settings small enough for seconds."""

import os
import shutil

os.environ["OMP_NUM_THREADS"] = "1"  # of tiny networks; two threads wait for each other longer than they compute

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from helpers import CPU, forgive, tiny_config
from hypothesis import settings

from introvae.data.image_set import ImageSet, load_images, to_float
from introvae.training.trainer import Trainer

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tests, and the commands that they start, leave the user's cache alone."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "introvae"


@pytest.fixture(scope="session")
def faces() -> ImageSet:
    """ORL faces at 32 px."""
    return load_images("orl-faces", 32)


@pytest.fixture(scope="session")
def real(faces: ImageSet) -> torch.Tensor:
    """The 80 validation faces at 32 px, float."""
    return to_float(faces.validation[:])


@pytest.fixture(scope="session")
def small_faces() -> ImageSet:
    """ORL faces at 16 px, for training."""
    return load_images("orl-faces", 16)


@pytest.fixture(scope="session")
def browser() -> Iterator["Chrome"]:
    """A real browser; each test opens its own page."""
    from browser import chromium  # here, so that tests on a GPU need no Selenium

    yield from chromium()


@pytest.fixture(scope="session")
def trained_once(small_faces: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """A run of `tiny_config`, trained to its end, for all tests to look at."""
    trainer = Trainer(tiny_config(), small_faces, tmp_path_factory.mktemp("trained") / "run", CPU)
    trainer.run()
    return trainer


@pytest.fixture
def trained(trained_once: Trainer, small_faces: ImageSet, tmp_path: Path) -> Trainer:
    """A copy of that run, opened again, for one test to change."""
    shutil.copytree(trained_once.folder, tmp_path / "run")
    return Trainer(tiny_config(), small_faces, tmp_path / "run", CPU)


@pytest.fixture
def forgiving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of a few steps count as complete, although their images say that they have collapsed."""
    forgive(monkeypatch)
