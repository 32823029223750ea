"""Table of what the first steps of a run tell of its end: settings of the default space, trained to full length.

    python benchmarks/runs/horizon.py --out FOLDER --csv docs/horizon.csv   # trains for hours; the same command resumes
    python benchmarks/runs/horizon.py --csv docs/horizon.csv                # again, without training
    python benchmarks/runs/horizon.py --data FACES --out FOLDER --csv FILE  # of other images, in color

The settings are quasi-random values of alpha, beta and the margin ratio; each is trained with three seeds of its own.
A row of the CSV file holds what a run is worth at a step after the warm-up: `score` of the averaged weights as trials
are compared by, `raw` of the step's own, and the energies of the log; `test` is that of the last step on test images.
All pictures are kept in FOLDER, so that another score needs no training: the same command scores them again.
FOLDER/snapshots is for `benchmarks/runs/judges.py`, too.
"""

import functools
import json
import os
import tempfile
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # of small networks; several processes use more cores

import pandas as pd
import torch
from snapshots import read_snapshot, save_snapshot

from analysis.measures.collapse import image_collapse
from analysis.measures.score import score_images
from analysis.outputs import MOST_AT_RUNGS, outputs_of, scored_images
from introvae.config import TrainConfig
from introvae.data.image_set import ImageSet, to_float
from introvae.errors import DivergedError
from introvae.files import write_atomically
from introvae.training.trainer import Trainer
from sweeps.config import StudyConfig
from sweeps.plan import Setup, plan_trial, plan_warmup
from sweeps.run import prepare
from sweeps.search.scales import at_share

CPU = torch.device("cpu")
SETTINGS, SEEDS = 32, 3
STEPS = (25, 50, 75, 200, 400, 550, 800, 1200, 1600)  # after the warm-up; 50, 200, 400 and 800 are a study's rungs
ENERGIES = ("kl_real", "kl_reconstruction", "kl_sample")
TRAIN = TrainConfig(
    image_size=16, channels=1, latent=32, widths=(16, 32), warmup_steps=600, steps=600 + STEPS[-1], log_every=25,
    checkpoint_every=10**6, picture_every=10**6,
)  # fmt: skip


