"""sweeps.run_study, the Python API of introvae-sweep."""

import tomllib
from pathlib import Path

import pytest
import torch
from studies import study_config

import sweeps
from introvae.device import cpu_threads
from introvae.run import load_checkpoint, read_config
from introvae.trainer import Trainer
from sweeps.run import prepare, worker_count
from sweeps.setup import warmup_config


def test_the_package_gives_what_the_command_does(tmp_path: Path) -> None:
    study = sweeps.run_study(study_config(tmp_path, trials=2, pruner="none", quiet=True))
    assert [trial.user_attrs["slot"] for trial in study.trials] == [0, 1]
    assert (tmp_path / study.study_name / "summary.csv").exists()
    assert sweeps.run_study(study_config(tmp_path, trials=2, pruner="none", quiet=True)).trials == study.trials


def test_a_name_that_it_has_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'run_studies'"):
        _ = sweeps.run_studies


def test_as_many_workers_as_pytorch_would_use_threads_but_no_more_than_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    for asked, trials, expected in ((None, 50, 4), (None, 2, 2), (3, 2, 3)):
        config = study_config(tmp_path, trials=trials, workers=asked)
        assert worker_count(config, prepare(config)) == expected


def test_the_shared_warm_up_has_all_threads_and_each_worker_one(tmp_path: Path) -> None:
    """Each phase trained again, with its number of threads, gives the same bits."""
    config = study_config(tmp_path, trials=2, workers=2, pruner="none", keep=None, quiet=True)
    with cpu_threads(2):
        sweeps.run_study(config)
    setup = prepare(config)
    run = setup.run_folder(0)
    warmup = setup.warmup_folder(read_config(run))
    for folder, train, threads, start in (
        (warmup, warmup_config(setup.config), 2, None),
        (run, read_config(run), 1, warmup),
    ):
        assert tomllib.loads((folder / "params.toml").read_text())["machine"]["threads"] == threads
        with cpu_threads(threads):
            again = Trainer(train, setup.images, tmp_path / "again" / folder.name, setup.device, start)
            again.run()
        checkpoint = load_checkpoint(folder)
        assert checkpoint
        found = checkpoint["model"]
        assert all(torch.equal(value, found[name]) for name, value in again.model.state_dict().items())
