"""Cleanup of a study: the checkpoints of the best trials are kept, and the small files of all."""

from collections.abc import Callable, Iterable
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from introvae.runs.folder import CHECKPOINT, PREVIOUS
from sweeps.tasks.outcome import FINISHED, has_failed


def keep_best(trials: Iterable[FrozenTrial], folder: Callable[[int], Path], count: int, removed: set[int]) -> None:
    """Remove the checkpoints of the finished trials that are not among the `count` best.

    Complete ones are better than pruned ones, and these than those that failed.

    `removed` are the numbers of trials that lost theirs in earlier calls; this one adds to them.
    """
    finished = [trial for trial in trials if trial.state in FINISHED]
    finished.sort(
        key=lambda trial: (trial.state == TrialState.COMPLETE, not has_failed(trial), trial.value or 0.0), reverse=True
    )
    spare = {trial.number for trial in finished[count:]} - removed
    for number in spare:
        for name in (CHECKPOINT, PREVIOUS):
            (folder(number) / name).unlink(missing_ok=True)
    removed |= spare
