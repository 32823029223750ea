import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import CPU, picture_files, tiny_config

from introvae.data.image_set import ImageSet, to_float
from introvae.errors import DivergedError, UserError
from introvae.runs.folder import load_checkpoint, read_metrics
from introvae.training.metrics import COLUMNS
from introvae.training.state import build_model
from introvae.training.trainer import Trainer


def weights(trainer: Trainer) -> list[torch.Tensor]:
    return [value.clone() for value in trainer.model.state_dict().values()]


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
    assert list(picture_files(trained_once.folder)) == [f"step-{step:06d}.png" for step in (0, 1, 3, 7, 10, 16, 20)]
    state = load_checkpoint(trained_once.folder)
    assert state and state["step"] == 20


def test_warm_up_lowers_the_loss(small_faces: ImageSet, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(alpha=0.0, steps=80, warmup_steps=0), small_faces, tmp_path, CPU)
    trainer.run()
    rows = read_metrics(tmp_path)
    assert rows[-1]["loss_encoder"] < 0.7 * rows[0]["loss_encoder"]


def test_a_run_started_from_a_warm_up_has_no_pictures_of_it(small_faces: ImageSet, tmp_path: Path) -> None:
    config = tiny_config(warmup_steps=12)
    Trainer(replace(config, alpha=0.0, steps=12), small_faces, tmp_path / "warmup", CPU).run()
    Trainer(config, small_faces, tmp_path / "run", CPU, start=tmp_path / "warmup").run()
    assert list(picture_files(tmp_path / "run")) == ["step-000016.png", "step-000020.png"]


def test_the_first_picture_is_of_the_initial_weights(small_faces: ImageSet, trained: Trainer, tmp_path: Path) -> None:
    untrained = Trainer(tiny_config(), small_faces, tmp_path / "untrained", CPU)
    untrained.write_picture()
    first = picture_files(untrained.folder)["step-000000.png"]
    assert first == picture_files(trained.folder)["step-000000.png"] != picture_files(trained.folder)["step-000001.png"]


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
    started = Trainer(tiny_config(lr=0.5), small_faces, tmp_path / "b", CPU, start=str(tmp_path / "a"))
    assert [group["lr"] for optimizer in started.state.optimizers for group in optimizer.param_groups] == [0.5, 0.5]


def test_a_run_that_would_start_from_no_run_is_refused(small_faces: ImageSet, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing is no run to start from: it holds no metrics\.csv"):
        Trainer(tiny_config(), small_faces, tmp_path / "run", CPU, start=tmp_path / "missing")
    assert not (tmp_path / "run").exists()


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
    with pytest.raises(
        DivergedError, match=r"step 9 is not finite \(loss_encoder nan.*beta 20, m 20, lr 0.001.*lower"
    ) as error:
        trainer.run()
    assert f"; the last good checkpoint stays in {tmp_path}; " in str(error.value)
    kept = load_checkpoint(tmp_path)
    assert kept and kept["step"] == 8
    assert equal(list(kept["model"].values()), good)


def test_parameters_that_are_not_finite_are_never_saved(small_faces: ImageSet, tmp_path: Path) -> None:
    """The last step's losses are finite while its update was not."""
    trainer = Trainer(tiny_config(warmup_steps=0, steps=1), small_faces, tmp_path, CPU)
    trainer.state.optimizers.decoder.param_groups[0]["lr"] = math.inf
    said = rf"the parameters at step 1 is not finite .*; {re.escape(str(tmp_path))} has no checkpoint yet; lower lr"
    with pytest.raises(DivergedError, match=said):
        trainer.run()
    assert load_checkpoint(tmp_path) is None


def test_another_configuration_in_the_folder_is_refused(small_faces: ImageSet, trained: Trainer) -> None:
    with pytest.raises(UserError, match=r"holds another run \(beta: 20.0 -> 30.0\)"):
        Trainer(tiny_config(beta=30.0), small_faces, trained.folder, CPU)


def test_channels_left_open_are_those_of_the_images(small_faces: ImageSet, trained: Trainer) -> None:
    again = Trainer(tiny_config(channels=0), small_faces, trained.folder, CPU)
    assert again.config == trained.config and again.step == trained.step


@pytest.mark.parametrize("wrong", [{"channels": 3}, {"image_size": 32, "widths": (8, 8, 8)}])
def test_images_of_another_shape_are_refused(small_faces: ImageSet, tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"^image_size is .*; allowed: 16, as the images have, and 1 or 0$"):
        Trainer(tiny_config(**wrong), small_faces, tmp_path / "run", CPU)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_device_may_be_given_by_name(small_faces: ImageSet, trained: Trainer, tmp_path: Path) -> None:
    assert Trainer(trained.config, small_faces, trained.folder, "cpu").device == CPU
    with pytest.raises(UserError, match="--device cuda:99 is not on this machine"):
        Trainer(trained.config, small_faces, tmp_path / "other", "cuda:99")
    assert not (tmp_path / "other").exists()


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
