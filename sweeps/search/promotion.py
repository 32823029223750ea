"""Promotion: which trials go on past a rung, by asynchronous successive halving (Li et al. 2020, arXiv 1810.05934).

Trials are compared by the score that they end with, that of the averaged weights, on fewer images. The order after
a few steps is not that of the end, and so each rung but the last ends about half of its trials: `benchmarks/horizon.py`
trains, and `benchmarks/replay.py` shows, how far scores at rungs agree with the last ones, and what studies find.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Literal

from introvae.config import TrainConfig

PASSING = {1 / 32: 0.4, 1 / 8: 0.6, 1 / 4: 0.6, 1 / 2: 0.3}
"""The rungs as shares of the steps after the warm-up, each with the share of its trials that goes on past it."""

Move = Literal["begin", "promote", "leave"]
"""Begin a trial, train one that rests to the next rung or to its end, or end it where it rests."""


def rungs(config: TrainConfig) -> dict[int, float]:
    """Return the steps before the last at which trials are compared, and the share of trials that goes on past each.

    Each has a row of metrics.csv.
    """
    after, every = config.steps - config.warmup_steps, config.log_every
    steps = {every * math.ceil((config.warmup_steps + share * after) / every): one for share, one in PASSING.items()}
    return {step: passing for step, passing in steps.items() if step < config.steps}


class Ladder:
    """Scores of a study's trials at its rungs, and which of those that rest there are to go on.

    Args:
        begin: The step at which trials begin.
        rungs: The rungs in their order, and the share of trials that goes on past each.
        end: The last step.
        trials: Number of trials of the whole study.
        eager: Trials go on as soon as they are among the best of those that have come, so that a sampler learns from
            it, and not once all have begun, which costs fewer steps.

    Attributes:
        scores: Scores at each rung, by the number of the trial.
        resting: The rung at which each trial rests that is neither under way nor ended.
    """

    def __init__(self, begin: int, rungs: Mapping[int, float], end: int, trials: int, eager: bool = False) -> None:
        self.ends, self.passing, self.trials, self.eager = [begin, *rungs, end], rungs, trials, eager
        self.scores: dict[int, dict[int, float]] = {rung: {} for rung in rungs}
        self.resting: dict[int, int] = {}

    def learn(self, number: int, scores: Mapping[int, float]) -> None:
        """Note scores of a trial by step; those at other steps than rungs are passed over."""
        for rung in self.scores.keys() & scores.keys():
            self.scores[rung][number] = scores[rung]

    def rest(self, number: int, rung: int) -> None:
        """Have a trial wait at a rung, where its score is known."""
        self.resting[number] = rung

    def drop(self, number: int) -> None:
        """Forget a trial that has failed, so that another one takes its place."""
        self.resting.pop(number, None)
        for known in self.scores.values():
            known.pop(number, None)

    def next(
        self,
        begun: int,
        more: bool,
        training: bool,
        complete: int = 0,
        room: Callable[[int], bool] = lambda steps: True,
    ) -> tuple[Move, int | None] | None:
        """Return what is most urgent, and the trial at rest that it is about; None if nothing is for now.

        Args:
            begun: Number of trials that have begun.
            more: Whether further ones may begin.
            training: Whether any trial is being trained.
            complete: Number of trials that have been trained to the end.
            room: Tells whether so many further steps may be trained. A trial begins only if a study with it fits. Where
                no trial that is to go on can be finished, the best one is if none has been, and nothing else.

        All that rest are left behind at the end alone, so that they can take the places of those that fail.
        """
        more = more and room(self._steps_with_another(begun, complete))
        if more and not self.eager:
            return "begin", None
        number = self.promoted(final=not (more or training))
        if number is not None and room(self._missing(number)):
            return "promote", number
        if more:
            return "begin", None
        best = self.best()
        if training or best is None:
            return None
        return ("leave", min(self.resting)) if complete else ("promote", best)

    def best(self) -> int | None:
        """Return the best of the trials at rest: the one with the highest score of those that have come furthest."""
        ranks = {number: (rung, self.scores[rung][number]) for number, rung in self.resting.items()}
        return max(ranks, key=ranks.__getitem__, default=None)

    def promoted(self, final: bool = False) -> int | None:
        """Return the trial that is to go on next, the furthest first; None if none is among the best of its rung.

        Args:
            final: No further trial begins: their number is rounded, and at least one, and the furthest come last.
        """
        for rung in sorted(self.scores, reverse=not final):
            known, passing = len(self.scores[rung]), self.passing[rung]
            places = _part(known, passing) if final else math.floor(known * passing + 1e-9)
            for number in self._ranked(rung)[:places]:
                if self.resting.get(number) == rung:
                    return number
        return None

    def expected(self, trials: int) -> list[int]:
        """Return how many trials of a study without failures are trained to each rung, and to the end."""
        counts = [trials]
        for passing in self.passing.values():
            counts.append(_part(counts[-1], passing))
        return counts

    def steps_left(self, complete: int) -> int:
        """Return the steps that are still to be trained if no further trial fails, and so many are complete."""
        return self._steps(self.trials, [*map(len, self.scores.values()), complete])

    def _steps_with_another(self, begun: int, complete: int) -> int:
        """Return the steps that are still to be trained if one trial more begins than has, and then none."""
        reached = [*map(len, self.scores.values()), complete]
        return self._steps(begun + 1, [begun, *reached[1:]])

    def _steps(self, trials: int, reached: Sequence[int]) -> int:
        parts = zip(self.expected(trials), reached, pairwise(self.ends), strict=True)
        return sum(max(0, expected - known) * (end - begin) for expected, known, (begin, end) in parts)

    def _missing(self, number: int) -> int:
        """Return the steps that a trial at rest lacks."""
        return self.ends[-1] - self.resting[number]

    def _ranked(self, rung: int) -> list[int]:
        known = self.scores[rung]
        return sorted(known, key=lambda number: (-known[number], number))


def _part(count: int, share: float) -> int:
    return max(1, round(count * share))
