"""What a slot's trial draws: a function of the study's seed, the slot and the finished trials, for every sampler."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
import torch
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from introvae.randomness import derive
from sweeps.workers.slots import FINISHED

PENALTY = 0.0  # the lowest score, for what diverged, collapsed or failed


class SlotSampler(BaseSampler):
    """One of SAMPLERS over a space that is known from the start; the points of the first slots go before it.

    A trial does not ask for those of a point's values that lie outside the space.
    """

    def __init__(
        self,
        seed: int,
        name: str = "tpe",
        space: Mapping[str, BaseDistribution] | None = None,
        points: Sequence[Mapping[str, float]] = (),
    ) -> None:
        self.seed, self.make, self.points = seed, SAMPLERS[name], points
        self.space = {name: space[name] for name in sorted(space) if not space[name].single()} if space else {}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        slot = trial.user_attrs.get("slot", trial.number)  # the number, where a study is not filled by slots
        self.point = self.points[slot] if slot < len(self.points) else {}
        self.sampler = self.make(self.seed, slot)
        return self.space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        drawn = self.sampler.sample_relative(study, trial, search_space)
        return drawn | {name: value for name, value in self.point.items() if name in search_space}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        drawn = self.sampler.sample_independent(study, trial, param_name, param_distribution)
        return self.point.get(param_name, drawn)


class GaussianProcess(RandomSampler):
    """Optuna's GPSampler, shown all finished trials, which would pass over those that are pruned.

    A pruned trial has the last score that it reported, an infeasible one the lowest there is.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.seed = seed

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        shown = optuna.create_study(direction="maximize", sampler=GPSampler(seed=self.seed))
        trials = study.get_trials(deepcopy=False, states=(*FINISHED, TrialState.RUNNING))
        for t in sorted((t for t in trials if search_space.keys() <= t.params.keys()), key=_slot):
            infeasible = any(value > 0 for value in t.constraints.values())
            ended = t.state in FINISHED
            shown.add_trial(
                optuna.create_trial(
                    state=TrialState.COMPLETE if ended else TrialState.RUNNING,
                    value=(PENALTY if infeasible or t.value is None else t.value) if ended else None,
                    params={name: t.params[name] for name in search_space},
                    distributions=search_space,
                    constraints=t.constraints if ended else None,
                )
            )
        return shown.ask(search_space).params


class Sobol(RandomSampler):
    """The point of index `slot` of a scrambled Sobol sequence (Owen 1998), on the scale of each distribution."""

    def __init__(self, seed: int, slot: int) -> None:
        super().__init__(seed)
        self.seed, self.slot = seed, slot

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        engine = torch.quasirandom.SobolEngine(len(search_space), scramble=True, seed=self.seed)
        shares = engine.draw(self.slot + 1, dtype=torch.float64)[-1].tolist()
        return {name: _at(d, share) for (name, d), share in zip(search_space.items(), shares, strict=True)}


SAMPLERS: dict[str, Callable[[int, int], BaseSampler]] = {
    "tpe": lambda seed, slot: TPESampler(seed=_own(seed, slot)),
    "gp": lambda seed, slot: GaussianProcess(_own(seed, slot)),
    "random": lambda seed, slot: RandomSampler(_own(seed, slot)),
    "qmc": lambda seed, slot: Sobol(_own(seed, 0), slot),
}


def _own(seed: int, slot: int) -> int:
    return derive(seed, "sampler", slot) % 2**32


def _slot(trial: FrozenTrial) -> int:
    return trial.user_attrs["slot"]


def _at(distribution: BaseDistribution, share: float) -> float | int:
    """The value below which this share of a log-uniform distribution lies."""
    assert isinstance(distribution, FloatDistribution | IntDistribution) and distribution.log
    whole = isinstance(distribution, IntDistribution)
    low, high = distribution.low - whole / 2, distribution.high + whole / 2
    value = low * (high / low) ** share
    return min(max(round(value) if whole else value, distribution.low), distribution.high)
