"""Samplers whose draws are functions of the study's seed, the trial's number and the finished trials."""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from introvae.randomness import derive


class NumberedSampler(BaseSampler):
    """One of Optuna's samplers, seeded for each trial by its number, over a space that is known from the start.

    Args:
        seed: The study's seed.
        name: "tpe" or "random".
        space: The distributions to draw from.
        points: Values that the first trials are given. A trial never asks for those outside the space.
    """

    def __init__(
        self,
        seed: int,
        name: str = "tpe",
        space: Mapping[str, BaseDistribution] | None = None,
        points: Sequence[Mapping[str, float]] = (),
    ) -> None:
        self.seed, self.points = seed, points
        self.make = TPESampler if name == "tpe" else RandomSampler
        self.space = {name: one for name, one in (space or {}).items() if not one.single()}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw all values at once, so that a trial draws the same ones if some of them are stored already."""
        sampler = self._sampler(trial)
        drawn = sampler.sample_relative(study, trial, dict(sorted(search_space.items())))
        for name, distribution in search_space.items():
            if name not in drawn:
                drawn[name] = sampler.sample_independent(study, trial, name, distribution)
        point = self.points[trial.number] if trial.number < len(self.points) else {}
        return drawn | {name: value for name, value in point.items() if name in search_space}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler(trial).sample_independent(study, trial, param_name, param_distribution)

    def _sampler(self, trial: FrozenTrial) -> BaseSampler:
        return self.make(seed=derive(self.seed, "sampler", trial.number) % 2**32)
