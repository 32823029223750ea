"""Price and quality of pruning: 50 quasi-random points trained in full, against the same points pruned.

`benchmarks/sweep.py` runs it. The setting is small (ORL faces at 16 px), and takes an hour on two cores. Each point is
trained to its end, and scored every 25 steps. A pruned trial is bit for bit the beginning of the full one, so these
scores and energies tell, by the study's own pruning and rules, what a study of the same points would have done:

price: training steps of the pruned study, with its warm-up counted once, as a share of those of 50 separate trainings,
    each with its warm-up; and, warm-ups left out, the share of the adversarial steps.
quality: (found - median) / (best - median) of the full-length scores, where found is that of the pruned study's winner.
rules: number of the full trainings that each rule ends, and the best rank of 50 that one of these had at its end.
orders: mean quality, and the share of at least 0.9, if the points come in 40 other orders.
"""

import functools
import json
import os
import random
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # of tiny networks; several processes use more cores

import optuna
import torch
from optuna.samplers import QMCSampler

from analysis.measures.collapse import image_collapse
from analysis.measures.score import score_images
from analysis.outputs import outputs_of, scored_images
from introvae.config import TrainConfig
from introvae.data.image_set import ImageSet
from introvae.errors import DivergedError
from introvae.files import write_atomically
from introvae.training.trainer import Trainer
from sweeps.config import StudyConfig
from sweeps.plan import Plan, Setup, plan_trial, plan_warmup
from sweeps.run import prepare
from sweeps.search.pruning import Rules, Stopped, goes_on, rungs
from sweeps.search.space import Space

TRAIN = TrainConfig(
    image_size=16, channels=1, latent=32, widths=(16, 32), warmup_steps=600, steps=1200, log_every=25,
    checkpoint_every=600, picture_every=600,
)  # fmt: skip
CPU = torch.device("cpu")
POINTS = 50
WIDE = Space(alpha=(0.02, 10.0), beta=(0.5, 5000.0), margin_ratio=(0.3, 100.0))  # where rules find more to end
WIDE_LR = (3e-4, 3e-2)
ENERGIES = ("step", "alpha", "kl_real", "kl_reconstruction", "kl_sample")  # what rules look at
Point = dict[str, Any]
ORDERS = 40


def study_of(seed: int, out: Path, wide: bool) -> tuple[Setup, ImageSet]:
    setup, images = prepare(StudyConfig(train=replace(TRAIN, seed=seed), study=f"seed-{seed}", out=out))
    return replace(setup, space=WIDE) if wide else setup, images


def points(setup: Setup) -> list[dict[str, float]]:
    """Draw quasi-random values of alpha, beta and the margin ratio, in the wide space of the learning rate as well."""
    study = optuna.create_study(sampler=QMCSampler(seed=setup.config.seed, scramble=True))
    drawn = []
    for _ in range(POINTS):
        trial = study.ask()
        drawn.append(setup.space.suggest(trial))
        if setup.space == WIDE:
            drawn[-1]["lr"] = trial.suggest_float("lr", *WIDE_LR, log=True)
        study.tell(trial, 0.0)
    return drawn


def point_plan(setup: Setup, number: int) -> Plan:
    """Plan the run of a point; a learning rate of its own does not change the warm-up that it starts from."""
    values = points(setup)[number]
    lr = values.pop("lr", TRAIN.lr)
    plan = plan_trial(setup, number, values)
    return replace(plan, config=replace(plan.config, lr=lr))


def train_in_full(seed: int, out: Path, wide: bool, number: int) -> Point:
    """Train a point; keep scores by step, energies, and collapses of the images."""
    torch.set_num_threads(1)
    setup, images = study_of(seed, out, wide)
    plan = point_plan(setup, number)
    config = plan.config
    real = scored_images(images)
    point: Point = {name: getattr(config, name) for name in ("alpha", "beta", "m", "lr")}
    point |= {"number": number, "vae_kl": plan.vae_kl, "scores": {}, "energies": [], "collapse": {}}

    def on_log(row: dict[str, float]) -> None:
        step = int(row["step"])
        shown = outputs_of(trainer.evaluated, real)
        point["scores"][str(step)] = score_images(real, shown.reconstructions, shown.samples).score
        point["energies"].append({name: row[name] for name in ENERGIES})
        if step in rungs(config) and (collapse := image_collapse(real, shown.reconstructions, shown.samples)):
            point["collapse"].setdefault(collapse.partition(" (")[0], step)

    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, images, Path(folder), CPU, plan.warmup)
        try:
            trainer.run(on_log=on_log)
        except DivergedError:
            point["collapse"]["not finite"] = trainer.step
            point["scores"][str(config.steps)] = 0.0
    return point


