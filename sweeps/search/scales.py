"""Values of a dimension as shares of its range, on its scale, and back."""

import math
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

APART = 0.5  # of words: as far as settings that lie 0.7 of a range apart
OUTSIDE = 1.0  # of a range at most, for values that a point gives


def at_share(distribution: BaseDistribution, share: float) -> Any:
    """Return the value at a share of a range, from 0 to 1, on its scale; of words the one at this share of them."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[min(int(share * len(distribution.choices)), len(distribution.choices) - 1)]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = _ends(distribution)
    value = low * (high / low) ** share if distribution.log else low + (high - low) * share
    value = min(max(value, distribution.low), distribution.high)
    return round(value) if isinstance(distribution, IntDistribution) else value


def place(space: Mapping[str, BaseDistribution], values: Mapping[str, Any]) -> tuple[float, ...]:
    """Return where a setting lies in a space: a share of each range, and a coordinate for each word.

    A value that is not known lies in the middle, and one outside of its range by a range from it at most.
    """
    found: list[float] = []
    for name, distribution in sorted(space.items()):
        if isinstance(distribution, CategoricalDistribution):
            found += [APART * (values.get(name) == word) for word in distribution.choices]
        else:
            assert isinstance(distribution, FloatDistribution | IntDistribution)
            found.append(_share(distribution, values[name]) if name in values else 0.5)
    return tuple(found)


def _share(distribution: FloatDistribution | IntDistribution, value: float) -> float:
    low, high = _ends(distribution)
    if low == high:
        return 0.5
    if distribution.log:
        if value <= 0:
            return -OUTSIDE
        low, high, value = math.log(low), math.log(high), math.log(value)
    return min(max((value - low) / (high - low), -OUTSIDE), 1 + OUTSIDE)


def _ends(distribution: FloatDistribution | IntDistribution) -> tuple[float, float]:
    """Return the ends of a range; each whole number holds as much as lies around it."""
    around = 0.5 if isinstance(distribution, IntDistribution) else 0.0
    return distribution.low - around, distribution.high + around
