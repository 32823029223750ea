"""Promotion: which trials are trained on past a rung, by a forecast of what they will be worth at their end.

All trials begin. A study may train a share of the steps that all would take to their end, and each next stretch goes to
the trial whose score at the end may be the highest, by its forecast and twice the deviation of that. The order after a
few steps is not that of the end, and good scores at rungs alone find little more than chance:
`benchmarks/runs/horizon.py` trains, and `benchmarks/runs/replay.py` shows, how far scores at rungs agree with the last
ones, and what studies find.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from introvae.config import TrainConfig
from sweeps.search.forecast import forecast

RUNG_SHARES = (1 / 32, 1 / 8, 1 / 4, 1 / 2)
"""The rungs as shares of the steps after the warm-up."""
SHARE = 0.16  # of the steps of training all trials to their end
DEVIATIONS = 2.0  # of the forecast, by which an uncertain trial may be better
MOST = 200  # trials at rest, and others, that forecasts are made of: those that have come furthest, by their scores

Move = Literal["begin", "promote", "leave"]
"""Begin a trial, train one that rests to the next rung or to its end, or end it where it rests."""


def rungs_of(config: TrainConfig) -> tuple[int, ...]:
    """Return the steps before the last at which trials are compared; each has a row of metrics.csv."""
    after, every = config.steps - config.warmup_steps, config.log_every
    steps = {every * math.ceil((config.warmup_steps + share * after) / every) for share in RUNG_SHARES}
    return tuple(sorted(step for step in steps if step < config.steps))


class Promotion:
    """Scores of a study's trials, and what is to be trained next.

    Args:
        begin: The step at which trials begin.
        rungs: The rungs in their order; without any, all trials are trained to the end.
        end: The last step.
        eager: Promote trials while others have not begun, so that a sampler learns from it.
        share: Share of the steps of training all trials to their end that a study may train.

    Attributes:
        ends: The rungs, and the last step.
        scores: Scores of each trial at these steps, by its number.
        places: Where the settings of these trials lie in the space.
        inflations: How much the game had raised the KL of real images by the first of these steps.
        resting: The rung at which each trial rests that is neither under way nor ended.
    """

    def __init__(self, begin: int, rungs: Sequence[int], end: int, eager: bool = False, share: float = SHARE) -> None:
        self.begin, self.ends, self.eager, self.share = begin, (*rungs, end), eager, share
        self.scores: dict[int, dict[int, float]] = {}
        self.places: dict[int, Sequence[float]] = {}
        self.inflations: dict[int, float] = {}
        self.resting: dict[int, int] = {}
        self._forecasts: dict[int, tuple[float, float]] = {}  # until another score is known

    def learn(
        self, number: int, place: Sequence[float], scores: Mapping[int, float], inflation: float = math.nan
    ) -> None:
        """Note what a trial is worth.

        Args:
            number: The trial's number.
            place: Where its setting lies in the space, as shares of ranges.
            scores: Scores by step; those at other steps than rungs and the last are passed over.
            inflation: Logarithm of the KL of real images over a VAE's at the first rung; NaN if it is not known.
        """
        compared = {step: score for step, score in scores.items() if step in self.ends}
        if compared:
            self.places[number], self.inflations[number] = place, inflation
            self.scores[number] = self.scores.get(number, {}) | compared
            self._forecasts = {}

    def rest(self, number: int, rung: int) -> None:
        """Have a trial wait at a rung, where its score is known."""
        self.resting[number] = rung

    def drop(self, number: int) -> None:
        """Forget a trial that has failed."""
        for table in (self.resting, self.scores, self.places, self.inflations):
            table.pop(number, None)
        self._forecasts = {}

    def next(
        self,
        begun: int,
        more: bool,
        training: bool,
        spent: int,
        complete: bool = False,
        room: Callable[[int], bool] = lambda steps: True,
    ) -> tuple[Move, int | None] | None:
        """Return what is most urgent, and the trial at rest that it is about; None if nothing is for now.

        Those that rest are left behind at the end alone, so that they can take the places of those that fail.

        Args:
            begun: Number of trials that have begun.
            more: Whether further ones may begin.
            training: Whether any trial is being trained.
            spent: Steps that are trained, or under way.
            complete: Whether any trial has been trained to the end.
            room: Tells whether so many steps in all may be trained. A trial begins only if a study with it fits.
        """
        more = more and room(self.steps(begun + 1))
        if more and not self.eager:
            return "begin", None
        ahead = self._ahead(DEVIATIONS) if self.resting else {}
        if ahead:
            number = max(ahead, key=ahead.__getitem__)
            needed = spent + (self._stretch(number) if complete else self._missing(number))
            if needed <= self.steps(begun) and room(needed):
                return "promote", number
        if more:
            return "begin", None
        if training or not ahead:
            return None
        if complete:
            # the best last, so that none is trained after it
            return "leave", min(self.resting, key=lambda number: ahead.get(number, -math.inf))
        expected = self._ahead()
        fitting = [number for number in expected if room(spent + self._missing(number))]
        return "promote", max(fitting or expected, key=expected.__getitem__)

    def following(self, step: int) -> int:
        """Return the rung after a step, or the last step."""
        return min(end for end in self.ends if end > step)

    def steps(self, trials: int) -> int:
        """Return the steps that a study of so many trials may train: enough for all to begin and one to end."""
        whole = self.ends[-1] - self.begin
        if len(self.ends) == 1:
            return trials * whole
        return max(
            math.floor(self.share * trials * whole), trials * (self.ends[0] - self.begin) + self.ends[-1] - self.ends[0]
        )

    def _stretch(self, number: int) -> int:
        return self.following(self.resting[number]) - self.resting[number]

    def _missing(self, number: int) -> int:
        return self.ends[-1] - self.resting[number]

    def _ahead(self, deviations: float = 0.0) -> dict[int, float]:
        """Return the score at the end that each trial at rest may have, so many deviations above the expected one.

        Where there are many, those that have not come far are left out.
        """
        if not self.resting.keys() & self._forecasts.keys():
            self._forecasts = self._forecast()
        forecasts = self._forecasts.items()
        return {number: mean + deviations * error for number, (mean, error) in forecasts if number in self.resting}

    def _forecast(self) -> dict[int, tuple[float, float]]:
        ranked = sorted(self.scores, key=lambda number: max(self.scores[number].items()), reverse=True)
        resting = [number for number in ranked if number in self.resting]
        others = [number for number in ranked if number not in self.resting]
        numbers = sorted(resting[:MOST] + others[:MOST])
        places = [self.places[number] for number in numbers]
        scores = [{step - self.begin: score for step, score in self.scores[number].items()} for number in numbers]
        inflations = [self.inflations[number] for number in numbers]
        means, errors = forecast(places, scores, self.ends[-1] - self.begin, inflations)
        return dict(zip(numbers, zip(means.tolist(), errors.tolist(), strict=True), strict=True))
