"""The search space: log-uniform alpha, beta and margin ratio, bounded by what the training images allow."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from torch import Tensor

from analysis.measures.spectrum import beta_range, predicted_kl
from introvae.errors import UserError
from sweeps.config import SEARCHABLE, Range

ALPHA: Range = (0.1, 0.75)  # the published settings, 0.15 to 0.5, and half as much again at either end
MARGIN_RATIO: Range = (1.0, 16.0)
LEAST_WARMUP_KL = 10.0  # nats; below, the measured KL says little of the data
OTHER = {"m": "margin_ratio", "margin_ratio": "m"}  # which takes the place of one that is given


@dataclass(frozen=True)
class Space:
    """Ranges (low, high) of a log-uniform search; a value that is fixed is a range of one value.

    `m` in nats replaces the margin ratio if it is given. `search` holds further fields of TrainConfig.
    """

    alpha: Range
    beta: Range
    margin_ratio: Range
    m: Range | None = None
    search: Mapping[str, Range] = field(default_factory=dict)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """As Optuna knows them."""
        return {
            name: (IntDistribution if SEARCHABLE.get(name) is int else FloatDistribution)(low, high, log=True)
            for name, (low, high) in self.to_dict().items()
        }

    def suggest(self, trial: optuna.Trial, point: Mapping[str, float] | None = None) -> dict[str, float]:
        """Values of alpha, beta, either margin_ratio or m, and the further fields; those of the point go before.

        A value of the point is suggested where a range holds it, so that the sampler learns from it; the sampler
        knows the point (`samplers.SlotSampler`).
        """
        point = {name: value for name, value in (point or {}).items() if name != "seed"}
        drawn: dict[str, float] = {}
        for name, (low, high) in self.to_dict().items():
            if OTHER.get(name) not in point and low <= point.get(name, low) <= high:
                suggest = trial.suggest_int if SEARCHABLE.get(name) is int else trial.suggest_float
                drawn[name] = suggest(name, low, high, log=True)
        return drawn | point

    def drawn(self, point: Mapping[str, float]) -> dict[str, list[float]]:
        """The ranges that a trial with the values of a point draws the others from."""
        return {name: ends for name, ends in self.to_dict().items() if not {name, OTHER.get(name)} & point.keys()}

    def to_dict(self) -> dict[str, Any]:
        searched = {name: list(bounds) for name, bounds in asdict(self).items() if bounds and name != "search"}
        searched.pop("margin_ratio" if self.m else "m", None)
        return searched | {name: [SEARCHABLE[name](end) for end in ends] for name, ends in self.search.items()}


def data_space(
    spectrum: Tensor,
    latent: int,
    alpha: Range | None = None,
    beta: Range | None = None,
    m: Range | None = None,
    margin_ratio: Range | None = None,
    search: Mapping[str, Range] | None = None,
) -> Space:
    """The default space for images with this spectrum; each range that is given replaces the default one.

    Where `latent` is searched, beta's range holds those of the fewest and of the most dimensions.
    Raises UserError if the images do not vary, so that no beta can be told from them.
    """
    search = search or {}
    try:
        ranges = [beta_range(spectrum, int(end)) for end in search.get("latent", (latent,))] if beta is None else [beta]
    except ValueError as error:
        raise UserError(f"{error}; check --data") from error
    beta = min(low for low, _ in ranges), max(high for _, high in ranges)
    return Space(alpha or ALPHA, beta, margin_ratio or MARGIN_RATIO, m, search)


def rounded(value: float) -> float:
    """Nine digits: machines whose linear algebra rounds otherwise agree on what follows from the data."""
    return float(f"{value:.9g}")


def warmup_beta(space: Space, spectrum: Tensor, latent: int) -> float:
    """The middle of beta's range on a log scale, raised until a VAE is predicted to reach 10 nats."""
    beta = (space.beta[0] * space.beta[1]) ** 0.5
    if len(spectrum) == 0:
        return beta
    while predicted_kl(spectrum, beta, latent) < LEAST_WARMUP_KL:
        beta *= 2
    return beta
