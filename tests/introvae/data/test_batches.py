"""Batches are the same whether images are in memory or streamed from a file."""

import gc
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ROOT, tiny_config
from waiting import wait_until

from introvae.data.batches import Batches
from introvae.data.image_set import ImageSet
from introvae.data.pixel_cache import ImageRows
from introvae.training.trainer import Trainer

CPU = torch.device("cpu")


def counting_images(count: int) -> torch.Tensor:
    """Image i has the value i except in its first column."""
    images = torch.arange(count, dtype=torch.uint8)[:, None, None, None].repeat(1, 1, 4, 4)
    images[..., 0] += 100
    return images


def seen(x: torch.Tensor) -> list[int]:
    return (x[:, 0, 0, 1] * 255).round().int().tolist()


def test_every_image_is_seen_once_an_epoch() -> None:
    batches = Batches(counting_images(10), 4, False, CPU)
    stream = [index for step in range(10) for index in seen(batches(0, step))]
    epochs = [stream[start : start + 10] for start in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    batches = Batches(counting_images(10), 4, True, CPU)
    for step in range(9):
        batches(0, step)
    fresh = Batches(counting_images(10), 4, True, CPU)
    assert torch.equal(batches(0, 7), fresh(0, 7))
    assert not torch.equal(fresh(1, 7), fresh(0, 7))


def test_a_batch_may_be_larger_than_the_set() -> None:
    """Batches of 7 are the epochs of 3 images in a row, each of its own order."""
    large, epochs = (Batches(counting_images(3), batch_size, False, CPU) for batch_size in (7, 3))
    stream = [index for step in range(6) for index in seen(large(0, step))]
    expected = [seen(epochs(0, epoch)) for epoch in range(14)]
    assert stream == [index for epoch in expected for index in epoch]
    assert all(sorted(epoch) == [0, 1, 2] for epoch in expected)
    assert len(set(map(tuple, expected))) > 1


def test_half_of_the_images_are_mirrored() -> None:
    batches = Batches(counting_images(10), 10, True, CPU)
    mirrored = [(x[:, 0, 0, -1] > x[:, 0, 0, 1]).float().mean().item() for x in (batches(0, s) for s in range(60))]
    assert np.mean(mirrored) == pytest.approx(0.5, abs=0.08)
    plain = Batches(counting_images(10), 10, False, CPU)(0, 0)
    assert (plain[:, 0, 0, 0] > plain[:, 0, 0, 1]).all()
    assert plain.min() >= 0 and plain.max() <= 1 and plain.dtype == torch.float32


def in_a_file(images: torch.Tensor, path: Path) -> ImageRows:
    """Write images to a memory-mapped file in reverse order, with rows that restore the order."""
    path.write_bytes(images.flip(0).numpy().tobytes())
    return ImageRows(np.memmap(path, np.uint8, "r", shape=tuple(images.shape)), np.arange(len(images))[::-1])


@pytest.mark.parametrize("batch_size", [4, 10, 23])
@pytest.mark.parametrize("mirror", [True, False])
def test_streamed_batches_equal_resident_ones(tmp_path: Path, batch_size: int, mirror: bool) -> None:
    """They do so in order, out of order, and with changing seeds."""
    images = counting_images(10)
    resident = Batches(images, batch_size, mirror, CPU)
    streamed = Batches(in_a_file(images, tmp_path / "images"), batch_size, mirror, CPU)
    calls = [(0, step) for step in range(30)] + [(1, 30), (1, 31), (0, 3), (0, 3), (5, 400), (0, 2)]
    for seed, step in calls:
        assert torch.equal(streamed(seed, step), resident(seed, step)), (seed, step)


def test_a_streamed_batch_outlives_the_next(tmp_path: Path) -> None:
    batches = Batches(in_a_file(counting_images(10), tmp_path / "images"), 5, True, CPU)
    first = batches(0, 0)
    kept = first.clone()
    for step in range(1, 5):
        batches(0, step)
    assert torch.equal(first, kept)


def test_the_next_batch_is_gathered_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []
    gather = ImageRows.gather

    def noted(self: ImageRows, index: np.ndarray, out: np.ndarray) -> None:
        gather(self, index, out)
        if self is images:  # the thread of an earlier test may not have ended yet
            asked.append(index.tolist())

    monkeypatch.setattr(ImageRows, "gather", noted)
    images = in_a_file(counting_images(12), tmp_path / "images")
    batches = Batches(images, 4, False, CPU)
    first = seen(batches(0, 0))
    wait_until(lambda: len(asked) == 2)
    gathered = sorted(asked)  # in either order, as the second may be noted before the first
    assert sorted([first, seen(batches(0, 1))]) == gathered


def streaming_threads() -> int:
    return sum(thread.name.startswith("batches") for thread in threading.enumerate())


def test_a_set_in_a_file_trains_like_one_in_memory(small_faces: ImageSet, tmp_path: Path) -> None:
    """Training passes the end of the warm-up, where the seed changes, and a stop; the thread ends with the trainer."""
    gc.collect()
    wait_until(lambda: streaming_threads() == 0)
    config = tiny_config(warmup_steps=6, warmup_seed=7, steps=10)
    filed = replace(small_faces, train=in_a_file(small_faces.train[:], tmp_path / "images"))
    resident = Trainer(config, small_faces, tmp_path / "resident", CPU)
    resident.run()
    Trainer(config, filed, tmp_path / "filed", CPU).run(until=4)
    streamed = Trainer(config, filed, tmp_path / "filed", CPU)
    assert streamed.step == 4
    streamed.run()
    assert streaming_threads() > 0
    for a, b in zip(streamed.model.parameters(), resident.model.parameters(), strict=True):
        assert torch.equal(a, b)
    del streamed
    gc.collect()
    wait_until(lambda: streaming_threads() == 0)


@pytest.mark.slow
def test_a_stream_does_not_delay_the_end_of_the_process(tmp_path: Path) -> None:
    np.zeros((9, 1, 4, 4), np.uint8).tofile(tmp_path / "images")
    code = (
        "import numpy as np, torch; from introvae.data.batches import Batches\n"
        "from introvae.data.pixel_cache import ImageRows\n"
        "rows = ImageRows(np.memmap('images', np.uint8, 'r', shape=(9, 1, 4, 4)))\n"
        "batches = Batches(rows, 4, True, torch.device('cpu')); print(len(batches(0, 0)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_batches_on_a_gpu_are_the_same_resident_and_streamed(tmp_path: Path) -> None:
    cuda = torch.device("cuda")
    images = counting_images(200)
    resident = Batches(images.to(cuda), 16, True, cuda)
    streams = [Batches(x, 16, True, cuda) for x in (images, in_a_file(images, tmp_path / "images"))]
    on_cpu = Batches(images, 16, True, CPU)
    for seed, step in [*((0, step) for step in range(200)), (1, 200), (1, 201), (0, 3)]:
        expected = resident(seed, step)
        torch.testing.assert_close(expected.cpu(), on_cpu(seed, step))
        assert all(torch.equal(stream(seed, step), expected) for stream in streams)
