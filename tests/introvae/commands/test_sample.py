import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import CPU, exit_code, tiny_config
from PIL import Image
from studies import make_run

import introvae
from introvae.commands.options import run_command
from introvae.commands.sample import main
from introvae.data.image_set import ImageSet, to_float
from introvae.errors import UserError
from introvae.files import OUTPUT
from introvae.runs.folder import save_checkpoint
from introvae.runs.record import RunRecord, RunState, Scores, write_record
from introvae.training.trainer import Trainer


@pytest.fixture(scope="module")
def averaged(small_faces: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    trainer = Trainer(tiny_config(ema_decay=0.9), small_faces, tmp_path_factory.mktemp("runs") / "run", CPU)
    trainer.run()
    return trainer


def test_a_loaded_run_does_what_the_trained_model_did(averaged: Trainer, small_faces: ImageSet) -> None:
    model = introvae.load_run(averaged.folder, "cpu")
    images = to_float(small_faces.validation[:5])
    assert torch.equal(model.reconstruct(images), averaged.evaluated.reconstruct(images))
    assert torch.equal(model.sample(3), averaged.evaluated.sample(3))
    assert not torch.equal(model.reconstruct(images), averaged.model.reconstruct(images))


def test_samples_follow_from_the_seed_and_truncation_makes_them_alike(averaged: Trainer) -> None:
    model = averaged.evaluated
    first, again, other = model.sample(8, 1), model.sample(8, 1), model.sample(8, 2)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == (8, 1, 16, 16) and 0 <= first.min() <= first.max() <= 1
    spreads = [model.sample(256, 0, truncation).var(0).sum().item() for truncation in (0.1, 0.5, 2.0, None)]
    assert spreads == sorted(spreads)


def test_the_command_writes_a_sheet_and_each_sample(
    averaged: Trainer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        exit_code(main, [str(averaged.folder), "--n", "7", "--seed", "3", "--out", str(tmp_path), "--device", "cpu"])
        == 0
    )
    names = [OUTPUT, *(f"{index:05d}.png" for index in range(7)), "sheet.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    expected = (averaged.evaluated.sample(7, 3) * 255).round().byte().numpy()
    for index in range(7):
        assert np.array_equal(np.asarray(Image.open(tmp_path / f"{index:05d}.png")), expected[index, 0])
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))[::4, ::4]
    assert sheet.shape == (3 * 16, 3 * 16)
    assert np.array_equal(sheet[16:32, :16], expected[3, 0]) and (sheet[32:, 16:] == 255).all()
    assert str(tmp_path / "sheet.png") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["nowhere"], "there is no run nowhere"),
        (["RUN", "--n", "0"], "--n is 0; allowed: 1 or more"),
        (["RUN", "--seed", "-1"], "--seed is -1; allowed: 0 or more"),
        (["RUN", "--truncation", "nan"], "--truncation is nan; allowed: more than 0"),
        (["RUN", "--device", "tpu"], "--device tpu is not known"),
    ],
)
def test_nonsense_is_one_line(
    flags: list[str], message: str, averaged: Trainer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(main, [str(averaged.folder) if flag == "RUN" else flag for flag in flags]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_run_without_its_weights_is_refused(averaged: Trainer, small_faces: ImageSet, tmp_path: Path) -> None:
    Trainer(tiny_config(), small_faces, tmp_path, CPU)
    with pytest.raises(UserError, match="has no checkpoint"):
        introvae.load_run(tmp_path)
    save_checkpoint(tmp_path, {"step": 4, "model": {}})
    with pytest.raises(UserError, match="have other shapes"):
        introvae.load_run(tmp_path)


def test_the_package_has_no_other_surprises() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = introvae.nothing


def test_the_best_run_of_a_study_is_sampled(
    averaged: Trainer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(averaged.folder, tmp_path / "study" / "good")
    make_run(tmp_path / "study" / "worse", score=0.1)
    write_record(tmp_path / "study" / "good", RunRecord(state=RunState.COMPLETE, scores=Scores(score=0.9)))
    assert exit_code(main, [str(tmp_path / "study"), "--best", "--n", "2"]) == 0, capsys.readouterr().err
    assert (tmp_path / "study" / "good" / "samples" / "00001.png").exists()


@pytest.mark.parametrize(("resumes", "then"), [(False, ""), (True, " to resume from the last checkpoint")])
def test_only_what_has_checkpoints_speaks_of_them(resumes: bool, then: str, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    assert run_command("introvae-it", interrupted, resumes=resumes) == 130
    assert capsys.readouterr().err == f"\nintrovae-it: interrupted; rerun the same command{then}\n"
