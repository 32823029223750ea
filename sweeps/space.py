"""The search space: log-uniform alpha, beta and margin ratio, bounded by what the training images allow."""

from dataclasses import asdict, dataclass
from typing import Any

import optuna
from torch import Tensor

from analysis.prediction import predicted_kl
from analysis.spectrum import beta_range
from introvae.errors import UserError

Range = tuple[float, float]

ALPHA: Range = (0.05, 1.0)  # holds every published setting
MARGIN_RATIO: Range = (1.0, 16.0)
LEAST_WARMUP_KL = 10.0  # nats; below, the measured KL says little of the data


@dataclass(frozen=True)
class Space:
    """Ranges (low, high) of a log-uniform search. `m` in nats replaces the margin ratio if it is given."""

    alpha: Range
    beta: Range
    margin_ratio: Range
    m: Range | None = None

    def suggest(self, trial: optuna.Trial) -> dict[str, float]:
        """Values of alpha, beta and either margin_ratio or m."""
        names = ("alpha", "beta", "m" if self.m else "margin_ratio")
        return {name: trial.suggest_float(name, *getattr(self, name), log=True) for name in names}

    def to_dict(self) -> dict[str, Any]:
        searched = {name: list(bounds) for name, bounds in asdict(self).items() if bounds}
        searched.pop("margin_ratio" if self.m else "m", None)
        return searched


def data_space(
    spectrum: Tensor, latent: int, alpha: Range | None = None, beta: Range | None = None, m: Range | None = None
) -> Space:
    """The default space for images with this spectrum; each range that is given replaces the default one.

    Raises UserError if the images do not vary, so that no beta can be told from them.
    """
    try:
        return Space(alpha or ALPHA, beta or beta_range(spectrum, latent), MARGIN_RATIO, m)
    except ValueError as error:
        raise UserError(f"{error}; check --data") from error


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
