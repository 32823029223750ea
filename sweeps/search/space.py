"""Search space: log-uniform alpha, beta and margin ratio, bounded by what the training images allow."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from torch import Tensor

from analysis.measures.spectrum import beta_range, predicted_kl
from introvae.config import rounded
from introvae.errors import UserError
from sweeps.config import SEARCHABLE, Range

ALPHA: Range = (0.1, 0.75)  # the published settings, 0.15 to 0.5, and half as much again at either end
MARGIN_RATIO: Range = (1.0, 16.0)
LEAST_WARMUP_KL = 10.0  # nats; below, the measured KL says little of the data
OTHER = {"m": "margin_ratio", "margin_ratio": "m"}  # each takes the place of the other


@dataclass(frozen=True, kw_only=True)
class Space:
    """Ranges (low, high) of a log-uniform search; a fixed value is a range from it to itself.

    Attributes:
        alpha: Range of alpha.
        beta: Range of beta.
        margin_ratio: Range of m / KL, where KL is what a VAE reaches at the same beta: measured by the warm-up, or
            predicted where there is none.
        m: Range of m in nats, which replaces `margin_ratio`.
        search: Ranges of further fields of TrainConfig.

    Example:
        >>> import optuna
        >>> from sweeps import Space
        >>> space = Space(alpha=(0.1, 0.75), beta=(5, 300), margin_ratio=(1, 16), search={"latent": (32, 128)})
        >>> space.to_dict()
        {'alpha': [0.1, 0.75], 'beta': [5, 300], 'margin_ratio': [1, 16], 'latent': [32, 128]}
        >>> values = space.suggest(optuna.create_study().ask())
        >>> 0.1 <= values["alpha"] <= 0.75 and isinstance(values["latent"], int)
        True
    """

    alpha: Range
    beta: Range
    margin_ratio: Range
    m: Range | None = None
    search: Mapping[str, Range] = field(default_factory=dict)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Ranges as Optuna's distributions."""
        return {
            name: (IntDistribution if SEARCHABLE.get(name) is int else FloatDistribution)(low, high, log=True)
            for name, (low, high) in self.to_dict().items()
        }

    def suggest(self, trial: optuna.Trial, point: Mapping[str, float] | None = None) -> dict[str, float]:
        """Return a trial's values: those of its point, and suggestions for the others.

        A value of the point that lies in its range is suggested as well, so that the sampler, which knows the point
        (`NumberedSampler`), learns from it.
        """
        point = {name: value for name, value in (point or {}).items() if name != "seed"}
        drawn: dict[str, float] = {}
        for name, (low, high) in self.to_dict().items():
            if OTHER.get(name) not in point and low <= point.get(name, low) <= high:
                suggest = trial.suggest_int if SEARCHABLE.get(name) is int else trial.suggest_float
                drawn[name] = suggest(name, low, high, log=True)
        return drawn | point

    def to_dict(self) -> dict[str, Any]:
        """Return the ranges that are searched, as lists by name."""
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
    """Return the default space for images with this spectrum; each given range replaces the default one.

    Where `latent` is searched, beta's range holds those of the fewest and of the most dimensions.

    Raises:
        UserError: If the images do not vary, so that no beta can be derived from them.
    """
    search = search or {}
    if beta is None:
        try:
            ranges = [beta_range(spectrum, int(end)) for end in search.get("latent", (latent,))]
        except ValueError as error:
            raise UserError(f"{error}; check --data") from error
        beta = min(low for low, _ in ranges), max(high for _, high in ranges)
    beta = rounded(beta[0]), rounded(beta[1])
    return Space(alpha=alpha or ALPHA, beta=beta, margin_ratio=margin_ratio or MARGIN_RATIO, m=m, search=search)


def warmup_beta(space: Space, spectrum: Tensor, latent: int) -> float:
    """Return the middle of beta's range on a log scale, raised until a VAE is predicted to reach 10 nats."""
    beta = (space.beta[0] * space.beta[1]) ** 0.5
    while len(spectrum) and predicted_kl(spectrum, beta, latent) < LEAST_WARMUP_KL:
        beta *= 2
    return rounded(beta)
