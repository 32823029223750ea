"""Fixed values and further dimensions of a study."""

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import torch
from helpers import CPU
from studies import read_scores, study_config

from analysis.measures.spectrum import beta_range, vae_kl
from introvae.runs.folder import read_config, read_metrics
from introvae.training.trainer import Trainer
from sweeps.plan import train_warmup, warmup_config
from sweeps.run import opening, prepare
from sweeps.trial import run_trial
from sweeps.workers.slots import CutOff


def test_fixed_values_are_what_every_trial_has(tmp_path: Path) -> None:
    setup = prepare(study_config(tmp_path, fix={"alpha": 0.3, "margin_ratio": 4.0}))
    space, said = setup.space, opening(setup, 1)
    assert said.startswith("alpha 0.3, beta ") and said.endswith(", margin_ratio 4")
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    drawn = [space.suggest(study.ask()) for _ in range(3)]
    assert {(values["alpha"], values["margin_ratio"]) for values in drawn} == {(0.3, 4.0)}
    assert len({values["beta"] for values in drawn}) == 3
    assert all(trial.params["alpha"] == 0.3 for trial in study.trials)
    fixed_m = prepare(study_config(tmp_path, fix={"m": 30.0})).space.to_dict()
    assert fixed_m["m"] == [30, 30] and "margin_ratio" not in fixed_m


def test_a_searched_setting_that_changes_the_warm_up_has_one_of_its_own(tmp_path: Path) -> None:
    """The trial's run can be reproduced from scratch."""
    setup = prepare(study_config(tmp_path, search={"lr": (1e-3, 1e-2), "latent": (4, 16)}))
    assert not setup.shares_warmup(3)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(0))
    study.optimize(lambda trial: run_trial(trial, setup, trial.number, {}), n_trials=2)
    configs = [read_config(setup.run_folder(slot)) for slot in range(2)]
    assert [(c.lr, c.latent) for c in configs] == [(t.params["lr"], t.params["latent"]) for t in study.trials]
    assert len({setup.warmup_folder(config) for config in configs}) == 2
    for trial, config in zip(study.trials, configs, strict=True):
        warmup = setup.warmup_folder(config)
        assert read_config(warmup) == warmup_config(config) and read_metrics(warmup)[-1]["step"] == config.warmup_steps
        m = trial.params["margin_ratio"] * vae_kl(config, setup.spectrum, read_metrics(warmup))
        assert config.m == pytest.approx(m) == trial.user_attrs["m"]
    again = Trainer(configs[1], setup.images, tmp_path / "again", CPU)
    again.run()
    rows, others = ([list(row.items())[1:-1] for row in read_metrics(f)] for f in (setup.run_folder(1), again.folder))
    assert rows and str(rows) == str(others[: len(rows)])


def test_a_searched_setting_that_does_not_change_the_warm_up_shares_it(tmp_path: Path) -> None:
    setup = prepare(study_config(tmp_path, search={"alpha_decoder": (0.1, 1.0)}))
    assert setup.shares_warmup(3) and not prepare(study_config(tmp_path, search={"lr": (3e-3, 4e-3)})).shares_warmup(3)
    other = replace(setup.config, alpha_decoder=0.5, alpha=0.1, beta=3.0, m=4.0)
    assert setup.warmup_folder(other) == setup.warmup_folder(setup.config)
    assert setup.warmup_folder(replace(other, lr=1e-4)) != setup.warmup_folder(setup.config)


def test_beta_s_range_holds_those_of_both_ends_of_latent(tmp_path: Path) -> None:
    setup = prepare(study_config(tmp_path, search={"latent": (4, 32)}))
    few, many = (beta_range(setup.spectrum, latent) for latent in (4, 32))
    assert setup.space.beta == pytest.approx((min(few[0], many[0]), max(few[1], many[1])))
    assert "latent 4 to 32" in opening(setup, 1)


def test_a_warm_up_that_diverges_makes_its_trial_infeasible(tmp_path: Path) -> None:
    setup = prepare(study_config(tmp_path, search={"lr": (1e29, 1e30)}))
    study = optuna.create_study(direction="maximize")
    study.optimize(lambda trial: run_trial(trial, setup, 0, {}), n_trials=1)
    assert study.trials[0].constraints == {"failed": 1.0}
    scores = read_scores(setup.run_folder(0))
    assert scores and scores["state"] == "diverged" and read_config(setup.run_folder(0)).lr >= 1e29


def test_a_warm_up_that_is_stopped_resumes(tmp_path: Path) -> None:
    setup = prepare(study_config(tmp_path))
    folder = setup.warmup_folder(setup.config)
    asked = iter([False, True, True, True])
    with pytest.raises(CutOff, match="warm-up"):
        train_warmup(setup, setup.config, lambda: next(asked, True))
    assert not read_metrics(folder)
    asked = iter([False, False, True])
    with pytest.raises(CutOff, match="warm-up"):
        train_warmup(setup, setup.config, lambda: next(asked, True))
    assert read_metrics(folder)[-1]["step"] < 8
    train_warmup(setup, setup.config)
    before = (folder / "checkpoint.pt").stat().st_mtime_ns
    train_warmup(setup, setup.config, lambda: True)
    assert (folder / "checkpoint.pt").stat().st_mtime_ns == before and read_metrics(folder)[-1]["step"] == 8


def test_draws_of_further_dimensions_are_log_uniform(tmp_path: Path) -> None:
    space = prepare(study_config(tmp_path, search={"batch_size": (4, 64)})).space
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    drawn = torch.tensor([space.suggest(study.ask())["batch_size"] for _ in range(200)])
    assert drawn.dtype == torch.int64 and drawn.min() >= 4 and drawn.max() <= 64
    assert (drawn <= 16).float().mean().item() == pytest.approx(0.5, abs=0.12)
