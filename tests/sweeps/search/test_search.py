"""Fixed values and further dimensions of a study."""

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import torch
from driven import drive, run_trials, study_of
from helpers import CPU
from optuna.trial import TrialState
from studies import read_scores, study_config

from analysis.measures.spectrum import beta_range, vae_kl
from introvae.runs.folder import CHECKPOINT, METRICS, last_row, read_config, read_metrics
from introvae.training.schedule import warmup_config
from introvae.training.trainer import Trainer
from sweeps.config import StudyConfig
from sweeps.engines.local import InlineEngine
from sweeps.plan import Plan, Setup, plan_warmup
from sweeps.run import opening, prepare
from sweeps.tasks.task import Worker


def setup_of(config: StudyConfig) -> Setup:
    return prepare(config)[0]


def test_fixed_values_are_what_every_trial_has(tmp_path: Path) -> None:
    setup = setup_of(study_config(tmp_path, fix={"alpha": 0.3, "margin_ratio": 4.0}))
    space, said = setup.space, opening(setup, 1)
    assert said.startswith("alpha 0.3, beta ") and said.endswith(", margin_ratio 4")
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    drawn = [space.suggest(study.ask()) for _ in range(3)]
    assert {(values["alpha"], values["margin_ratio"]) for values in drawn} == {(0.3, 4.0)}
    assert len({values["beta"] for values in drawn}) == 3
    assert all(trial.params["alpha"] == 0.3 for trial in study.trials)
    fixed_m = setup_of(study_config(tmp_path, fix={"m": 30.0})).space.to_dict()
    assert fixed_m["m"] == [30, 30] and "margin_ratio" not in fixed_m


def test_a_searched_setting_that_changes_the_warm_up_has_one_of_its_own(tmp_path: Path) -> None:
    """The trial's run can be reproduced from scratch."""
    searched = study_config(tmp_path, trials=2, sampler="random", search={"lr": (1e-3, 1e-2), "latent": (4, 16)})
    setup, images, study = run_trials(searched)
    configs = [read_config(setup.run_folder(number)) for number in range(2)]
    assert [(c.lr, c.latent) for c in configs] == [(t.params["lr"], t.params["latent"]) for t in study.trials]
    assert len({setup.warmup_folder(config) for config in configs}) == 2
    for trial, config in zip(study.trials, configs, strict=True):
        warmup = setup.warmup_folder(config)
        assert read_config(warmup) == warmup_config(config) and read_metrics(warmup)[-1]["step"] == config.warmup_steps
        m = trial.params["margin_ratio"] * vae_kl(config, setup.spectrum, read_metrics(warmup))
        assert config.m == pytest.approx(m) == trial.user_attrs["m"]
    again = Trainer(configs[1], images, tmp_path / "again", CPU)
    again.run()
    rows, others = ([list(row.items())[1:-1] for row in read_metrics(f)] for f in (setup.run_folder(1), again.folder))
    assert rows and str(rows) == str(others[: len(rows)])


def test_a_searched_setting_that_does_not_change_the_warm_up_shares_it(tmp_path: Path) -> None:
    setup = setup_of(study_config(tmp_path, search={"alpha_decoder": (0.1, 1.0)}))
    other = replace(setup.config, alpha_decoder=0.5, alpha=0.1, beta=3.0, m=4.0)
    assert setup.warmup_folder(other) == setup.warmup_folder(setup.config)
    assert setup.warmup_folder(replace(other, lr=1e-4)) != setup.warmup_folder(setup.config)


def test_beta_s_range_holds_those_of_both_ends_of_latent(tmp_path: Path) -> None:
    setup = setup_of(study_config(tmp_path, search={"latent": (4, 32)}))
    few, many = (beta_range(setup.spectrum, latent) for latent in (4, 32))
    assert setup.space.beta == pytest.approx((min(few[0], many[0]), max(few[1], many[1])))
    assert "latent 4 to 32" in opening(setup, 1)


def test_a_warm_up_that_diverges_makes_its_trial_infeasible(tmp_path: Path) -> None:
    setup, _, study = run_trials(study_config(tmp_path, trials=1, search={"lr": (1e29, 1e30)}))
    assert study.trials[0].constraints == {"failed": 1.0}
    scores = read_scores(setup.run_folder(0))
    assert scores and scores["state"] == "diverged" and read_config(setup.run_folder(0)).lr >= 1e29


def test_a_warm_up_is_planned_until_it_is_trained(tmp_path: Path) -> None:
    setup, images = prepare(study_config(tmp_path))
    assert plan_warmup(setup, replace(setup.config, warmup_steps=0)) is None
    planned = Plan(config=warmup_config(setup.config), folder=setup.warmup_folder(setup.config))
    for until in (4, 6, 8):
        assert plan_warmup(setup, setup.config) == planned
        Trainer(planned.config, images, planned.folder, CPU).run(until)
    assert setup.config.warmup_steps == 8 and plan_warmup(setup, setup.config) is None
    (planned.folder / CHECKPOINT).unlink()
    assert plan_warmup(setup, setup.config) == planned


def test_a_warm_up_that_is_stopped_resumes(tmp_path: Path) -> None:
    config = study_config(tmp_path, trials=1)
    setup, images = prepare(config)
    study, warmup, trial = study_of(setup, config), setup.warmup_folder(setup.config), setup.run_folder(0)

    def run_until(folder: Path, step: int) -> str:
        """Run the study, stopped at the log after this step of a run; return what the warm-up has logged."""

        def stop() -> bool:
            row = last_row(folder)
            return row is not None and row["step"] >= step

        drive(setup, config, study, InlineEngine(Worker(images=images)), stop)
        assert [trial.state for trial in study.trials] == [TrialState.RUNNING]
        return (warmup / METRICS).read_text()

    begun = run_until(warmup, 4)
    assert read_metrics(warmup)[-1]["step"] == 6 and not trial.exists()
    whole = run_until(warmup, 8)
    assert read_metrics(warmup)[-1]["step"] == 8 and not trial.exists()
    assert whole.startswith(begun)  # speeds included, so that no step was trained again
    before = (warmup / CHECKPOINT).stat().st_mtime_ns
    assert run_until(trial, 8) == whole and read_metrics(trial)[-1]["step"] == 10
    assert (warmup / CHECKPOINT).stat().st_mtime_ns == before


def test_draws_of_further_dimensions_are_log_uniform(tmp_path: Path) -> None:
    space = setup_of(study_config(tmp_path, search={"batch_size": (4, 64)})).space
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    drawn = torch.tensor([space.suggest(study.ask())["batch_size"] for _ in range(200)])
    assert drawn.dtype == torch.int64 and drawn.min() >= 4 and drawn.max() <= 64
    assert (drawn <= 16).float().mean().item() == pytest.approx(0.5, abs=0.12)
