import math
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import CPU, equal_states, tiny_config, tiny_flags

import introvae.training.trainer
from introvae import randomness
from introvae.data.image_set import ImageSet, to_float
from introvae.errors import DivergedError, UserError
from introvae.runs.folder import METRICS, load_checkpoint, read_metrics
from introvae.training.metrics import COLUMNS
from introvae.training.schedule import weights_at
from introvae.training.state import build_model
from introvae.training.trainer import Trainer


def weights(trainer: Trainer) -> list[torch.Tensor]:
    return [value.clone() for value in trainer.model.state_dict().values()]


def images(folder: Path) -> dict[str, bytes]:
    """The files below images/ by name."""
    return {path.name: path.read_bytes() for path in sorted((folder / "images").iterdir())}


def equal(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_run_writes_its_log_checkpoints_and_pictures(trained_once: Trainer) -> None:
    rows = read_metrics(trained_once.folder)
    assert [row["step"] for row in rows] == list(range(2, 21, 2))
    assert tuple(rows[0]) == COLUMNS
    warm, adversarial = rows[0], rows[-1]
    assert warm["alpha"] == 0 and adversarial["alpha"] == 0.25
    assert all(math.isnan(warm[name]) for name in ("kl_reconstruction", "kl_sample", "inside_margin"))
    assert all(math.isfinite(value) for value in adversarial.values())
    assert 0 <= adversarial["inside_margin"] <= 1
    assert all(row["kl_real_p95"] >= row["kl_real"] > 0 for row in rows)
    assert all(row["mu_lowest"] <= row["mu_mean"] <= row["mu_highest"] for row in rows)
    assert all(0 < row["sigma_lowest"] <= row["sigma_mean"] <= row["sigma_highest"] for row in rows)
    assert list(images(trained_once.folder)) == [f"step-{step:06d}.png" for step in (0, 1, 3, 7, 10, 16, 20)]
    state = load_checkpoint(trained_once.folder)
    assert state and state["step"] == 20


def test_warm_up_lowers_the_loss(small_faces: ImageSet, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(alpha=0.0, steps=80, warmup_steps=0), small_faces, tmp_path, CPU)
    trainer.run()
    rows = read_metrics(tmp_path)
    assert rows[-1]["loss_encoder"] < 0.7 * rows[0]["loss_encoder"]


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
    assert images(tmp_path) == images(whole)
    assert len(images(whole)) == 8


def test_a_run_started_from_a_warm_up_has_no_pictures_of_it(small_faces: ImageSet, tmp_path: Path) -> None:
    config = tiny_config(warmup_steps=12)
    Trainer(replace(config, alpha=0.0, steps=12), small_faces, tmp_path / "warmup", CPU).run()
    Trainer(config, small_faces, tmp_path / "run", CPU, start=tmp_path / "warmup").run()
    assert list(images(tmp_path / "run")) == ["step-000016.png", "step-000020.png"]


def test_the_first_picture_is_of_the_initial_weights(small_faces: ImageSet, trained: Trainer, tmp_path: Path) -> None:
    untrained = Trainer(tiny_config(), small_faces, tmp_path / "untrained", CPU)
    untrained.write_picture()
    first = images(untrained.folder)["step-000000.png"]
    assert first == images(trained.folder)["step-000000.png"] != images(trained.folder)["step-000001.png"]


@pytest.mark.slow
def test_a_killed_run_is_continued_bit_for_bit(tmp_path: Path) -> None:
    flags = [*tiny_flags("steps"), "--steps", "200", "--channels", "1", "--device", "cpu"]
    command = [sys.executable, "-m", "analysis.train", *flags, "--out"]
    for cut in (tmp_path / "whole", tmp_path / "cut"):
        if cut.name == "cut":
            with subprocess.Popen([*command, str(cut)], stderr=subprocess.DEVNULL) as process:
                deadline = time.monotonic() + 60
                while len(read_metrics(cut)) < 60:
                    assert process.poll() is None and time.monotonic() < deadline
                    time.sleep(0.005)
                process.send_signal(signal.SIGKILL)
        ended = subprocess.run([*command, str(cut)], capture_output=True, text=True, check=True)
        assert ("resuming at step" in ended.stderr) is (cut.name == "cut")
    whole, cut_off = (load_checkpoint(tmp_path / name) for name in ("whole", "cut"))
    assert whole and cut_off and whole["step"] == cut_off["step"] == 200
    assert equal(list(whole["model"].values()), list(cut_off["model"].values()))
    assert images(tmp_path / "whole") == images(tmp_path / "cut")
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


def test_a_shared_warm_up_equals_training_it_again(small_faces: ImageSet, tmp_path: Path) -> None:
    config = tiny_config(seed=5, warmup_seed=1, warmup_beta=10.0)
    alone = Trainer(config, small_faces, tmp_path / "alone", CPU)
    alone.run()
    warmup = replace(config, seed=1, alpha=0.0, beta=10.0, m=0.0, steps=config.warmup_steps)
    Trainer(warmup, small_faces, tmp_path / "warmup", CPU).run()
    shared = Trainer(config, small_faces, tmp_path / "shared", CPU, start=tmp_path / "warmup")
    assert shared.step == config.warmup_steps
    shared.run()
    assert equal(weights(shared), weights(alone))
    assert len(read_metrics(shared.folder)) == len(read_metrics(alone.folder))
    other = Trainer(replace(config, seed=6), small_faces, tmp_path / "other", CPU, start=tmp_path / "warmup")
    other.run()
    assert not equal(weights(shared), weights(other))


def test_the_configuration_decides_the_learning_rate_of_a_started_run(small_faces: ImageSet, tmp_path: Path) -> None:
    Trainer(tiny_config(), small_faces, tmp_path / "a", CPU).run(8)
    started = Trainer(tiny_config(lr=0.5), small_faces, tmp_path / "b", CPU, start=tmp_path / "a")
    assert [group["lr"] for optimizer in started.state.optimizers for group in optimizer.param_groups] == [0.5, 0.5]


def test_a_run_with_alpha_0_never_draws_prior_noise(
    small_faces: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []

    def spy(shape: tuple[int, ...], seed: int, stream: str, *where: object) -> torch.Tensor:
        drawn.append(stream)
        return torch.zeros(shape)

    monkeypatch.setattr("introvae.training.trainer.normal", spy)
    Trainer(tiny_config(alpha=0.0), small_faces, tmp_path, CPU).run()
    assert set(drawn) == {"posterior", "pictures"}


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_checkpoint(
    small_faces: ImageSet, tmp_path: Path
) -> None:
    trainer = Trainer(tiny_config(), small_faces, tmp_path, CPU)
    trainer.run(8)
    good = weights(trainer)
    with torch.no_grad():
        trainer.model.decoder.head.bias.fill_(math.nan)
    with pytest.raises(DivergedError, match=r"step 9 is not finite \(loss_encoder nan.*beta 20, m 20, lr 0.001.*lower"):
        trainer.run()
    kept = load_checkpoint(tmp_path)
    assert kept and kept["step"] == 8
    assert equal(list(kept["model"].values()), good)


def test_parameters_that_are_not_finite_are_never_saved(small_faces: ImageSet, tmp_path: Path) -> None:
    """The last step's losses are finite while its update was not."""
    trainer = Trainer(tiny_config(warmup_steps=0, steps=1), small_faces, tmp_path, CPU)
    trainer.state.optimizers.decoder.param_groups[0]["lr"] = math.inf
    with pytest.raises(DivergedError, match="the parameters at step 1 is not finite"):
        trainer.run()
    assert load_checkpoint(tmp_path) is None


def test_another_configuration_in_the_folder_is_refused(small_faces: ImageSet, trained: Trainer) -> None:
    with pytest.raises(UserError, match=r"holds another run \(beta: 20.0 -> 30.0\)"):
        Trainer(tiny_config(beta=30.0), small_faces, trained.folder, CPU)


@pytest.mark.slow
def test_batch_norm_is_evaluated_without_statistics_of_the_batch(small_faces: ImageSet, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(norm="batch"), small_faces, tmp_path, CPU)
    trainer.run()
    images = to_float(small_faces.validation[:])
    together, alone = trainer.model.reconstruct(images), trainer.model.reconstruct(images[:1])
    torch.testing.assert_close(together[:1], alone)


def test_initial_weights_follow_from_the_seed_alone() -> None:
    torch.manual_seed(123)
    first = list(build_model(tiny_config(), CPU).parameters())
    torch.manual_seed(456)
    again = list(build_model(tiny_config(beta=3.0), CPU).parameters())
    assert equal(first, again)
    assert not equal(first, list(build_model(tiny_config(seed=1), CPU).parameters()))
