"""Search space: alpha, beta and margin ratio, by default log-uniform and bounded by what the training images allow."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from torch import Tensor

from analysis.measures.spectrum import beta_range, predicted_kl
from introvae.config import rounded
from introvae.errors import UserError
from sweeps.search.dimensions import LINEAR, SEARCHABLE, Dimension, Linear, Range, is_words, middle

ALPHA: Range = (0.1, 0.75)  # the published settings, 0.15 to 0.5, and half as much again at either end
MARGIN_RATIO: Range = (1.0, 16.0)
LEAST_WARMUP_KL = 10.0  # nats; below, the measured KL says little of the data
OTHER = {"m": "margin_ratio", "margin_ratio": "m"}  # each takes the place of the other


@dataclass(frozen=True, kw_only=True)
class Space:
    """Dimensions of a search: ranges (low, high) on a log scale, or `Linear(low, high)`; a fixed value is both ends.

    Attributes:
        alpha: Range of alpha.
        beta: Range of beta.
        margin_ratio: Range of m / KL, where KL is what a VAE reaches at the same beta: measured by the warm-up, or
            predicted where there is none.
        m: Range of m in nats, which replaces `margin_ratio`.
        search: Ranges of further fields of TrainConfig, or words to choose from.

    Examples:
        >>> import optuna
        >>> from sweeps import Linear, Space
        >>> further = {"latent": (32, 128), "norm": ("group", "none")}
        >>> space = Space(alpha=Linear(0, 0.5), beta=(5, 300), margin_ratio=(1, 16), search=further)
        >>> space.to_dict()["alpha"], space.to_dict()["latent"], space.to_dict()["norm"]
        (['lin', 0, 0.5], [32, 128], ['group', 'none'])
        >>> values = space.suggest(optuna.create_study().ask())
        >>> 0 <= values["alpha"] <= 0.5 and values["norm"] in further["norm"] and isinstance(values["latent"], int)
        True
    """

    alpha: Range
    beta: Range
    margin_ratio: Range
    m: Range | None = None
    search: Mapping[str, Dimension] = field(default_factory=dict)

    @property
    def dimensions(self) -> dict[str, Dimension]:
        """Dimensions that are searched, by name."""
        names = ("alpha", "beta", "m" if self.m else "margin_ratio")
        return {name: getattr(self, name) for name in names} | dict(self.search)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Dimensions as Optuna's distributions."""
        return {name: _distribution(name, dimension) for name, dimension in self.dimensions.items()}

    def suggest(self, trial: optuna.Trial, point: Mapping[str, float] | None = None) -> dict[str, Any]:
        """Return a trial's values: those of its point, and suggestions for the others.

        A value of the point that lies in its range is suggested as well, so that the sampler, which knows the point
        (`NumberedSampler`), learns from it.
        """
        point = {name: value for name, value in (point or {}).items() if name != "seed"}
        drawn: dict[str, Any] = {}
        for name, one in self.distributions.items():
            if OTHER.get(name) in point:
                continue
            if isinstance(one, CategoricalDistribution):  # of which no point has any
                drawn[name] = trial.suggest_categorical(name, one.choices)
            elif isinstance(one, IntDistribution):
                drawn[name] = trial.suggest_int(name, one.low, one.high, log=one.log)
            elif isinstance(one, FloatDistribution) and one.low <= point.get(name, one.low) <= one.high:
                drawn[name] = trial.suggest_float(name, one.low, one.high, log=one.log)
        return drawn | point

    def to_dict(self) -> dict[str, list[Any]]:
        """Return the dimensions by name as lists: [low, high], ["lin", low, high] on a linear scale, or words."""
        found: dict[str, list[Any]] = {}
        for name, one in self.dimensions.items():
            kind = SEARCHABLE.get(name)
            values = [kind(value) if kind else value for value in one]
            found[name] = [LINEAR, *values] if isinstance(one, Linear) else values
        return found


def _distribution(name: str, dimension: Dimension) -> BaseDistribution:
    if is_words(dimension):
        return CategoricalDistribution(dimension)
    (low, high), log = dimension, not isinstance(dimension, Linear)
    if SEARCHABLE.get(name) is int:
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


def data_space(
    spectrum: Tensor,
    latent: int,
    alpha: Range | None = None,
    beta: Range | None = None,
    m: Range | None = None,
    margin_ratio: Range | None = None,
    search: Mapping[str, Dimension] | None = None,
) -> Space:
    """Return the default space of a data set; each given range replaces the default one.

    Args:
        spectrum: Eigenvalues of the training images' covariance, from which beta's range is derived.
        latent: Latent dimensions. Where they are searched, beta's range holds those of the fewest and of the most.
        alpha, beta, m, margin_ratio: Ranges; `m` in nats takes the place of the margin ratio.
        search: Further settings to search, by their names.

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
    low, high = map(rounded, beta)
    beta = Linear(low, high) if isinstance(beta, Linear) else (low, high)
    return Space(alpha=alpha or ALPHA, beta=beta, margin_ratio=margin_ratio or MARGIN_RATIO, m=m, search=search)


def warmup_beta(space: Space, spectrum: Tensor, latent: int) -> float:
    """Return the middle of beta's range on its scale, raised until a VAE is predicted to reach 10 nats."""
    beta = middle(space.beta)
    while len(spectrum) and predicted_kl(spectrum, beta, latent) < LEAST_WARMUP_KL:
        beta *= 2
    return rounded(beta)
