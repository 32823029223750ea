"""What each sampler draws follows from the study's seed, the slot and the finished trials; which trials are pruned."""

from pathlib import Path

import optuna
import pytest
import torch
from optuna.pruners import BasePruner
from studies import finished, would_prune

from sweeps.config import PRUNERS
from sweeps.search.pruning import pruner_of
from sweeps.search.samplers import SlotSampler
from sweeps.search.space import Space
from sweeps.study import open_study
from sweeps.workers.slots import DRAWN, FINISHED, CutOff, Filler

SPACE = Space((0.1, 1.0), (1.0, 100.0), (4.0, 4.0), search={"batch_size": (4, 64)})


def fill(path: Path, sampler: str, total: int, cuts: tuple[int, ...] = (), seed: int = 0) -> list[dict[str, float]]:
    """The parameters of slots 0..total-1; the first trials of the slots in `cuts` are cut off.

    Every third trial is pruned with a score, every fifth is infeasible without one.
    """
    study = open_study(path, {}, SlotSampler(seed, sampler, SPACE.distributions))

    def run(trial: optuna.Trial, slot: int, reported: dict[int, float]) -> float:
        drawn = SPACE.suggest(trial)
        if slot in cuts and trial.number == slot + cuts.index(slot):
            raise CutOff
        trial.set_user_attr(DRAWN, True)
        trial.set_constraint("failed", 1.0 if slot % 5 == 4 else -1.0)
        if slot % 5 == 4:
            raise optuna.TrialPruned
        trial.report(drawn["alpha"], 1)
        if slot % 3 == 2:
            raise optuna.TrialPruned
        return drawn["alpha"]

    Filler(study, total, lambda slot: path / str(slot), run).fill(lambda study, trial: None)
    done = study.get_trials(states=FINISHED)
    return [trial.params for trial in sorted(done, key=lambda trial: trial.user_attrs["slot"])]


@pytest.mark.parametrize(("sampler", "total"), [("tpe", 13), ("gp", 12), ("random", 5), ("qmc", 5)])
def test_a_study_that_is_cut_off_draws_the_same(sampler: str, total: int, tmp_path: Path) -> None:
    """TPE and the Gaussian process draw at random until they have seen ten trials."""
    whole = fill(tmp_path / "whole", sampler, total)
    fill(tmp_path / "cut", sampler, total - 1, cuts=(0, total - 2))
    assert fill(tmp_path / "cut", sampler, total) == whole
    assert fill(tmp_path / "other", sampler, 3, seed=1) != whole[:3]
    for params in whole:
        assert params.keys() == SPACE.distributions.keys() and params["margin_ratio"] == 4
        assert 0.1 <= params["alpha"] <= 1 and 1 <= params["beta"] <= 100 and params["batch_size"] in range(4, 65)
    assert all(len({params[name] for params in whole[:5]}) == 5 for name in ("alpha", "beta"))


def test_quasi_random_points_fill_the_space_evenly(tmp_path: Path) -> None:
    drawn = fill(tmp_path / "s", "qmc", 16)
    for name, low, high in (("alpha", 0.1, 1.0), ("beta", 1.0, 100.0)):
        shares = torch.tensor([params[name] / low for params in drawn]).log() / torch.tensor(high / low).log()
        assert sorted((shares * 16).floor().int().tolist()) == list(range(16))
    assert len({params["batch_size"] for params in drawn}) > 8 and all(type(p["batch_size"]) is int for p in drawn)


def test_the_gaussian_process_learns_from_pruned_and_infeasible_trials() -> None:
    """It leaves the half of the space where every trial failed, or was pruned with a low score."""
    for infeasible in (True, False):
        sampler = SlotSampler(0, "gp", SPACE.distributions)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        others = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
        for slot in range(16):
            params = SPACE.suggest(trial := others.ask())
            bad = params["beta"] > 10
            study.add_trial(
                optuna.create_trial(
                    state=optuna.trial.TrialState.PRUNED if bad else optuna.trial.TrialState.COMPLETE,
                    value=None if infeasible and bad else 0.1 if bad else 0.8,
                    params=trial.params, distributions=SPACE.distributions, user_attrs={"slot": slot},
                    constraints={"failed": 1.0 if infeasible and bad else -1.0},
                )
            )  # fmt: skip
        assert 4 < sum(trial.params["beta"] > 10 for trial in study.trials) < 12
        assert SPACE.suggest(study.ask())["beta"] < 20


def study_with(pruner: BasePruner) -> optuna.Study:
    return optuna.create_study(direction="maximize", pruner=pruner)


def test_the_median_of_five_scores_at_a_rung_prunes() -> None:
    study = study_with(pruner_of("median"))
    assert not would_prune(study, {})
    for slot, score in enumerate((0.1, 0.2, 0.3, 0.4)):
        finished(study, slot, {10: score}, pruned=slot % 2 == 0)
    assert not would_prune(study, {10: 0.0})  # the median of four says little
    finished(study, 4, {10: 0.5, 20: 0.9})
    assert would_prune(study, {10: 0.29})
    assert not would_prune(study, {10: 0.3}) and not would_prune(study, {10: 0.0, 20: 0.0})


def test_pruners_by_name() -> None:
    decisions = {}
    for name in PRUNERS:
        study = study_with(pruner_of(name))
        for slot in range(8):
            finished(study, slot, {10: slot / 10})
        decisions[name] = [would_prune(study, {10: score}) for score in (0.0, 0.35, 0.9)]
    assert decisions == {"halving": [True, True, False], "median": [True, False, False], "none": [False] * 3}
