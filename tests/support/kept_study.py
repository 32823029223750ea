"""A study that an earlier version trained, kept as data: kept_study.json, written by this file.

    OMP_NUM_THREADS=1 introvae-sweep FLAGS --out OUT
    python tests/support/kept_study.py OUT/orl-faces-16px > tests/support/kept_study.json

The present one was trained when nearness and coverage lost their powers in the score. The driver had been held, bit for
bit, against a study of version 0.1.0, whose split and score have changed since.
"""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import optuna

KEPT = Path(__file__).with_suffix(".json")
FLAGS = [
    *("--trials", "16", "--workers", "1", "--image-size", "16", "--latent", "8", "--widths", "8,8", "--lr", "5e-3"),
    *("--steps", "290", "--warmup-steps", "200", "--batch-size", "8", "--log-every", "5", "--checkpoint-every", "10"),
    *("--picture-every", "290", "--keep", "all", "--device", "cpu", "--sampler", "tpe"),
]  # fmt: skip
STUDY = "orl-faces-16px"


def read_study(folder: Path) -> dict[str, Any]:
    """Return draws, reports, outcomes, scores.json and metrics.csv but for speed of each trial, by its run folder."""
    study = optuna.load_study(study_name=folder.name, storage=f"sqlite:///{folder / 'study.db'}")
    trials = {}
    for number, trial in enumerate(study.get_trials()):
        run = folder / f"trial-{number:03d}"
        with (run / "metrics.csv").open(newline="") as file:
            rows = [list(row.values())[:-1] for row in csv.DictReader(file)]
        trials[run.name] = {
            "state": trial.state.name,
            "value": trial.value,
            "params": trial.params,
            "reports": {str(step): score for step, score in trial.intermediate_values.items()},
            "constraints": trial.constraints,
            "m": trial.user_attrs["m"],
            "outcome": trial.user_attrs["outcome"],
            "scores": json.loads((run / "scores.json").read_text()),
            "metrics": rows,
        }
    return {"machine": machine(), "settings": study.user_attrs["settings"], "trials": trials}


def machine() -> str:
    """Return the processor's type; bits are promised on one type of processor."""
    lines = [line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line]
    known = {name.strip(): value.strip() for name, value in lines}
    wide = "with" if "avx512f" in known.get("flags", "") else "without"
    return f"{known.get('model name')}, family {known.get('cpu family')}, model {known.get('model')}, {wide} AVX-512"


if __name__ == "__main__":
    print(json.dumps(read_study(Path(sys.argv[1]))))
