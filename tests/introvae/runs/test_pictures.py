import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import CPU, tiny_config
from PIL import Image

from introvae.data.image_set import ImageSet, to_float
from introvae.randomness import normal
from introvae.runs.pictures import (
    MOST_FRAMES,
    fixed_images,
    last_picture,
    lay_out,
    legible,
    pictures,
    read_bands,
    write_gif,
    write_picture,
)
from introvae.training.trainer import Trainer


@pytest.mark.parametrize(("channels", "size"), [(1, 16), (3, 32), (3, 128)])
def test_bands_come_back_as_they_were(tmp_path: Path, channels: int, size: int) -> None:
    bands = tuple(torch.rand(5, channels, size, size) for _ in range(3))
    write_picture(tmp_path, 40, bands)  # type: ignore[arg-type]
    picture = last_picture(tmp_path)
    assert picture == tmp_path / "images" / "step-000040.png"
    found = read_bands(picture)
    assert list(found) == ["originals", "reconstructions", "samples"]
    for band, pixels in zip(bands, found.values(), strict=True):
        assert pixels.shape == (size, 5 * size, 3)
        tile = pixels[:, size : 2 * size]
        expected = (band[1] * 255).round().byte().permute(1, 2, 0).expand(-1, -1, 3).numpy()
        assert np.array_equal(tile, expected)


def test_the_newest_picture_is_the_last(tmp_path: Path) -> None:
    assert last_picture(tmp_path) is None
    for step in (900, 1_000_000, 20, 999_999):
        write_picture(tmp_path, step, (torch.zeros(2, 1, 16, 16),) * 3)
    last = last_picture(tmp_path)
    assert last and last.name == "step-1000000.png"


@pytest.mark.parametrize(("channels", "size", "factor"), [(1, 16, 4), (3, 32, 2), (3, 64, 1), (3, 256, 0.25)])
def test_the_gif_shows_every_picture_in_order_and_the_last_for_longer(
    tmp_path: Path, channels: int, size: int, factor: float
) -> None:
    torch.manual_seed(0)
    originals = torch.rand(4, channels, 1, 1).expand(-1, -1, size, size)
    steps = (0, 1, 30, 1000, 1_000_000)
    for step in reversed(steps):
        write_picture(tmp_path, step, (originals, *torch.rand(2, 4, channels, 1, 1).expand(-1, -1, -1, size, size)))
    path = write_gif(tmp_path)
    assert path == tmp_path / "images" / "training.gif"
    found = pictures(tmp_path)
    assert [int(picture.stem.removeprefix("step-")) for picture in found] == list(steps)
    strips, durations = [], []
    with Image.open(path) as gif:
        assert gif.n_frames == len(steps)  # type: ignore[attr-defined]
        for index, picture in enumerate(found):
            gif.seek(index)
            durations.append(gif.info["duration"])
            frame = np.asarray(gif.convert("RGB"), float)
            whole = np.concatenate(list(read_bands(picture).values()))
            rows, columns = (np.arange(int(count * factor)) / factor for count in whole.shape[:2])
            expected = whole[rows.astype(int)][:, columns.astype(int)]
            np.testing.assert_allclose(frame[: len(expected)], expected, atol=8)
            strips.append(frame[len(expected) :])
    assert len(set(durations[:-1])) == 1 and durations[-1] > durations[0]
    for strip, other in pairwise(strips):
        assert strip.max() > 240 and strip.min() < 64  # dark ink on white
        assert not np.array_equal(strip, other)  # the step is another one


def test_without_pictures_there_is_no_gif(tmp_path: Path) -> None:
    assert write_gif(tmp_path) is None
    write_picture(tmp_path, 5, (torch.zeros(2, 1, 16, 16),) * 3)
    (path,) = pictures(tmp_path)
    assert write_gif(tmp_path) and last_picture(tmp_path) == path


def test_the_gif_of_a_usual_run_is_small(faces: ImageSet, tmp_path: Path) -> None:
    """Fifteen pictures of real faces, none of which repeats another's tiles."""
    for step in range(15):
        fakes = [to_float(faces.train[first + 10 * step :][:12]) for first in (0, 88)]
        write_picture(tmp_path, step, (to_float(fixed_images(faces.validation)), fakes[0], fakes[1]))
    path = write_gif(tmp_path)
    assert path and path.stat().st_size < 1_000_000


def test_what_is_no_file_is_no_picture(tmp_path: Path) -> None:
    write_picture(tmp_path, 20, (torch.zeros(1, 1, 16, 16),) * 3)
    os.mkfifo(tmp_path / "images" / "step-000002.png")
    (tmp_path / "images" / "step-000030.png").mkdir()
    assert pictures(tmp_path) == [tmp_path / "images" / "step-000020.png"]


def test_damaged_and_foreign_pictures_are_no_frames(tmp_path: Path) -> None:
    for step, count in ((1, 4), (2, 4), (3, 5), (4, 4), (5, 4)):
        write_picture(tmp_path, step, (torch.rand(count, 1, 16, 16),) * 3)
    torn = tmp_path / "images" / "step-000002.png"
    torn.write_bytes(torn.read_bytes()[:90])
    Image.new("L", (64, 1)).save(tmp_path / "images" / "step-000004.png")
    path = write_gif(tmp_path)
    assert path
    with Image.open(path) as gif:
        assert gif.n_frames == 2  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="64x1 pixels are not 3 rows of square images"):
        read_bands(tmp_path / "images" / "step-000004.png")


def test_fixed_images_are_spread_over_the_set() -> None:
    images = torch.arange(80)[:, None, None, None]
    picks = fixed_images(images).flatten().tolist()
    assert len(picks) == 12 and picks[0] == 0 and picks[-1] == 79
    assert fixed_images(images[:3]).flatten().tolist() == [0, 1, 2]


def test_the_gif_of_a_long_run_is_thinned_out(tmp_path: Path) -> None:
    for step in range(MOST_FRAMES + 30):
        write_picture(tmp_path, step, (torch.full((1, 1, 16, 16), step / 100),) * 3)
    path = write_gif(tmp_path)
    assert path is not None
    with Image.open(path) as gif:
        assert gif.n_frames == MOST_FRAMES  # type: ignore[attr-defined]


@pytest.mark.parametrize(("side", "shown"), [(16, 64), (48, 96), (64, 64), (127, 127), (128, 64), (256, 64)])
def test_tiles_are_brought_to_a_size_that_a_person_can_see(side: int, shown: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (side, 3 * side), np.uint8)
    image = legible(pixels, side)
    assert image.size == (3 * shown, shown)
    if shown >= side:
        factor = shown // side
        assert np.array_equal(np.asarray(image), pixels.repeat(factor, 0).repeat(factor, 1))


@pytest.mark.parametrize("seed", [0, 5])
def test_samples_are_of_the_same_noise_in_every_run_and_at_every_step(
    seed: int, small_faces: ImageSet, tmp_path: Path
) -> None:
    noise = normal((12, 8), 0, "pictures")
    trainer = Trainer(tiny_config(seed=seed), small_faces, tmp_path, CPU)
    for step in (0, 2):
        trainer.run(step)
        trainer.write_picture()
        picture = last_picture(tmp_path)
        assert picture and picture.name == f"step-{step:06d}.png"
        expected = lay_out(trainer.evaluated.decode(noise, "sample")[None])
        assert np.array_equal(read_bands(picture)["samples"][..., 0], expected)
