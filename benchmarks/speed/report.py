"""Cost of introvae-report for 250, 500 and 1,000 runs: seconds, memory, and the sizes of its files.

    python benchmarks/speed/report.py [--counts N ...]

One small run is trained and measured, then copied. Each copy has settings, scores, a state and pictures of its own, so
that files are as a study leaves them, but for checkpoints. The command runs in a process of its own: first without a
cache, then again, then with one run in ten rewritten. Files are in the system's memory.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from analysis.evaluate import finish
from analysis.report.runs import PICTURES
from analysis.report.write import PAGE
from introvae.config import TrainConfig, dump_toml
from introvae.data.image_set import load_images
from introvae.runs.folder import CHECKPOINT, PARAMS, PREVIOUS
from introvae.runs.pictures import last_picture
from introvae.runs.record import PARTS, SCORES
from introvae.training.trainer import Trainer

CONFIG = TrainConfig(image_size=32, channels=1, widths=(8, 8, 8), beta=30.0, m=60.0, steps=260, warmup_steps=200,
                     log_every=2, checkpoint_every=20, picture_every=20)  # fmt: skip
STATES = {"complete": 30, "pruned": 60, "collapsed": 5, "diverged": 2, "running": 3}  # of a hundred
SEED = 0


def train_one(folder: Path) -> None:
    images = load_images(CONFIG.data, CONFIG.image_size)
    trainer = Trainer(CONFIG, images, folder, torch.device("cpu"))
    trainer.run()
    finish(folder, CONFIG, images, trainer.evaluated)


def copy_run(source: Path, folder: Path, rng: random.Random) -> None:
    """Copy a run, with values drawn for the copy."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(CHECKPOINT, PREVIOUS, SCORES, PARAMS))
    alpha, beta, m = rng.uniform(0.05, 1), rng.uniform(5, 500), rng.uniform(10, 500)
    config = replace(CONFIG, alpha=alpha, beta=beta, m=m, seed=rng.getrandbits(63))
    (folder / PARAMS).write_text(dump_toml({"config": config.to_dict(), "machine": {}}))
    (state,) = rng.choices(list(STATES), list(STATES.values()))
    sheets = [folder / PICTURES[kind] for kind in ("traversals", "interpolations", "plane")]
    for path in filter(None, (last_picture(folder), *sheets)):
        with Image.open(path) as image:  # darker by some share, because no two runs share a picture
            share = rng.uniform(0.5, 1)
            darker = image.point([round(share * value) for value in range(256)] * len(image.getbands()))
        darker.save(path)
    if state != "running":
        write_values(source, folder, state, rng)


def write_values(source: Path, folder: Path, state: str, rng: random.Random) -> None:
    scores = json.loads((source / SCORES).read_text())
    measures = {n: v * rng.uniform(0.5, 1) if type(v) is float else v for n, v in scores["measures"].items()}
    scores |= {name: rng.random() for name in ("score", *PARTS)} | {"state": state, "reason": "", "measures": measures}
    (folder / SCORES).write_text(json.dumps(scores, indent=1))


def report(root: Path, cache: Path) -> tuple[float, float]:
    """Call the command; return its seconds and its peak MiB."""
    start = time.perf_counter()
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-m", "analysis.cli", str(root)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[250, 500, 1000], metavar="N", help="runs")
    counts = parser.parse_args().counts
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "one"
        train_one(source)
        print("runs    first call      again           a tenth changed   page      cache", flush=True)
        for count in counts:
            root, cache = Path(name) / f"study-{count}", Path(name) / f"cache-{count}"
            for index in range(count):
                copy_run(source, root / f"trial-{index:03d}", rng)
            calls = [report(root, cache), report(root, cache)]
            for index in range(0, count, 10):
                write_values(source, root / f"trial-{index:03d}", "complete", rng)
            calls.append(report(root, cache))
            sizes = [
                sum(path.stat().st_size for path in found) / 2**20 for found in (root.glob(PAGE), cache.rglob("*.*"))
            ]
            times = "  ".join(f"{seconds:5.1f} s {memory:4.0f} MiB" for seconds, memory in calls)
            print(f"{count:5d}  {times}  " + "  ".join(f"{size:5.1f} MiB" for size in sizes), flush=True)


if __name__ == "__main__":
    main()
