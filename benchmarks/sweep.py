"""Worth of a sweep's pruning and of its search, the two figures of the README. Takes hours on a CPU.

    python benchmarks/sweep.py --out FOLDER [--part pruning|rules|search] [--seeds 3] [--workers 2]

pruning: see `benchmarks/pruning.py`.
rules: the trainings that the rules end, of 50 in a far wider space that includes learning rates, and how these end when
    trained in full.
search: 50 trials of TPE over alpha, beta and the margin ratio, within bounds that follow from the images, against
    random search over absolute alpha, beta and m in the box of published settings (alpha .15 to .5, beta .0125 to 2 at
    256x256x3, scaled to the image size, m 90 to 1,000); both are pruned, and compared by the best score of a complete
    trial at equal training steps.

Runs stay in FOLDER, and the same command resumes with them.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pruning
from optuna.trial import TrialState

from introvae.runs.folder import last_row
from sweeps import StudyConfig, run_study
from sweeps.search.rules import FINISHED

TRAIN = pruning.TRAIN
BETA_SCALE = 256 * 256 * 3 / (TRAIN.image_size**2 * TRAIN.channels)
PUBLISHED: dict[str, Any] = {"alpha": (0.15, 0.5), "beta": (0.0125 * BETA_SCALE, 2.0 * BETA_SCALE), "m": (90.0, 1000.0)}


def search(seeds: int, config: StudyConfig) -> None:
    for seed in range(seeds):
        train = replace(config.train, seed=seed)
        ours = ended_trials(replace(config, train=train, study=f"tpe-{seed}"))
        budget = spent(ours)
        others: list[Ended] = []
        asked = replace(config, train=train, study=f"random-{seed}", sampler="random", **PUBLISHED)
        while spent(others) < budget:
            others = ended_trials(asked)
            asked = replace(asked, trials=asked.total + 10)
        within = [ended for index, ended in enumerate(others) if spent(others[: index + 1]) <= budget]
        print(
            f"seed {seed}: TPE over the margin ratio {best(ours):.3f} ({len(ours)} trials), random search over the "
            f"published box {best(within):.3f} ({len(within)} trials), {budget:,} steps each",
            flush=True,
        )


class Ended(NamedTuple):
    """Score of a finished trial, 0 if it was pruned, and its steps after the warm-up."""

    score: float
    steps: int


def ended_trials(config: StudyConfig) -> list[Ended]:
    """Run a study, and return its finished trials in the order of their numbers."""
    study = run_study(config)
    found = []
    for trial in study.get_trials(states=FINISHED):
        row = last_row(config.out / study.study_name / f"trial-{trial.number:03d}")
        assert row
        score = trial.value if trial.state == TrialState.COMPLETE else None
        found.append(Ended(score or 0.0, int(row["step"]) - TRAIN.warmup_steps))
    return found


def spent(trials: Sequence[Ended]) -> int:
    return sum(trial.steps for trial in trials)


def best(trials: Sequence[Ended]) -> float:
    return max((trial.score for trial in trials), default=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder for the runs")
    parser.add_argument("--part", choices=("pruning", "rules", "search"), help="part to run [all]")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds [3]")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), metavar="N", help="processes [one a core]")
    args = parser.parse_args()
    if args.part in (None, "pruning"):
        pruning.run(args.out / "pruning", args.seeds, args.workers)
    if args.part in (None, "rules"):
        pruning.run(args.out / "rules", args.seeds, args.workers, wide=True)
    if args.part in (None, "search"):
        search(args.seeds, StudyConfig(train=TRAIN, out=args.out / "search", workers=args.workers, keep=1, quiet=True))


if __name__ == "__main__":
    main()
