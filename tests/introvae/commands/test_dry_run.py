"""introvae-train --dry-run describes a training, and begins nothing."""

import re
import shutil
from pathlib import Path

import pytest
from helpers import exit_code, save_image, tiny_flags

from analysis.train import main
from introvae.training.trainer import Trainer

Captured = pytest.CaptureFixture[str]


def dry_run(capsys: Captured, *flags: str) -> dict[str, str]:
    """Return the text of each line by its name."""
    capsys.readouterr()
    assert exit_code(main, [*flags, "--device", "cpu", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {line.split()[0]: line[10:] for line in lines if line[0] != " "}


def test_a_dry_run_shows_settings_and_cost_and_begins_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = dry_run(capsys, *tiny_flags("beta"), "--beta", "30")
    assert shown["run"].startswith("predictions/orl-faces-alpha0.25-beta30-m20-")
    assert shown["defaults"].startswith(
        "of up to 32 px: latent 64, batch_size 16, lr 0.001, steps 3600, warmup_steps 2000"
    )
    assert "beta: 100.0 -> 30.0; " in shown["settings"] and "latent: 64 -> 8; " in shown["settings"]
    assert "alpha" not in shown["settings"]
    assert shown["steps"] == "20, the first 8 of them as warm-up"
    assert shown["images"] == "160, or 0.667 epochs of 240 training images"
    assert (
        re.match(r"\d+ (s|min) on cpu, scores aside; ", shown["time"]) and " a step in the warm-up, " in shown["time"]
    )
    assert shown["disk"].startswith("about ") and ": 2 checkpoints of " in shown["disk"]
    assert not list(tmp_path.iterdir())


def test_the_row_of_larger_images_is_shown(tmp_path: Path, capsys: Captured) -> None:
    for index in range(10):
        save_image(tmp_path / "photographs" / f"{index}.png", (64, 64), "L", seed=index)
    flags = ["--data", str(tmp_path / "photographs"), "--image-size", "64", "--widths", "4,4,4,4", "--steps", "5000"]
    shown = dry_run(capsys, *flags, "--out", str(tmp_path / "out"), "--alpha", "0")
    assert shown["run"] == str(tmp_path / "out") and not (tmp_path / "out").exists()
    assert shown["defaults"].startswith(
        "of 64 px (those of --preset celeba-64): latent 512, batch_size 32, lr 0.0002, "
    )
    assert "latent" not in shown["settings"]
    assert "steps: 200000 -> 5000; warmup_steps: 20000 -> 500; " in shown["settings"]
    assert shown["steps"] == "5,000, the first 500 of them as warm-up"
    assert shown["images"] == "160,000, or 20,000 epochs of 8 training images"


def test_what_a_run_has_done_is_not_counted(
    trained: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """Neither in the folder itself nor in a run that is continued; a new run from weights begins at 0."""
    monkeypatch.chdir(tmp_path)
    shown = dry_run(capsys, "--from", "run", "--steps", "4000")
    assert shown["steps"] == "4,000, the first 8 of them as warm-up; 20 are done"
    assert " a step in " not in shown["time"]
    shutil.copytree("run", "longer")
    assert dry_run(capsys, *tiny_flags(), "--out", "longer")["steps"].endswith("; 20 are done")
    shown = dry_run(capsys, "--from", "run", "--beta", "30", "--steps", "40")
    assert shown["steps"] == "40, without a warm-up" and "start_weights: unset -> run" in shown["settings"]
    assert {path.name for path in tmp_path.iterdir()} == {"run", "longer"}


@pytest.mark.parametrize(("flags", "code", "message"), [
    (["--lr", "1e30"], 1, "is not finite"),
    (["--data", "nowhere"], 2, "there is no folder nowhere"),
    (["--from", "nowhere"], 2, "there is no run nowhere"),
])  # fmt: skip
def test_what_cannot_be_trained_is_refused(
    flags: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_code(main, [*tiny_flags(), *flags, "--device", "cpu", "--dry-run"]) == code
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_processes_of_torchrun_are_not_measured(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert exit_code(main, [*tiny_flags(), "--dry-run"]) == 2
    assert "--dry-run measures a single process; run it without torchrun" in capsys.readouterr().err
