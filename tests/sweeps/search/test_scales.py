"""Values as shares of ranges, and back."""

from itertools import pairwise

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sweeps.search.scales import at_share, place

LOG, LINEAR = FloatDistribution(0.1, 10.0, log=True), FloatDistribution(0.0, 0.5)
WORDS, WHOLE = CategoricalDistribution(("group", "none")), IntDistribution(4, 9)


@pytest.mark.parametrize(
    ("distribution", "share", "value"),
    [
        (LOG, 0.0, 0.1),
        (LOG, 0.5, 1.0),
        (LOG, 1.0, 10.0),
        (LINEAR, 0.25, 0.125),
        (WHOLE, 0.0, 4),
        (WHOLE, 0.999, 9),
        (WORDS, 0.49, "group"),
        (WORDS, 0.5, "none"),
        (WORDS, 1.0, "none"),
    ],
)
def test_values_at_shares(distribution: BaseDistribution, share: float, value: object) -> None:
    found = at_share(distribution, share)
    assert found == (pytest.approx(value) if isinstance(value, float) else value)
    assert isinstance(found, type(value))


@pytest.mark.parametrize("log", [False, True])
def test_each_whole_number_is_drawn(log: bool) -> None:
    found = [at_share(IntDistribution(4, 9, log=log), (number + 0.5) / 600) for number in range(600)]
    counts = [found.count(number) for number in range(4, 10)]
    assert sum(counts) == 600 and min(counts) > 50
    assert all(more >= less for more, less in pairwise(counts)) if log else len(set(counts)) == 1


def test_places_are_shares_in_the_order_of_names() -> None:
    space = {"norm": WORDS, "beta": LOG, "alpha": LINEAR, "one": FloatDistribution(2.0, 2.0), "latent": WHOLE}
    found = place(space, {"alpha": 0.5, "beta": 1.0, "norm": "none", "one": 2.0, "latent": 4})
    assert found == pytest.approx((1.0, 0.5, 0.5 / 6, 0.0, 0.5, 0.5))
    assert place(space, {"norm": "group"}) == (0.5, 0.5, 0.5, 0.5, 0.0, 0.5)


def test_values_outside_lie_near_the_range() -> None:
    assert place({"beta": LOG}, {"beta": 100.0}) == pytest.approx((1.5,))
    assert place({"beta": LOG}, {"beta": 1e9}) == (2.0,)
    assert place({"beta": LOG}, {"beta": 0.0}) == (-1.0,)  # which has no logarithm
