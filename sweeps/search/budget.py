"""Budgets: how much a study may train, in steps or in the time that these take."""

from dataclasses import dataclass


@dataclass
class Pace:
    """Speed of a study's workers, by the tasks that have ended.

    Attributes:
        workers: Number of workers.
        steps: Steps of these tasks.
        seconds: Seconds that they took, added up.
    """

    workers: int
    steps: int = 0
    seconds: float = 0.0

    def trained(self, steps: int, seconds: float) -> None:
        """Note a task that has ended."""
        self.steps, self.seconds = self.steps + steps, self.seconds + seconds

    def lasts(self, steps: int) -> float | None:
        """Return the seconds that so many steps take all workers; None if that is not known yet."""
        return steps * self.seconds / self.steps / self.workers if self.steps else None


@dataclass(frozen=True)
class Budget:
    """Limit on what all trials of a study together train after their warm-ups.

    Attributes:
        steps: Steps; None for no limit.
        hours: Hours of all workers at once; None for no limit.
    """

    steps: int | None = None
    hours: float | None = None

    def allows(self, steps: int, pace: Pace) -> bool:
        """Tell whether so many steps are within the budget."""
        lasts = pace.lasts(steps)
        too_long = self.hours is not None and lasts is not None and lasts > 3600 * self.hours
        return not too_long and (self.steps is None or steps <= self.steps)
