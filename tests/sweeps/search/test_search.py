"""Fixed values, further dimensions of a study, and their scales."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from driven import drive, run_trials, study_of
from helpers import CPU
from optuna.trial import TrialState
from studies import read_scores, study_config

from analysis.measures.spectrum import beta_range, vae_kl
from introvae.errors import UserError
from introvae.runs.folder import CHECKPOINT, METRICS, last_row, read_config, read_metrics
from introvae.training.schedule import warmup_config
from introvae.training.trainer import Trainer
from sweeps.config import StudyConfig
from sweeps.engines.local import InlineEngine
from sweeps.plan import Plan, Setup, plan_warmup, run_config
from sweeps.run import opening, prepare, settings
from sweeps.search.dimensions import Linear
from sweeps.study import open_study
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


@pytest.mark.slow
def test_a_searched_setting_that_changes_the_warm_up_has_one_of_its_own(tmp_path: Path) -> None:
    """The trial's run can be reproduced from scratch."""
    searched = study_config(tmp_path, trials=2, sampler="sobol", search={"lr": (1e-3, 1e-2), "latent": (4, 16)})
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
    assert setup.warmup_folder(replace(other, hinge="batch", gamma_r=0.5)) == setup.warmup_folder(setup.config)
    assert setup.warmup_folder(replace(other, lr=1e-4)) != setup.warmup_folder(setup.config)


def test_beta_s_range_holds_those_of_both_ends_of_latent(tmp_path: Path) -> None:
    setup = setup_of(study_config(tmp_path, search={"latent": (4, 32)}))
    few, many = (beta_range(setup.spectrum, latent) for latent in (4, 32))
    assert setup.space.beta == pytest.approx((min(few[0], many[0]), max(few[1], many[1])))
    assert "latent 4 to 32" in opening(setup, 1)


def test_trials_with_the_same_words_share_a_warm_up(tmp_path: Path) -> None:
    search = {"norm": ("group", "none"), "network": ("residual", "plain"), "alpha_decoder": Linear(0.1, 1.0)}
    config = study_config(tmp_path, search=search)
    setup = setup_of(config)
    study, warmups = study_of(setup, config), set()
    for number in range(16):
        values = setup.space.suggest(study.ask())
        run = run_config(setup, number, values)
        warmup = plan_warmup(setup, run)
        assert warmup and warmup.folder == setup.warmup_folder(run)
        for one in (run, warmup.config):
            assert (one.norm, one.network) == (values["norm"], values["network"])
        warmups.add((values["norm"], values["network"], warmup.folder))
    assert len(warmups) == len({folder for *_, folder in warmups}) == 4


def test_a_study_with_other_words_or_another_scale_is_refused_with_the_difference(tmp_path: Path) -> None:

    def opened(**given: Any) -> None:
        config = study_config(tmp_path, study="s", **given)
        setup, images = prepare(config)
        open_study(setup.folder, settings(setup, config, images))

    first: dict[str, Any] = {"alpha": Linear(0, 0.5), "search": {"norm": ("group", "none"), "latent": Linear(4, 8)}}
    for _ in range(2):
        opened(**first)
    with pytest.raises(UserError, match=r"\(search.alpha: \['lin', 0, 0.5\] -> \['lin', 0, 0.6\]\)"):
        opened(**first | {"alpha": Linear(0, 0.6)})
    with pytest.raises(UserError, match=r"\(search.latent: \['lin', 4, 8\] -> \[4, 8\]; search.norm: .* -> unset\)"):
        opened(**first | {"search": {"latent": (4, 8)}})
    with pytest.raises(UserError, match=r"search.norm: \['group', 'none'\] -> \['group', 'batch'\]"):
        opened(**first | {"search": first["search"] | {"norm": ("group", "batch")}})


def test_a_study_says_what_it_searches_by_words_and_on_which_scale(tmp_path: Path) -> None:
    search = {"norm": ("group", "batch", "none"), "hinge": ("batch",), "lr": Linear(1e-4, 1e-3)}
    said = opening(setup_of(study_config(tmp_path, alpha=Linear(0, 0.5), search=search)), 1)
    assert said.startswith("alpha 0 to 0.5 on a linear scale, beta ")
    assert said.endswith(", norm group or batch or none, hinge batch, lr 0.0001 to 0.001 on a linear scale")


def test_a_linear_range_of_beta_begins_at_0(tmp_path: Path) -> None:
    setup = setup_of(study_config(tmp_path, beta=Linear(0, 400)))
    assert setup.space.beta == (0, 400) and setup.config.warmup_beta == 200


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


def test_draws_on_a_linear_scale_are_uniform(tmp_path: Path) -> None:
    config = study_config(tmp_path, m=Linear(0, 64), search={"batch_size": Linear(4, 64), "norm": ("group", "none")})
    space, study = setup_of(config).space, optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    drawn = [space.suggest(study.ask()) for _ in range(200)]
    for name, kind in (("m", float), ("batch_size", int)):
        values = [one[name] for one in drawn]
        assert {type(value) for value in values} == {kind} and min(values) >= 0 and max(values) <= 64
        assert sum(value <= 32 for value in values) / 200 == pytest.approx(0.5, abs=0.12)
    assert sum(one["norm"] == "none" for one in drawn) / 200 == pytest.approx(0.5, abs=0.12)
