"""Cost of a training: measured on a few steps, in units that a person reads."""

import sys
from pathlib import Path

import pytest
import torch
from helpers import CPU, tiny_config
from terminal import Terminal

from introvae.data.image_set import ImageSet
from introvae.errors import DivergedError
from introvae.runs.folder import CHECKPOINT
from introvae.training.cost import Cost, epochs, measure, picture_count, size, step_time
from introvae.training.progress import duration
from introvae.training.trainer import Trainer


@pytest.mark.parametrize(("seconds", "text"), [
    (0.4, "0 s"), (3, "3 s"), (89, "89 s"), (91, "2 min"), (60 * 89, "89 min"), (60 * 91, "1.5 h"), (7200, "2.0 h"),
    (172_000, "47.8 h"), (172_800, "2.0 days"), (257_976, "3.0 days"), (1e9, "11,574.1 days"),
])  # fmt: skip
def test_times_are_in_seconds_minutes_hours_or_days(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [
    (0.000123, "0.123 ms"), (0.0521, "52.1 ms"), (0.9994, "999 ms"), (0.99951, "1 s"), (1.0, "1 s"), (10.2, "10.2 s"),
    (999.9, "1,000 s"), (12_345.6, "12,346 s"),
])  # fmt: skip
def test_steps_are_in_milliseconds_or_seconds(seconds: float, text: str) -> None:
    assert step_time(seconds) == text


@pytest.mark.parametrize(("megabytes", "text"), [
    (0.0123, "0.0123 MB"), (7.111, "7.11 MB"), (999, "999 MB"), (1000, "0.977 GB"), (2048, "2 GB"),
    (4096 * 1024, "4,096 GB"),
])  # fmt: skip
def test_files_are_in_mb_or_gb(megabytes: float, text: str) -> None:
    assert size(megabytes * 2**20) == text


def test_images_seen_are_epochs_too() -> None:
    assert epochs(200_000, 32, 162_770) == "6,400,000, or 39.3 epochs of 162,770 training images"
    assert epochs(3, 8, 240) == "24, or 0.1 epochs of 240 training images"
    assert epochs(10**6, 100, 50) == "100,000,000, or 2,000,000 epochs of 50 training images"


def test_speed_and_disk_as_text() -> None:
    cost = Cost(warmup_step=0.1, step=1.5, checkpoint=600 * 2**20, picture=2**20)
    assert cost.speed(warmup=True) == "100 ms a step in the warm-up, 1.5 s after it"
    assert cost.speed(warmup=False) == "1.5 s a step"
    assert cost.disk(2, 100) == "about 1.27 GB: 2 checkpoints of 600 MB, and pictures"


def test_a_few_steps_tell_the_size_of_files(small_faces: ImageSet, trained_once: Trainer) -> None:
    cost = measure(tiny_config(), small_faces, CPU)
    assert cost.warmup_step > 0 and cost.step > 0 and cost.picture > 0
    real = (trained_once.folder / CHECKPOINT).stat().st_size
    assert cost.checkpoint == pytest.approx(real, rel=0.01)


def test_an_adversarial_step_is_measured_where_a_schedule_begins_without(
    small_faces: ImageSet, capsys: pytest.CaptureFixture[str]
) -> None:
    measure(tiny_config(alpha=((0, 0.0), (15, 0.0), (18, 0.5))), small_faces, CPU)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.split("KL ")[1].split(",")[0].count("/") == 2  # those of reconstructions and samples


@pytest.mark.parametrize(("steps", "every"), [(24, 8), (20, 8), (2, 8)])
def test_pictures_are_counted_with_the_gif(steps: int, every: int, small_faces: ImageSet, tmp_path: Path) -> None:
    config = tiny_config(steps=steps, warmup_steps=2, picture_every=every)
    Trainer(config, small_faces, tmp_path, CPU).run()
    assert picture_count(config) == 2 * len(list(tmp_path.glob("images/step-*.png"))) + 4


def test_the_gif_of_a_long_run_holds_a_part_of_its_pictures() -> None:
    config = tiny_config(steps=100_000, picture_every=1000, checkpoint_every=100)
    assert picture_count(config) == 100 + 11 + 60 + 4
    assert picture_count(config, 8000) == 92 + 60 + 4


def test_threads_are_as_before_even_after_an_error(small_faces: ImageSet) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(DivergedError, match="is not finite"):
            measure(tiny_config(lr=1e30), small_faces, CPU, threads=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_terminal_sees_a_bar(small_faces: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    with Terminal(columns=120) as terminal:
        monkeypatch.setattr(sys, "stderr", terminal.file)
        measure(tiny_config(), small_faces, CPU)
        assert any(line.startswith("measuring: 100%") and "12/12" in line for line in terminal.lines())
