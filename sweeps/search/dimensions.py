"""Dimensions of a search space: ranges on a log or a linear scale, and words; imports nothing slow."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from typing_extensions import TypeIs

SEARCHABLE = {  # fields of TrainConfig that --search takes, with ranges of numbers, or words
    "latent": int, "alpha_decoder": float, "kl_weight": float, "batch_size": int, "lr": float, "ema_decay": float,
    "norm": str, "network": str, "hinge": str,
}  # fmt: skip
LINEAR = "lin"  # begins a linear range on the command line, and in a study's settings

Range = tuple[float, float]  # on a log scale, unless it is `Linear`
Words = tuple[str, ...]
Dimension = Range | Words


class Linear(NamedTuple):
    """Range that is searched on a linear scale, for StudyConfig and Space.

    Attributes:
        low: Lowest value, 0 or more.
        high: Highest value, more than 0 and no less than `low`.

    Examples:
        >>> from sweeps import Linear, StudyConfig
        >>> StudyConfig(alpha=Linear(0, 0.5), search={"lr": Linear(1e-4, 1e-3)}).alpha
        Linear(low=0, high=0.5)
    """

    low: float
    high: float


def is_words(dimension: Dimension) -> "TypeIs[Words]":
    """Tell whether a dimension is words to choose from."""
    return all(isinstance(value, str) for value in dimension)


def problem(dimension: Dimension) -> str:
    """Return what is wrong with a dimension, and what is allowed; "" if nothing is wrong."""
    if is_words(dimension):
        return "" if dimension and len(set(dimension)) == len(dimension) else "it takes one word or more, each once"
    low, high = dimension
    if isinstance(dimension, Linear):
        fits = 0 <= low <= high < math.inf and high > 0
        return "" if fits else "LO must be 0 or more, and HI more than 0 and no less than LO"
    if 0 < low <= high < math.inf:
        return ""
    hint = "" if low or problem(Linear(low, high)) else f"; {LINEAR}:{low:g}:{high:g} may begin at 0"
    return f"LO must be more than 0 and HI no less than LO{hint}"


def middle(bounds: Range) -> float:
    """Return the middle of a range, on its scale."""
    low, high = bounds
    return (low + high) / 2 if isinstance(bounds, Linear) else (low * high) ** 0.5


def written(dimension: Dimension) -> str:
    """Return a dimension as the command line takes it."""
    if is_words(dimension):
        return ",".join(dimension)
    return ":".join(map(str, (LINEAR, *dimension) if isinstance(dimension, Linear) else dimension))


def shown(dimension: Dimension, digits: int) -> str:
    """Describe a dimension, with so many digits of a number."""
    if is_words(dimension):
        return " or ".join(dimension)
    low, high = (f"{end:.{digits}g}" for end in dimension)
    scale = " on a linear scale" if isinstance(dimension, Linear) else ""
    return low if low == high else f"{low} to {high}{scale}"


def searched(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the values that belong to SEARCHABLE fields of TrainConfig, in their types."""
    return {name: SEARCHABLE[name](value) for name, value in values.items() if name in SEARCHABLE}
