"""Samplers draw by the study's seed, the slot and the finished trials; pruners by name."""

from pathlib import Path

import optuna
import pytest
from optuna.pruners import BasePruner
from studies import finished, would_prune

from sweeps.config import PRUNERS
from sweeps.search.pruning import FINISHED, pruner_of
from sweeps.search.samplers import SlotSampler
from sweeps.search.space import Space
from sweeps.study import open_study
from sweeps.workers.slots import DRAWN, CutOff, Filler

SPACE = Space(alpha=(0.1, 1.0), beta=(1.0, 100.0), margin_ratio=(4.0, 4.0), search={"batch_size": (4, 64)})


def fill(path: Path, sampler: str, total: int, cuts: tuple[int, ...] = (), seed: int = 0) -> list[dict[str, float]]:
    """Return the parameters of slots 0..total-1; the first trials of the slots in `cuts` are cut off.

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


@pytest.mark.parametrize(("sampler", "total"), [("tpe", 13), ("random", 5)])
def test_a_study_that_is_cut_off_draws_the_same(sampler: str, total: int, tmp_path: Path) -> None:
    """TPE draws at random until it has seen ten trials."""
    whole = fill(tmp_path / "whole", sampler, total)
    fill(tmp_path / "cut", sampler, total - 1, cuts=(0, total - 2))
    assert fill(tmp_path / "cut", sampler, total) == whole
    assert fill(tmp_path / "other", sampler, 3, seed=1) != whole[:3]
    for params in whole:
        assert params.keys() == SPACE.distributions.keys() and params["margin_ratio"] == 4
        assert 0.1 <= params["alpha"] <= 1 and 1 <= params["beta"] <= 100 and params["batch_size"] in range(4, 65)
    assert all(len({params[name] for params in whole[:5]}) == 5 for name in ("alpha", "beta"))


def study_with(pruner: BasePruner) -> optuna.Study:
    return optuna.create_study(direction="maximize", pruner=pruner)


def test_pruners_by_name() -> None:
    decisions = {}
    for name in PRUNERS:
        study = study_with(pruner_of(name))
        for slot in range(8):
            finished(study, slot, {10: slot / 10})
        decisions[name] = [would_prune(study, {10: score}) for score in (0.0, 0.35, 0.9)]
    assert decisions == {"halving": [True, True, False], "none": [False] * 3}
