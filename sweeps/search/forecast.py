"""Forecast of what trials are worth at their end, from scores that they have had: a Gaussian process.

A score is modelled as the sum of a curve over steps that all trials share, of a plane over settings that changes with
the steps, of the run's own curve, and of noise (freeze-thaw, Swersky et al. 2014, arXiv 1406.3896, with a plane for
settings, and kernels over the logarithm of steps in place of theirs); and of a line over the KL's inflation: how far
the game has driven the KL of real images from a VAE's in the first steps tells more of the end than the score that they
have by then. Where plane and line rise, and how steeply, is learned from the scores. Each part's variance is given in
that of the scores at the first rung. `benchmarks/runs/replay.py` shows what studies find by it.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np

COMMON, PLANE, LINE, RUN, NOISE = 0.25, 4.0, 4.0, 0.1, 0.05
DOUBLINGS = 2.0  # of steps, over which scores change with training
LEAST = 1e-3  # deviation of scores


def forecast(
    places: Sequence[Sequence[float]],
    scores: Sequence[Mapping[int, float]],
    end: int,
    inflations: Sequence[float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the expected score at a step, and its standard deviation, for each trial.

    Args:
        places: Where the settings of trials lie, as shares of ranges.
        scores: Scores of each trial by steps, which are 1 or more; together there is at least one.
        end: The step to look at.
        inflations: For each trial the logarithm of the KL of real images over a VAE's after the first steps; NaN, which
            counts as the median, where it is not known.
    """
    seen = [(trial, step, score) for trial, own in enumerate(scores) for step, score in sorted(own.items())]
    trials = np.array([trial for trial, *_ in seen])
    steps = np.log2([step for _, step, _ in seen])
    values = np.array([score for *_, score in seen])
    where = np.asarray(places, dtype=float).reshape(len(places), -1) - 0.5
    inflated = _around_median(inflations or [math.nan] * len(places))
    deviation = max(float(values[steps == steps.min()].std()), LEAST)
    over_steps = _nearness(steps, steps)
    to_end = _nearness(np.full(len(places), np.log2(end)), steps)

    def covariance(nearness: np.ndarray, these: np.ndarray) -> np.ndarray:
        line = LINE * np.outer(inflated[these], inflated[trials])
        plane = PLANE * where[these] @ where[trials].T
        return line + nearness * (COMMON + plane + RUN * (these[:, None] == trials))

    lower = np.linalg.cholesky(covariance(over_steps, trials) + NOISE * np.eye(len(seen)))
    whitened = np.linalg.solve(lower, (values - values.mean()) / deviation)
    ahead = np.linalg.solve(lower, covariance(to_end, np.arange(len(places))).T)
    variance = COMMON + PLANE * (where**2).sum(axis=1) + RUN + LINE * inflated**2 - (ahead**2).sum(axis=0)
    return values.mean() + deviation * (ahead.T @ whitened), deviation * np.sqrt(np.maximum(variance, 0.0))


def _around_median(values: Sequence[float]) -> np.ndarray:
    """Return how far values lie from their median; 0 for NaN."""
    known = [value for value in values if not math.isnan(value)]
    return np.nan_to_num(np.array(values) - (median(known) if known else 0.0))


def _nearness(these: np.ndarray, those: np.ndarray) -> np.ndarray:
    """Return the squared exponential kernel between logarithms of steps."""
    return np.exp(-(((these[:, None] - those) / DOUBLINGS) ** 2) / 2)
