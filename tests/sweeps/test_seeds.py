"""Repeats of the best setting over seeds, and their spread."""

from pathlib import Path

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from studies import make_run, study_config

from introvae.runs.folder import read_config
from sweeps.earlier import repeats_of
from sweeps.points import Point
from sweeps.run import prepare, run_study, summarize
from sweeps.study import best_trial


@pytest.mark.slow
def test_the_best_setting_is_repeated_over_seeds(
    tmp_path: Path, forgiving: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Repeats have the searched values, and warm-ups of their own."""
    monkeypatch.setattr("sweeps.run.summarize", lambda *_: None)
    config = study_config(
        tmp_path, {"seed": 5}, points=(Point(alpha=0.1, beta=40.0, margin_ratio=2.0),), trials=None, seeds=2,
        study="faces", search={"lr": (3e-3, 4e-3)},
    )  # fmt: skip
    study = run_study(config)
    best = best_trial(study.trials)
    assert best
    folder = tmp_path / "faces-best-0"
    runs = [read_config(folder / f"trial-00{number}") for number in range(2)]
    assert [(run.seed, run.warmup_seed, run.images_seed) for run in runs] == [(5, 5, 5), (6, 6, 5)]
    first = read_config(tmp_path / "faces" / "trial-000")
    assert all((run.alpha, run.beta, run.lr) == (0.1, 40.0, best.params["lr"]) for run in runs)
    assert all(run.warmup_beta == first.warmup_beta for run in runs) and runs[0].m != runs[1].m
    assert len(list((folder / ".warmup").iterdir())) == 2


def test_without_a_complete_trial_nothing_is_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.run.summarize", lambda *_: None)
    run_study(study_config(tmp_path, {"lr": 1e30, "warmup_steps": 0}, trials=1, seeds=2, study="faces"))
    assert capsys.readouterr().out.endswith("so there is no best setting to repeat\n")
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]


def test_absolute_and_foreign_values_are_repeated_as_they_were(tmp_path: Path) -> None:
    search = {"norm": ("group", "none")}
    config = study_config(tmp_path, fix={"m": 30.0}, seeds=3, pruner="forecast", sampler="sobol", search=search)
    setup, _ = prepare(config)
    known: dict[str, BaseDistribution] = {name: FloatDistribution(0.1, 30.0) for name in ("alpha", "m")}
    known |= {"norm": CategoricalDistribution(("group", "none"))}
    best = optuna.create_trial(
        value=0.5, params={"alpha": 0.2, "m": 30.0, "norm": "none"}, distributions=known,
        user_attrs={"point": {"beta": 1e6, "seed": 9}},
    )  # fmt: skip
    best.number = 4
    repeats = repeats_of(config, setup, best)
    assert repeats.points == tuple(Point(alpha=0.2, beta=1e6, m=30.0, seed=seed) for seed in range(3))
    assert (repeats.study, repeats.total, repeats.pruned_by) == (f"{setup.folder.name}-best-4", 3, "none")
    assert repeats.train.norm == "none" and not repeats.search
    assert repeats.train.warmup_beta == setup.config.warmup_beta and not repeats.fix and repeats.seeds is None


def test_a_study_ends_with_its_repeated_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setup, _ = prepare(study_config(tmp_path, study="faces"))
    for number in range(3):
        make_run(setup.run_folder(number), "complete", 0.5 + number / 10, seed=number)
    summarize(setup)
    printed = capsys.readouterr().out
    assert "Settings repeated with other seeds" in printed and "0.600 ± 0.100 0.540 ± 0.090 0" in printed
