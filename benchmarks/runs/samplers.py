"""Samplers compared: studies of 50 trials over an interpolation of the runs of `benchmarks/runs/horizon.py`.

    python benchmarks/runs/samplers.py docs/horizon.csv

Scores at each step and the inflation of the KL, means over seeds, are interpolated between the settings by thin-plate
splines of log alpha, log beta and log m/KL, and the score of a trial deviates from its spline as seeds do. Each study
draws by its sampler and promotes as a study does; with TPE also as trials come, so that it learns from later rungs.
found: the interpolated score at the end of the trial that the study finds, 0 at the median of the space and 1 at the
best of 4,096 points in it. drawn: the same of the best trial that it has drawn. Mean and standard error over 20 studies
each. An interpolation of so few settings is smoother than the truth, so differences count, and not the figures as such.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, FloatDistribution
from replay import Runs, markdown, promoted
from scipy.interpolate import RBFInterpolator

from sweeps.search.promotion import RUNG_SHARES, Promotion
from sweeps.search.samplers import NumberedSampler

STUDIES, TRIALS, POINTS = 20, 50, 4096
NAMES = ("alpha", "beta", "ratio")
SPACE: dict[str, BaseDistribution] = {
    name: FloatDistribution(0.0, 1.0) for name in NAMES
}  # shares of the ranges on their log scales


class Surface:
    """Scores over the unit cube of alpha, beta and m/KL at each rung and at the end, with the spread of seeds."""

    def __init__(self, table: pd.DataFrame) -> None:
        runs = Runs.of(table)
        self.steps = [round(rung * runs.steps[-1]) for rung in (*RUNG_SHARES, 1)]
        scores = np.stack([runs.at(step) for step in self.steps], axis=-1)  # (settings, seeds, steps)
        self.scores = RBFInterpolator(runs.places, scores.mean(axis=1), smoothing=0.01)
        ratios = runs.inflations[:, :, runs.steps.index(self.steps[0])].mean(axis=1)
        self.inflations = RBFInterpolator(runs.places, ratios, smoothing=0.01)
        self.deviations = (scores - scores.mean(axis=1, keepdims=True)).reshape(-1, len(self.steps))
        cube = self.scores(np.random.default_rng(0).random((POINTS, len(NAMES))))[:, -1]
        self.middle, self.best = float(np.median(cube)), float(cube.max())

    def inflation(self, place: Sequence[float]) -> float:
        """Return the logarithm of the KL of real images over a VAE's at the first rung."""
        return float(self.inflations([place])[0])

    def worth(self, values: dict[str, Any]) -> float:
        """Return how good a setting is at the end: 0 is the median, 1 the best."""
        last = self.scores([[values[name] for name in NAMES]])[0, -1]
        return (float(last) - self.middle) / (self.best - self.middle)


def study_of(surface: Surface, sampler: str, eager: bool, seed: int) -> dict[str, float]:
    """Run a study; return how good what it has found and drawn is, and its share of all steps."""
    rng, study = np.random.default_rng(seed), optuna.create_study(direction="maximize")
    study.sampler = NumberedSampler(seed, sampler, SPACE)
    trials: list[optuna.Trial] = []
    scores: list[np.ndarray] = []

    def score(number: int, step: int) -> tuple[float, list[float], float]:
        if number == len(trials):
            trials.append(study.ask(SPACE))
        place = [trials[number].params[name] for name in NAMES]
        if number == len(scores):
            scores.append(surface.scores([place])[0] + surface.deviations[rng.integers(len(surface.deviations))])
        found = float(scores[number][surface.steps.index(step)])
        trials[number].report(found, step)
        if step == surface.steps[-1]:
            study.tell(trials[number], found)
        return found, place, surface.inflation(place)

    *rungs, end = surface.steps
    found, trained = promoted(Promotion(0, rungs, end, eager), TRIALS, score)
    worth = [surface.worth(trial.params) for trial in trials]
    return {"found": worth[found], "drawn": max(worth), "share of steps": trained / (TRIALS * end)}


def main(argv: Sequence[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path, metavar="FILE", help="what `benchmarks/runs/horizon.py` has written")
    args = parser.parse_args(argv)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    surface = Surface(pd.read_csv(args.csv))
    rows = []
    for name, sampler, eager in (("sobol", "sobol", False), ("tpe, as they come", "tpe", True), ("tpe", "tpe", False)):
        studies = [study_of(surface, sampler, eager, seed) for seed in range(STUDIES)]
        row = {"sampler": name}
        for column in studies[0]:
            values = [one[column] for one in studies]
            row[column] = f"{mean(values):.2f} ± {stdev(values) / STUDIES**0.5:.2f}"
        rows.append(row)
    print(markdown(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
