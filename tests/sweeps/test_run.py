"""sweeps.run_study, the Python API of introvae-sweep."""

import tomllib
from pathlib import Path

import pytest
import torch
from studies import study_config

import sweeps
from introvae.runs.folder import load_checkpoint, read_config
from introvae.training.trainer import Trainer
from sweeps.run import prepare, worker_count


def test_the_package_gives_what_the_command_does(tmp_path: Path) -> None:
    study = sweeps.run_study(study_config(tmp_path, trials=2, pruner="none", quiet=True))
    assert [trial.user_attrs["slot"] for trial in study.trials] == [0, 1]
    assert (tmp_path / study.study_name / "summary.csv").exists()
    assert sweeps.run_study(study_config(tmp_path, trials=2, pruner="none", quiet=True)).trials == study.trials


def test_as_many_workers_as_pytorch_would_use_threads_but_no_more_than_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    for asked, trials, expected in ((None, 50, 4), (None, 2, 2), (3, 2, 3)):
        config = study_config(tmp_path, trials=trials, workers=asked)
        assert worker_count(config, prepare(config)) == expected


def test_a_trial_of_several_workers_trained_again_alone_has_the_same_bits(tmp_path: Path) -> None:
    config = study_config(tmp_path, trials=2, workers=2, pruner="none", keep=None, quiet=True)
    sweeps.run_study(config)
    setup = prepare(config)
    for slot in range(2):
        run = setup.run_folder(slot)
        assert tomllib.loads((run / "params.toml").read_text())["machine"]["threads"] == torch.get_num_threads() == 1
        alone = Trainer(read_config(run), setup.images, tmp_path / "alone" / run.name, setup.device)
        alone.run()
        checkpoint = load_checkpoint(run)
        assert checkpoint
        assert all(torch.equal(value, checkpoint["model"][name]) for name, value in alone.model.state_dict().items())
