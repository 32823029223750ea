"""Samplers draw by the study's seed, a trial's number and the finished trials."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from driven import Drawing, alpha_of, complete, drawn_study
from optuna.trial import TrialState

from introvae.runs.record import RunState
from sweeps.engines.local import InlineEngine
from sweeps.search.dimensions import Dimension, Linear
from sweeps.search.samplers import NumberedSampler
from sweeps.search.space import Space
from sweeps.tasks.task import Result, Task

SPACE = Space(alpha=(0.1, 1.0), beta=(1.0, 100.0), margin_ratio=(4.0, 4.0), search={"batch_size": (4, 64)})
FURTHER: dict[str, Dimension] = {
    "norm": ("group", "none"),
    "lr": Linear(1e-3, 1e-2),
    "latent": Linear(4, 9),
    "hinge": ("batch",),
}
MIXED = Space(alpha=Linear(0.0, 1.0), beta=(1.0, 100.0), margin_ratio=(1.0, 16.0), search=FURTHER)


class Killed(BaseException):
    """End of a driver's process."""


def judge(task: Task) -> Result:
    """Prune every third trial with a score; every fifth is infeasible without one."""
    number, score = int(task.plan.folder.name.removeprefix("trial-")), alpha_of(task)
    if number % 5 == 4:
        return complete(task, 0.0, RunState.DIVERGED)
    return complete(task, score, RunState.PRUNED if number % 3 == 2 else RunState.COMPLETE)


def killing(count: int) -> Callable[[Task], Result]:
    """Return a judge that ends the process at its task number `count`."""
    seen = 0

    def run(task: Task) -> Result:
        nonlocal seen
        seen += 1
        if seen == count:
            raise Killed
        return judge(task)

    return run


def fill(
    path: Path, sampler: str, total: int, seed: int = 0, killed_at: int = 0, space: Space = SPACE
) -> list[dict[str, Any]]:
    """Return the parameters of a study's trials."""
    engine = InlineEngine(Drawing(killing(killed_at)))
    try:
        study = drawn_study(path, space, total, engine, sampler=sampler, seed=seed)
    except Killed:
        return []
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize(("sampler", "total"), [("tpe", 13), ("sobol", 5)])
def test_a_study_that_is_cut_off_draws_the_same(sampler: str, total: int, tmp_path: Path) -> None:
    """TPE draws at random until it has seen ten trials."""
    whole = fill(tmp_path / "whole", sampler, total)
    for killed_at in (1, 1, total - 1):
        assert fill(tmp_path / "cut", sampler, total - 1, killed_at=killed_at) == []
    assert fill(tmp_path / "cut", sampler, total) == whole
    assert fill(tmp_path / "other", sampler, 3, seed=1) != whole[:3]
    for params in whole:
        assert params.keys() == SPACE.distributions.keys() and params["margin_ratio"] == 4
        assert 0.1 <= params["alpha"] <= 1 and 1 <= params["beta"] <= 100 and params["batch_size"] in range(4, 65)
    assert all(len({params[name] for params in whole[:5]}) == 5 for name in ("alpha", "beta"))


@pytest.mark.parametrize("sampler", ["tpe", "sobol"])
def test_words_and_linear_ranges_are_drawn_by_number_too(sampler: str, tmp_path: Path) -> None:
    whole = fill(tmp_path / "whole", sampler, 13, space=MIXED)
    assert fill(tmp_path / "cut", sampler, 12, killed_at=5, space=MIXED) == []
    assert fill(tmp_path / "cut", sampler, 13, space=MIXED) == whole
    for params in whole:
        assert 0 <= params["alpha"] <= 1 and 1e-3 <= params["lr"] <= 1e-2 and params["latent"] in range(4, 10)
        assert params["norm"] in ("group", "none") and params["hinge"] == "batch"
    assert {params["norm"] for params in whole} == {"group", "none"}


def test_sobol_points_fill_each_range_evenly() -> None:
    study = optuna.create_study(sampler=NumberedSampler(0, "sobol", MIXED.distributions))
    drawn = [MIXED.suggest(study.ask()) for _ in range(16)]
    for name, middle in (("alpha", 0.5), ("beta", 10.0), ("margin_ratio", 4.0), ("lr", 5.5e-3), ("latent", 6.5)):
        assert sum(values[name] < middle for values in drawn) == 8, name
    assert sum(values["norm"] == "group" for values in drawn) == 8


@pytest.mark.parametrize("drawn", range(3))
def test_a_trial_that_is_killed_amid_its_draws_draws_the_same(
    drawn: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fill(tmp_path / "whole", "tpe", 13)
    fill(tmp_path / "cut", "tpe", 12)
    suggest, seen = optuna.Trial.suggest_float, 0

    def dying(*arguments: object, **options: object) -> float:
        nonlocal seen
        seen += 1
        if seen > drawn:
            raise Killed
        return suggest(*arguments, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Trial, "suggest_float", dying)
        assert fill(tmp_path / "cut", "tpe", 13) == []
    assert fill(tmp_path / "cut", "tpe", 13) == whole


def resting(value: bool) -> optuna.Study:
    """Return a study of 20 trials that have come to a rung, with the score of their alpha or without any."""
    study = optuna.create_study(direction="maximize")
    for number in range(20):
        params = {"alpha": 0.1 + 0.045 * number, "beta": 10.0, "margin_ratio": 4.0, "batch_size": 8}
        known = {10: params["alpha"]} if value else {}
        study.add_trial(
            optuna.create_trial(
                state=TrialState.RUNNING, params=params, distributions=SPACE.distributions, intermediate_values=known
            )
        )
    return study


def test_tpe_learns_from_trials_that_rest_at_a_rung() -> None:
    def mean(study: optuna.Study) -> float:
        draws = []
        for number in range(20, 60):
            trial = optuna.create_trial(state=TrialState.RUNNING)
            trial.number = number
            sampler = NumberedSampler(0, "tpe", SPACE.distributions)
            draws.append(sampler.sample_relative(study, trial, sampler.infer_relative_search_space(study, trial)))
        return sum(values["alpha"] for values in draws) / len(draws)

    assert mean(resting(value=True)) > 1.5 * mean(resting(value=False))
