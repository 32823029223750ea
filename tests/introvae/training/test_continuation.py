"""Runs that are cut off: whoever opens one again trains on to the same bits, log and pictures."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import CPU, equal_states, picture_files, tiny_config, tiny_flags
from waiting import wait_until

import introvae.training.trainer
from introvae import randomness
from introvae.data.image_set import ImageSet
from introvae.runs.folder import METRICS, load_checkpoint, read_metrics
from introvae.training.schedule import weights_at
from introvae.training.trainer import Trainer

SCHEDULED = tiny_config(alpha=((0, 0.0), (10, 0.1), (20, 0.5)), beta=((0, 20.0), (20, 30.0)))
CUT = 12


def elsewhere(name: str, stream: str, shift: int) -> Callable[[Trainer, pytest.MonkeyPatch], None]:
    """One stream of draws goes on at another index than its own; `name` is what the trainer draws it with."""

    def restart(trainer: Trainer, patch: pytest.MonkeyPatch) -> None:
        draw = getattr(randomness, name.split(".")[-1])

        def drawn(*arguments: Any) -> Any:
            shifted = list(arguments)
            if stream in shifted:
                shifted[shifted.index(stream) + 1] += shift
            return draw(*shifted)

        patch.setattr(name, drawn)

    return restart


def restart_batches(trainer: Trainer, patch: pytest.MonkeyPatch) -> None:
    batches = trainer.batches
    patch.setattr(trainer, "batches", lambda seed, step: batches(seed, step - CUT))


LEFT_OUT: dict[str, Callable[[Trainer, pytest.MonkeyPatch], None]] = {
    "Adam of the encoder": lambda trainer, patch: trainer.state.optimizers.encoder.state.clear(),
    "Adam of the decoder": lambda trainer, patch: trainer.state.optimizers.decoder.state.clear(),
    "schedules": lambda trainer, patch: patch.setattr(
        "introvae.training.trainer.weights_at", lambda config, step: weights_at(config, step - CUT)
    ),
    "data order": restart_batches,
    "mirroring": elsewhere("introvae.data.batches.generator", "mirror", 1),
    "noise of the posterior": elsewhere("introvae.training.trainer.normal", "posterior", -CUT),
    "noise of the samples": elsewhere("introvae.training.trainer.normal", "prior", -CUT),
}


@pytest.fixture(scope="module")
def uninterrupted(small_faces: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The last checkpoint of a run of SCHEDULED."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    Trainer(SCHEDULED, small_faces, folder, CPU).run()
    return load_checkpoint(folder)


@pytest.fixture(scope="module")
def interrupted(small_faces: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of SCHEDULED that stopped at CUT."""
    folder = tmp_path_factory.mktemp("interrupted") / "run"
    Trainer(SCHEDULED, small_faces, folder, CPU).run(CUT)
    return folder


@pytest.fixture
def continued(interrupted: Path, small_faces: ImageSet, tmp_path: Path) -> Trainer:
    """A copy of that run, opened again."""
    shutil.copytree(interrupted, tmp_path / "run")
    trainer = Trainer(SCHEDULED, small_faces, tmp_path / "run", CPU)
    assert trainer.step == CUT
    return trainer


def test_resume_is_exact(continued: Trainer, uninterrupted: Any) -> None:
    continued.run()
    assert equal_states(load_checkpoint(continued.folder), uninterrupted)


@pytest.mark.parametrize("part", LEFT_OUT)
def test_resume_with_a_part_left_out_differs(
    part: str, continued: Trainer, uninterrupted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison above can fail, and each part matters."""
    LEFT_OUT[part](continued, monkeypatch)
    continued.run()
    state = load_checkpoint(continued.folder)
    assert state and state["step"] == uninterrupted["step"]
    assert not equal_states(state["model"], uninterrupted["model"])


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def whole(small_faces: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never cut off."""
    folder = tmp_path_factory.mktemp("whole")
    Trainer(tiny_config(picture_every=8), small_faces, folder, CPU).run()
    return folder


@pytest.mark.parametrize("moment", ["train_step", "write_picture", "save_checkpoint"])
@pytest.mark.parametrize("step", [8, 10])
def test_a_run_killed_anywhere_ends_with_the_same_pictures(
    small_faces: ImageSet, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, step: int
) -> None:
    """Killed just before it does what `moment` names, between checkpoints (10) or where one is due (8)."""
    trainer = Trainer(tiny_config(picture_every=8), small_faces, tmp_path, CPU)
    act = getattr(introvae.training.trainer, moment)

    def act_or_die(*arguments: Any) -> Any:
        if trainer.step >= step:
            raise Killed
        return act(*arguments)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(introvae.training.trainer, moment, act_or_die)
        trainer.run()
    continued = Trainer(tiny_config(picture_every=8), small_faces, tmp_path, CPU)
    assert 0 < continued.step <= step
    continued.run()
    assert picture_files(tmp_path) == picture_files(whole)
    assert len(picture_files(whole)) == 8


@pytest.mark.slow
def test_a_killed_run_is_continued_bit_for_bit(tmp_path: Path) -> None:
    flags = [*tiny_flags("steps"), "--steps", "200", "--channels", "1", "--device", "cpu"]
    command = [sys.executable, "-m", "analysis.train", *flags, "--out"]
    for cut in (tmp_path / "whole", tmp_path / "cut"):
        if cut.name == "cut":
            with subprocess.Popen([*command, str(cut)], stderr=subprocess.DEVNULL) as process:
                wait_until(lambda cut=cut: len(read_metrics(cut)) >= 60)
                assert process.poll() is None
                process.send_signal(signal.SIGKILL)
        ended = subprocess.run([*command, str(cut)], capture_output=True, text=True, check=True)
        assert ("resuming at step" in ended.stderr) is (cut.name == "cut")
    whole, cut_off = (load_checkpoint(tmp_path / name) for name in ("whole", "cut"))
    assert whole and cut_off and whole["step"] == cut_off["step"] == 200
    assert equal_states(whole["model"], cut_off["model"])
    assert picture_files(tmp_path / "whole") == picture_files(tmp_path / "cut")
    rows = [read_metrics(tmp_path / name) for name in ("whole", "cut")]
    for a, b in zip(*rows, strict=True):
        assert {k: v for k, v in a.items() if v == v and k != "images_per_second"} == {
            k: v for k, v in b.items() if v == v and k != "images_per_second"
        }


@pytest.mark.parametrize("late", [[12], [6], [12, 6, 12]])
def test_rows_of_a_process_that_was_taken_for_dead_count_once(
    late: list[int], small_faces: ImageSet, tmp_path: Path
) -> None:
    Trainer(tiny_config(), small_faces, tmp_path, CPU).run(until=12)
    before = (tmp_path / METRICS).read_text()
    header, *rows = before.splitlines(keepends=True)
    step = header.split(",").index("step")
    again = [row for number in late for row in rows if row.split(",")[step] == str(number)]
    assert len(again) == len(late)
    (tmp_path / METRICS).write_text(before + "".join(again))
    trainer = Trainer(tiny_config(), small_faces, tmp_path, CPU)
    assert trainer.step == 12
    trainer.run()
    assert (tmp_path / METRICS).read_text().startswith(before)
    assert [row["step"] for row in read_metrics(tmp_path)] == [*range(2, 21, 2)]
