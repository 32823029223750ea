"""What pruning saves and costs, and what searching the margin ratio is worth. A small setting, hours on a CPU.

    python benchmarks/sweep.py --out FOLDER [--part pruning|search] [--seeds 3] [--trials 50] [--workers 1]

pruning: 50 quasi-random points are trained in full, and the same points are pruned as a study prunes them. A pruned
    trial is bit for bit the beginning of the full one, so that what a study would have done follows from the scores and
    energies that the full one noted. "price" is the pruned study's training steps, its warm-up counted once, as a
    share of those of 50 separate trainings, each with a warm-up of its own; "of adversarial steps" leaves warm-ups out.
    "quality" is (found - median) / (best - median): the full-length score of the pruned study's winner among those
    of all. Then, for each rule, how many of the full trials it ends, and the best rank among 50 that one of these had.
search: a default study (TPE over alpha, beta and the margin ratio, bounds from the images) against random search over
    absolute alpha, beta and m in the box that holds the published settings (alpha .15 to .5, beta .0125 to 2 at
    256x256x3, scaled to the image size, m 90 to 1,000), both pruned, at equal training steps.

The studies stay in FOLDER; the same command goes on with them.
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from introvae.config import TrainConfig
from sweeps import run_study
from sweeps.config import StudyConfig
from sweeps.pruning import HalvingPruner

TRAIN = TrainConfig(image_size=16, channels=1, latent=32, widths=(16, 32), warmup_steps=600, steps=1200)
BETA_SCALE = 256 * 256 * 3 / (TRAIN.image_size**2 * TRAIN.channels)
PUBLISHED = {"alpha": (0.15, 0.5), "beta": (0.0125 * BETA_SCALE, 2.0 * BETA_SCALE), "m": (90.0, 1000.0)}
ADVERSARIAL = TRAIN.steps - TRAIN.warmup_steps


def by_slot(study: optuna.Study) -> list[FrozenTrial]:
    """The finished trials in the order of their slots."""
    ended = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    return sorted(ended, key=lambda trial: trial.user_attrs["slot"])


def trained_steps(trial: FrozenTrial) -> int:
    """After the warm-up."""
    return trial.user_attrs["last_step"] - TRAIN.warmup_steps


def pruned(trials: Sequence[FrozenTrial]) -> tuple[list[int], list[int]]:
    """Of full trials, in their order: the steps of each, had it been pruned, and those that had been completed."""
    study = optuna.create_study(direction="maximize", pruner=HalvingPruner())
    steps, complete = [], []
    for index, full in enumerate(trials):
        trial = study.ask()
        rule_ends = min((step for step, _ in full.user_attrs.get("hopeless", ())), default=TRAIN.steps + 1)
        ended = TRAIN.steps
        for step, score in sorted(full.intermediate_values.items()):
            if rule_ends < step:
                ended = rule_ends
                break
            trial.report(score, step)
            if rule_ends == step or (step < TRAIN.steps and trial.should_prune()):
                ended = step
                break
        else:
            complete.append(index)
        study.tell(trial, full.value if index in complete[-1:] else None,
                   TrialState.COMPLETE if index in complete[-1:] else TrialState.PRUNED)  # fmt: skip
        steps.append(ended - TRAIN.warmup_steps)
    return steps, complete


def pruning(seeds: int, config: StudyConfig) -> None:
    reasons: defaultdict[str, list[int]] = defaultdict(list)
    for seed in range(seeds):
        train = replace(config.train, seed=seed)
        study = run_study(replace(config, train=train, study=f"full-{seed}", sampler="qmc", pruner="none"))
        trials = by_slot(study)[: config.trials]
        scores = [trial.value or 0.0 for trial in trials]
        steps, complete = pruned(trials)
        found, best, median = max(scores[index] for index in complete), max(scores), statistics.median(scores)
        price = (TRAIN.warmup_steps + sum(steps)) / (len(trials) * TRAIN.steps)
        print(
            f"seed {seed}: price {price:.1%}, {sum(steps) / len(trials) / ADVERSARIAL:.1%} of adversarial steps; "
            f"quality {(found - median) / (best - median):.3f} (found {found:.3f}, best {best:.3f}, median {median:.3f}); "
            f"{len(complete)} of {len(trials)} complete",
            flush=True,
        )
        for trial, score in zip(trials, scores, strict=True):
            for rule in {reason.partition(" (")[0] for _, reason in trial.user_attrs.get("hopeless", ())}:
                reasons[rule].append(1 + sum(other > score for other in scores))
    for rule, ranks in reasons.items():
        print(f"{rule}: {len(ranks)} of {seeds * config.trials} full trials, the best of them of rank {min(ranks)}")


def search(seeds: int, config: StudyConfig) -> None:
    for seed in range(seeds):
        train = replace(config.train, seed=seed)
        ours = by_slot(run_study(replace(config, train=train, study=f"tpe-{seed}")))
        budget = sum(map(trained_steps, ours))
        count, spent = config.trials, 0
        while spent < budget:
            asked = replace(config, train=train, study=f"random-{seed}", trials=count, sampler="random", **PUBLISHED)
            others = by_slot(run_study(asked))
            spent = sum(map(trained_steps, others))
            count += 10
        within, left = [], budget
        for trial in others:
            left -= trained_steps(trial)
            within += [trial] if left >= 0 else []
        print(
            f"seed {seed}: TPE over the margin ratio {best_score(ours):.3f} ({len(ours)} trials), random search over "
            f"the published box {best_score(within):.3f} ({len(within)} trials) in {budget:,} steps",
            flush=True,
        )


def best_score(trials: Sequence[FrozenTrial]) -> float:
    return max((trial.value or 0.0 for trial in trials if trial.state == TrialState.COMPLETE), default=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="holds the studies")
    parser.add_argument("--part", choices=("pruning", "search"), help="[both]")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="[3]")
    parser.add_argument("--trials", type=int, default=50, metavar="N", help="[50]")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes [1]")
    args = parser.parse_args()
    config = StudyConfig(train=TRAIN, trials=args.trials, out=args.out, workers=args.workers, keep=1, quiet=True)
    for name, part in (("pruning", pruning), ("search", search)):
        if args.part in (None, name):
            part(args.seeds, config)


if __name__ == "__main__":
    main()