def config_at(size: int) -> TrainConfig:
    """Return the settings of a size, with the latent dimensions and widths that follow from it."""
    widths = (16, 32, 64, 128)[: (size // 8).bit_length()]
    return replace(TRAIN, image_size=size, latent=2 * size, widths=widths)


def study_of(train: TrainConfig, seed: int, out: Path) -> tuple[Setup, ImageSet]:
    """Return the space, which is the same for all seeds, and the images; `seed` is that of weights and draws."""
    setup, images = prepare(StudyConfig(train=replace(train, seed=0), study=f"seed-{seed}", out=out))
    return replace(setup, config=replace(setup.config, seed=seed, split_seed=0)), images


def settings(setup: Setup) -> list[dict[str, float]]:
    """Draw quasi-random values of alpha, beta and the margin ratio, on log scales."""
    ranges = setup.space.distributions
    drawn = torch.quasirandom.SobolEngine(len(ranges), scramble=True, seed=0).draw(SETTINGS, dtype=torch.float64)
    pairs = [zip(ranges.items(), row, strict=True) for row in drawn.tolist()]
    return [{name: at_share(one, share) for (name, one), share in pair} for pair in pairs]


def train(base: TrainConfig, out: Path, job: tuple[int, int], drawn: Sequence[dict[str, float]] = ()) -> None:
    """Train a setting, of those given or drawn from the space, with a seed; keep pictures and a row for each step."""
    torch.set_num_threads(1)
    number, seed = job
    setup, images = study_of(base, seed, out)
    plan = plan_trial(setup, number, (drawn or settings(setup))[number])
    real = scored_images(images, MOST_AT_RUNGS)
    known = {"setting": number, "seed": seed, "alpha": plan.config.alpha, "beta": plan.config.beta, "m": plan.config.m}
    known["vae_kl"] = plan.vae_kl or 0.0
    rows: list[dict[str, Any]] = []

    def on_log(row: dict[str, float]) -> None:
        step = int(row["step"]) - base.warmup_steps
        if step not in STEPS:
            return
        for kind, model in (("snapshots", trainer.evaluated), ("raw", trainer.model)):
            save_snapshot(pictures_of(out, kind, job, step), outputs_of(model, real))
        rows.append(known | {"step": step} | {name: row[name] for name in ENERGIES})

    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(plan.config, images, Path(folder), CPU, plan.warmup)
        try:
            trainer.run(on_log=on_log)
            on_test = outputs_of(trainer.evaluated, scored_images(images, MOST_AT_RUNGS, "test"), "test")
            save_snapshot(pictures_of(out, "test", job, STEPS[-1]), on_test)
        except DivergedError:
            rows.append(known | {"step": STEPS[-1], "score": 0.0, "raw": 0.0, "test": 0.0, "collapse": "not finite"})
    write_atomically(table_of(out, job), json.dumps(rows).encode())
    print(f"setting {number}, seed {seed}", flush=True)


def scored(base: TrainConfig, out: Path, job: tuple[int, int]) -> list[dict[str, Any]]:
    """Return the rows of a setting and a seed with the scores of their pictures."""
    torch.set_num_threads(1)
    _, images = study_of(base, job[1], out)
    columns = {"score": "snapshots", "raw": "raw", "test": "test"}
    real = {kind: scored_images(images, MOST_AT_RUNGS) for kind in columns.values()}
    real["test"] = scored_images(images, MOST_AT_RUNGS, "test")
    rows = json.loads(table_of(out, job).read_text())
    for row, (column, kind) in product(rows, columns.items()):
        path = pictures_of(out, kind, job, row["step"])
        if column in row or not path.exists():
            continue
        made = [to_float(images) for images in read_snapshot(path)]
        row[column] = score_images(real[kind], *made).score
        if column == "score":
            row["collapse"] = image_collapse(real[kind], *made)
    return rows


def table_of(out: Path, job: tuple[int, int]) -> Path:
    return out / "setting-{:02d}-seed-{}.json".format(*job)


def pictures_of(out: Path, kind: str, job: tuple[int, int], step: int) -> Path:
    return out / kind / "setting{:02d}-seed{}-{:05d}.npz".format(*job, step)


def trained(
    base: TrainConfig, out: Path, workers: int, seeds: int = SEEDS, drawn: Sequence[dict[str, float]] = ()
) -> pd.DataFrame:
    """Train what is missing, and score all pictures."""
    for seed in range(seeds):
        setup, images = study_of(base, seed, out)
        if warmup := plan_warmup(setup, setup.config):
            Trainer(warmup.config, images, warmup.folder, CPU).run()
    jobs = [(number, seed) for seed, number in product(range(seeds), range(len(drawn) or SETTINGS))]
    missing = [job for job in jobs if not table_of(out, job).exists()]
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(functools.partial(train, base, out, drawn=drawn), missing))
        return pd.DataFrame([row for rows in pool.map(functools.partial(scored, base, out), jobs) for row in rows])


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, required=True, metavar="FILE", help="table of all runs and rungs")
    parser.add_argument("--data", metavar="FACES", help="a folder of images in color [the built-in faces]")
    parser.add_argument("--image-size", type=int, default=TRAIN.image_size, metavar="N", help="pixels [16]")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="train, and keep what is done in this folder")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), metavar="N", help="processes [one a core]")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help=f"seeds of each setting [{SEEDS}]")
    parser.add_argument("--settings", type=int, default=SETTINGS, metavar="N", help=f"the first N [{SETTINGS}]")
    args = parser.parse_args()
    if args.out:
        base = config_at(args.image_size)
        base = replace(base, data=args.data, channels=3) if args.data else base
        first = settings(study_of(base, 0, args.out)[0])[: args.settings]
        table = trained(base, args.out, args.workers, args.seeds, first)
        table.round(6).to_csv(args.csv, index=False)
    print(pd.read_csv(args.csv).pivot_table(index="setting", columns="step", values="score").round(3).to_string())


if __name__ == "__main__":
    main()
