"""sweeps.run_study, the Python API of introvae-sweep."""

import copy
import shutil
import tomllib
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from helpers import CPU, save_image
from optuna.trial import FrozenTrial
from studies import study_config

import sweeps
from introvae.errors import UserError
from introvae.runs.folder import load_checkpoint, read_config
from introvae.training.trainer import Trainer
from sweeps.engines.local import InlineEngine, LocalEngine
from sweeps.run import limits, make_engine, prepare, worker_count

GPU = torch.device("cuda")


@pytest.mark.slow
def test_the_package_gives_what_the_command_does(tmp_path: Path) -> None:
    study = sweeps.run_study(study_config(tmp_path, trials=2, pruner="none", quiet=True))
    assert [trial.number for trial in study.trials] == [0, 1]
    assert (tmp_path / study.study_name / "summary.csv").exists()
    again = sweeps.run_study(study_config(tmp_path, trials=2, pruner="none", quiet=True))
    known, read = ([vars(copy_without_times(trial)) for trial in one.trials] for one in (study, again))
    assert read == known


@pytest.mark.slow
def test_optuna_says_afterwards_what_it_said_before(tmp_path: Path) -> None:
    usual = optuna.logging.get_verbosity()
    sweeps.run_study(study_config(tmp_path, trials=1, workers=1, pruner="none", quiet=True))
    assert optuna.logging.get_verbosity() == usual


def test_limits_are_named_as_they_were_given(tmp_path: Path) -> None:
    config = study_config(tmp_path, budget=12_345_678, hours=0.5, patience=3)
    assert limits(config) == "--budget 12345678, --hours 0.5, --patience 3"


@pytest.mark.slow
def test_folders_of_trials_that_are_gone_are_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = study_config(tmp_path, trials=2, workers=1, pruner="none", quiet=True)
    folder = tmp_path / sweeps.run_study(config).study_name
    shutil.rmtree(folder / "trial-001")
    capsys.readouterr()
    assert len(sweeps.run_study(config).trials) == 2
    assert capsys.readouterr().err == "the folders of trials 1 are gone: the report goes without them\n"
    shutil.rmtree(folder / "trial-000")
    with pytest.raises(UserError, match=r"the folders of all trials of .* are gone; --study NEW begins another study"):
        sweeps.run_study(config)


@pytest.mark.slow
def test_a_process_that_finds_other_images_ends_the_study(tmp_path: Path) -> None:
    """Each trial has a process of its own, which reads them, and there is no warm-up that remembers the first ones."""
    for index in range(30):
        save_image(tmp_path / f"faces/{index:02d}.png", (20, 20), "L", seed=index)
    train = {"data": str(tmp_path / "faces"), "warmup_steps": 0}
    config = study_config(tmp_path / "out", train, trials=2, workers=1, isolate=True, pruner="none", quiet=True)

    def rename(*_: Any) -> None:
        for index in range(10):
            (tmp_path / f"faces/{index:02d}.png").rename(tmp_path / f"faces/z{index}.png")

    with pytest.raises(UserError, match="the images are no longer those of the study; restore them, then rerun"):
        sweeps.run_study(config, callbacks=[rename])


def copy_without_times(trial: FrozenTrial) -> FrozenTrial:
    """Forget when a trial began and ended: the database has times of its own, milliseconds later."""
    trial = copy.deepcopy(trial)
    trial.datetime_start = trial.datetime_complete = None
    return trial


def test_as_many_workers_as_pytorch_would_use_threads_but_no_more_than_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    for asked, trials, expected in ((None, 50, 4), (None, 2, 2), (3, 2, 3)):
        assert worker_count(study_config(tmp_path, trials=trials, workers=asked), CPU) == expected


def test_as_many_workers_as_gpus_but_no_more_than_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    cases: list[tuple[dict[str, Any], int]] = [
        ({"device": "auto", "trials": 50}, 4), ({"device": "cuda", "trials": 2}, 2),
        ({"device": "cuda:1"}, 1), ({"device": "cuda:1", "workers": 3}, 3),
        ({"device": "cuda", "processes_per_trial": 4}, 1),
    ]  # fmt: skip
    for given, expected in cases:
        assert worker_count(study_config(tmp_path, **given), GPU) == expected


@pytest.mark.parametrize(("given", "devices", "threads"), [
    ({"workers": 1}, None, None),
    ({"workers": 1, "isolate": True}, ["cpu"], None),
    ({"workers": 1, "trial_timeout": 60.0}, ["cpu"], None),
    ({"workers": 1, "processes_per_trial": 2}, ["cpu"], None),
    ({"workers": 2}, ["cpu", "cpu"], 1),
])  # fmt: skip
def test_one_worker_on_a_cpu_needs_no_process_unless_it_may_have_to_be_ended(
    given: dict[str, Any], devices: list[str] | None, threads: int | None, tmp_path: Path
) -> None:
    config = study_config(tmp_path, **given)
    engine = make_engine(config, *prepare(config))
    if devices is None:
        assert isinstance(engine, InlineEngine) and engine.worker.images is not None
    else:
        assert isinstance(engine, LocalEngine)
        assert (engine.devices, engine.threads, engine.capacity) == (devices, threads, len(devices))


@pytest.mark.parametrize(("given", "devices"), [
    ({"device": "auto"}, ["cuda:0", "cuda:1"]),
    ({"device": "cuda", "workers": 3}, ["cuda:0", "cuda:1", "cuda:0"]),
    ({"device": "cuda:1"}, ["cuda:1"]),
    ({"device": "cuda:1", "workers": 2}, ["cuda:1", "cuda:1"]),
    ({"device": "cuda", "processes_per_trial": 2}, ["cuda"]),
])  # fmt: skip
def test_workers_take_turns_at_the_gpus(
    given: dict[str, Any], devices: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = study_config(tmp_path, **given)
    setup, images = prepare(config)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr("sweeps.run.find_device", lambda name: torch.device(name.replace("auto", "cuda")))
    engine = make_engine(config, setup, images)
    assert isinstance(engine, LocalEngine) and (engine.devices, engine.threads) == (devices, None)


def test_a_study_is_not_written_among_its_images(tmp_path: Path) -> None:
    for index in range(18):
        save_image(tmp_path / "photographs" / f"{index}.png", (20, 20), "L", seed=index)
    config = study_config(tmp_path, {"data": str(tmp_path / "photographs"), "channels": 0}, study="photographs")
    with pytest.raises(UserError, match="photographs is the folder of --data, and holds images already; choose"):
        sweeps.run_study(config)
    assert len(list((tmp_path / "photographs").iterdir())) == 18


@pytest.mark.slow
def test_a_trial_of_several_workers_trained_again_alone_has_the_same_bits(tmp_path: Path) -> None:
    config = study_config(tmp_path, trials=2, workers=2, pruner="none", keep=None, quiet=True)
    sweeps.run_study(config)
    setup, images = prepare(config)
    for number in range(2):
        run = setup.run_folder(number)
        assert tomllib.loads((run / "params.toml").read_text())["machine"]["threads"] == torch.get_num_threads() == 1
        alone = Trainer(read_config(run), images, tmp_path / "alone" / run.name, CPU)
        alone.run()
        checkpoint = load_checkpoint(run)
        assert checkpoint
        assert all(torch.equal(value, checkpoint["model"][name]) for name, value in alone.model.state_dict().items())
