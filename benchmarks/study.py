"""Cost of a trial beyond its steps and its scoring, in studies of 10 and of 1,000 trials.

    python benchmarks/study.py [--trials N] [--profile]

The trials do all that a trial of introvae-sweep does with its study (three parameters, four scores, pruning decisions,
attributes and a constraint; locks, checkpoints of the best, the best so far), but train and score nothing. The study
is in SQLite on this disk, and in a PostgreSQL server started for it. The first trial, which reads the study, is left
out. Shown are medians of the others: wall time, and the worker's processor time.
"""

import argparse
import cProfile
import pstats
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState
from postgresql import PostgreSQL

from sweeps.dashboard import constrain
from sweeps.disk import keep_best
from sweeps.search.samplers import SlotSampler
from sweeps.search.space import Space
from sweeps.study import open_study
from sweeps.view import finished
from sweeps.workers.slots import DRAWN, Filler, given_up
from sweeps.workers.watch import SECONDS

SIZES = (10, 1000)  # trials before those that are timed
KEPT = 5
RUNGS = (100, 400)
STEPS = 800
SPACE = Space(alpha=(0.1, 0.75), beta=(5.0, 500.0), margin_ratio=(1.0, 16.0))


def trial(trial: optuna.Trial, slot: int, reported: dict[int, float]) -> float:
    """Do what `sweeps.trial.run_trial` does, without a run."""
    score = random.Random(slot).random()
    values = SPACE.suggest(trial)
    trial.set_user_attr(DRAWN, True)
    given_up(trial.study, slot)
    trial.set_user_attr("m", values["margin_ratio"] * 10)
    asked = []
    for rung in (*RUNGS, STEPS):
        trial.report(score * rung / STEPS, rung)
        asked.append(rung < STEPS and trial.should_prune())
    pruned = asked[-2]
    trial.set_user_attr("outcome", "pruned" if pruned else "complete")
    constrain(trial, "failed", -1.0)
    trial.set_user_attr(SECONDS, {"training": 1.0})
    if pruned:
        raise optuna.TrialPruned
    return score


def earlier(slot: int) -> FrozenTrial:
    """Return a trial as `trial` leaves it; one in four is complete."""
    rng = random.Random(slot)
    score, complete = rng.random(), slot % 4 == 0
    bounds = SPACE.to_dict()
    return optuna.create_trial(
        state=TrialState.COMPLETE if complete else TrialState.PRUNED,
        value=score,
        params={name: rng.uniform(low, high) for name, (low, high) in bounds.items()},
        distributions={name: FloatDistribution(low, high, log=True) for name, (low, high) in bounds.items()},
        user_attrs={"slot": slot, "m": 50.0, "outcome": "complete", SECONDS: {"training": 1.0}},
        intermediate_values={rung: score * rung / STEPS for rung in (*RUNGS, STEPS)},
    )


def fill(folder: Path, url: str | None, before: int, trials: int, profile: bool = False) -> list[tuple[float, float]]:
    """Return the milliseconds that each of the trials took, and the processor time of the worker."""
    study = open_study(folder, {}, url=url)
    for slot in range(before):
        study.add_trial(earlier(slot))
    ends: list[tuple[float, float]] = []
    removed: set[int] = set()

    def on_trial(trial: FrozenTrial, known: list[FrozenTrial]) -> None:
        keep_best(known, run_folder, KEPT, removed)
        finished(trial, known, before + trials)  # what the command says of it
        ends.append((1000 * time.perf_counter(), 1000 * time.process_time()))

    def run_folder(slot: int) -> Path:
        return folder / f"trial-{slot:03d}"

    study = open_study(folder, {}, SlotSampler(0, "tpe", SPACE.distributions), url=url)  # as a new process would
    with profiled(profile):
        Filler(study, before + trials + 1, run_folder, trial, one_machine=url is None).fill(on_trial)
    return [(end[0] - start[0], end[1] - start[1]) for start, end in pairwise(ends)]


@contextmanager
def profiled(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    with cProfile.Profile() as profile:
        yield
    pstats.Stats(profile).sort_stats("cumulative").print_stats(40)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=30, metavar="N", help="trials to time [30]")
    parser.add_argument("--profile", action="store_true", help="show where the time goes")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, PostgreSQL() as server:
        for kind in ("SQLite", "PostgreSQL"):
            medians = []
            for before in SIZES:
                url = server.url(f"study{before}") if kind == "PostgreSQL" else None
                times = fill(Path(name) / f"{kind}-{before}", url, before, args.trials, args.profile)
                wall, processor = (statistics.median(column) for column in zip(*times, strict=True))
                medians.append(wall)
                print(f"{kind:<10} {before:5d} trials: {wall:4.0f} ms, processor {processor:4.0f} ms", flush=True)
            print(f"{kind:<10} growth: {medians[1] / medians[0]:.1f}x")


if __name__ == "__main__":
    main()
