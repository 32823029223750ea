"""Samplers whose draws are functions of the study's seed, the trial's number and the scores that are known."""

import copy
from collections.abc import Container, Mapping, Sequence
from typing import Any

import optuna
import torch
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from introvae.randomness import derive
from sweeps.search.scales import at_share


class NumberedSampler(BaseSampler):
    """Sampler that is seeded for each trial by its number, over a space that is known from the start.

    Args:
        seed: The study's seed.
        name: "sobol", for points of a scrambled Sobol sequence, which fill the space more evenly than random ones and
            depend on no score; or "tpe", for Optuna's, which learns from scores.
        space: The distributions to draw from.
        points: Values that the first trials are given. A trial never asks for those outside the space.
        earlier: Trials of an earlier study, which the sampler learns from as well.
    """

    def __init__(
        self,
        seed: int,
        name: str = "sobol",
        space: Mapping[str, BaseDistribution] | None = None,
        points: Sequence[Mapping[str, float]] = (),
        earlier: Sequence[FrozenTrial] = (),
    ) -> None:
        self.seed, self.name, self.points, self.earlier = seed, name, points, earlier
        self.space = {name: one for name, one in (space or {}).items() if not one.single()}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw all values at once, so that a trial draws the same ones if some of them are stored already."""
        space = dict(sorted(search_space.items()))
        if self.name == "sobol":
            drawn = self._sobol(trial.number, space)
        else:
            sampler, study = self._tpe(trial), _seen(study, self.earlier)
            drawn = sampler.sample_relative(study, trial, space)
            for name, distribution in search_space.items():
                if name not in drawn:
                    drawn[name] = sampler.sample_independent(study, trial, name, distribution)
        point = self.points[trial.number] if trial.number < len(self.points) else {}
        return drawn | {name: value for name, value in point.items() if name in search_space}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._tpe(trial).sample_independent(study, trial, param_name, param_distribution)

    def _tpe(self, trial: FrozenTrial) -> TPESampler:
        return TPESampler(seed=derive(self.seed, "sampler", trial.number) % 2**32)

    def _sobol(self, index: int, space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
        """Return the point of this index of the sequence."""
        if not space:
            return {}
        engine = torch.quasirandom.SobolEngine(len(space), scramble=True, seed=derive(self.seed, "sampler") % 2**32)
        shares = engine.fast_forward(index).draw(1, dtype=torch.float64)[0].tolist()
        return {name: at_share(one, share) for (name, one), share in zip(space.items(), shares, strict=True)}


class _Seen(InMemoryStorage):
    """Storage of trials that a sampler only looks at."""

    def __init__(self, trials: list[FrozenTrial]) -> None:
        super().__init__()
        self.trials = trials

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return [trial for trial in self.trials if states is None or trial.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Keep nothing: TPE shares its draws with other processes, of which there are none."""


def _seen(study: optuna.Study, earlier: Sequence[FrozenTrial]) -> optuna.Study:
    """Return a study that begins with earlier trials, and in which those that rest at a rung have ended there."""
    trials = list(earlier)
    for trial in study.get_trials(deepcopy=False):
        if trial.state == TrialState.RUNNING and trial.intermediate_values:
            trial = copy.copy(trial)
            trial.state = TrialState.PRUNED
        trials.append(trial)
    return optuna.create_study(storage=_Seen(trials), direction="maximize")