def rules(training: Point) -> dict[str, int]:
    """Return the rules that would have ended the training, each with the first step at which."""
    found: dict[str, int] = dict(training["collapse"])
    check = Rules(replace(TRAIN, m=training["m"]), training["vae_kl"])
    for row in training["energies"]:
        try:
            check(row)
        except Stopped as stopped:
            found.setdefault(str(stopped).partition(" (")[0], int(row["step"]))
    return found


def trained(seed: int, out: Path, wide: bool, pool: ProcessPoolExecutor) -> list[Point]:
    """Train the points of a seed that are missing, and return all in the order of their numbers."""
    setup, images = study_of(seed, out, wide)
    if warmup := plan_warmup(setup, setup.config):
        Trainer(warmup.config, images, warmup.folder, CPU).run()
    files = [setup.folder / f"{number:02d}.json" for number in range(POINTS)]
    missing = [number for number, file in enumerate(files) if not file.exists()]
    for point in pool.map(functools.partial(train_in_full, seed, out, wide), missing):
        write_atomically(files[point["number"]], json.dumps(point).encode())
        print(f"seed {seed}, point {point['number']}: {list(point['scores'].values())[-1]:.3f}", flush=True)
    return [json.loads(file.read_text()) for file in files]


def pruned(trainings: Sequence[Point]) -> tuple[list[int], list[int]]:
    """Return the adversarial steps of each training, had it been pruned, and which are trained to the end."""
    scores: defaultdict[int, list[float]] = defaultdict(list)  # of the trainings before, by rung
    steps, complete = [], []
    for index, full in enumerate(trainings):
        end = TRAIN.steps
        ruled_out = min(rules(full).values(), default=TRAIN.steps + 1)
        for rung in [*rungs(TRAIN), TRAIN.steps]:
            if ruled_out < rung:
                end = ruled_out
                break
            score = full["scores"][str(rung)]
            ends = ruled_out == rung or (rung < TRAIN.steps and not goes_on(score, scores[rung]))
            scores[rung].append(score)
            if ends:
                end = rung
                break
        else:
            complete.append(index)
        steps.append(end - TRAIN.warmup_steps)
    return steps, complete


def final_scores(trainings: Sequence[Point]) -> list[float]:
    return [training["scores"][str(TRAIN.steps)] for training in trainings]


def report(seed: int, trainings: Sequence[Point]) -> None:
    final = final_scores(trainings)
    steps, complete = pruned(trainings)
    found, best, median = max(final[index] for index in complete), max(final), statistics.median(final)
    price = (TRAIN.warmup_steps + sum(steps)) / (POINTS * TRAIN.steps)
    share = sum(steps) / (POINTS * (TRAIN.steps - TRAIN.warmup_steps))
    print(
        f"seed {seed}: price {price:.1%} ({share:.1%} of the adversarial steps), quality "
        f"{(found - median) / (best - median):.3f} (found {found:.3f}, best {best:.3f}, median {median:.3f}), "
        f"{len(complete)} of {POINTS} complete"
    )


def report_orders(seeds: Sequence[Sequence[Point]]) -> None:
    qualities = []
    for trainings in seeds:
        best, median = max(final_scores(trainings)), statistics.median(final_scores(trainings))
        for order in range(ORDERS):
            shuffled = random.Random(order).sample(trainings, POINTS)
            final, (_, complete) = final_scores(shuffled), pruned(shuffled)
            qualities.append((max(final[index] for index in complete) - median) / (best - median))
    good = statistics.mean(quality >= 0.9 for quality in qualities)
    print(f"other orders: mean quality {statistics.mean(qualities):.3f}, {good:.0%} at least 0.9")


def report_rules(seeds: Sequence[Sequence[Point]]) -> None:
    """Print the ranks of what each rule ends; it is right if none would have ended among the best."""
    ranks: defaultdict[str, list[int]] = defaultdict(list)
    for trainings in seeds:
        final = final_scores(trainings)
        for training, score in zip(trainings, final, strict=True):
            for rule in rules(training):
                ranks[rule].append(1 + sum(other > score for other in final))
    for rule, of_rule in sorted(ranks.items()):
        print(f"{rule}: {len(of_rule)} of {len(seeds) * POINTS} trainings, the best of them of rank {min(of_rule)}")


def run(out: Path, seeds: int, workers: int, wide: bool = False) -> None:
    """Train what is missing, and print the figures; for the wide space those of the rules only."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with ProcessPoolExecutor(workers) as pool:
        trainings = [trained(seed, out, wide, pool) for seed in range(seeds)]
    if not wide:
        for seed, of_seed in enumerate(trainings):
            report(seed, of_seed)
        report_orders(trainings)
    report_rules(trainings)
