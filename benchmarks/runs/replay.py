"""Studies replayed over the runs of `benchmarks/runs/horizon.py`: would they have found the best, and at what cost?

    python benchmarks/runs/replay.py docs/horizon.csv

First, Spearman's correlation over settings of the score at each step with that at the last: of the same run, and of
the same setting with another seed, which is what one run can tell of a setting; of the last score with the KL of real
images over a VAE's at each step; and of the step's score with alpha, beta and m over a VAE's KL. Then studies, each of
three quarters of the settings drawn again, with one of its seeds each. What a study finds is judged by the other seeds,
if there are any, on test images: quality is (found - median) / (best - median) of the settings' means over those, and
in one study of ten it is below `low`. Steps are those after the warm-up, as a share of training all settings to the
end.

Promotion is that of `sweeps.search.promotion`, with several shares of steps, and without a look at the KL. Halving
trains all to each rung and the share that is given past it; to train all settings to the end is as much as one seed of
each lets anything find.
"""

import math
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd

from sweeps.search.promotion import RUNG_SHARES, SHARE, Promotion

STUDIES, DRAWN = 500, 0.75
THIRD = 1 / 3
SHARES = (0.12, SHARE, 0.2)
LADDERS: list[dict[int, float]] = [{50: 0.4, 200: 0.6, 400: 0.6, 800: 0.3}, {75: THIRD, 200: THIRD, 550: THIRD}]
Way = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[int, int]]
"""Search among settings with these scores by step, places and inflations of the KL; return what is found, and the steps
trained for it."""


@dataclass(frozen=True)
class Runs:
    """Scores of settings by seed and step, and their scores on test images after the last step, by seed."""

    scores: np.ndarray  # (settings, seeds, steps)
    test: np.ndarray  # (settings, seeds)
    steps: tuple[int, ...]
    places: np.ndarray  # (settings, 3), of alpha, beta and m over a VAE's KL in their ranges, on log scales
    inflations: np.ndarray  # (settings, seeds, steps), logarithms of the KL of real images over a VAE's

    @staticmethod
    def of(table: pd.DataFrame, column: str = "score") -> "Runs":
        """Read a table of `benchmarks/runs/horizon.py`; a run that diverged has scored 0 since."""
        steps = sorted(table.step.unique())
        scores = table.pivot(index=["setting", "seed"], columns="step", values=column).reindex(columns=steps).fillna(0)
        test = table[table.step == steps[-1]].pivot(index="setting", columns="seed", values="test")
        logs = np.log(values_of(table).to_numpy())
        places = (logs - logs.min(axis=0)) / (logs.max(axis=0) - logs.min(axis=0))
        logs = table.assign(inflation=np.log(table.kl_real / table.vae_kl))
        inflations = logs.pivot(index=["setting", "seed"], columns="step", values="inflation").reindex(columns=steps)
        by_step = [one.to_numpy().reshape(*test.shape, -1) for one in (scores, inflations)]
        return Runs(by_step[0], test.to_numpy(), tuple(map(int, steps)), places, by_step[1])

    def at(self, step: int) -> np.ndarray:
        return self.scores[:, :, self.steps.index(step)]


def values_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return alpha, beta and m over a VAE's KL of each setting."""
    values = table.assign(**{"m/KL": table["m"] / table["vae_kl"]}).groupby("setting")
    return values[["alpha", "beta", "m/KL"]].first()


def promoted(
    promotion: Promotion, trials: int, score: Callable[[int, int], tuple[float, Sequence[float], float]]
) -> tuple[int, int]:
    """Run a study with one worker; return the trial that it finds, and the steps trained for it.

    `score` is called with trial and step once for each rung that a trial comes to; it also returns the trial's place,
    and the inflation of its KL.
    """
    begun = trained = 0
    complete: dict[int, float] = {}
    while move := promotion.next(begun, begun < trials, training=False, spent=trained, complete=bool(complete)):
        kind, number = move
        if number is None:
            number, rung, begun = begun, 0, begun + 1
        else:
            rung = promotion.resting.pop(number)
        if kind == "leave":
            continue
        step = promotion.following(rung)
        trained += step - rung
        found, place, inflation = score(number, step)
        promotion.learn(number, place, {step: found}, inflation)
        if step == promotion.ends[-1]:
            complete[number] = found
        else:
            promotion.rest(number, step)
    return max(complete, key=complete.__getitem__), trained


def by_promotion(steps: Sequence[int], share: float, by_kl: bool = True) -> Way:
    """Return the way of a study that may train a share of all steps, and looks at the KL or at scores alone."""
    rungs = [round(rung * steps[-1]) for rung in RUNG_SHARES]
    first = steps.index(rungs[0])

    def way(scores: np.ndarray, places: np.ndarray, inflations: np.ndarray) -> tuple[int, int]:
        def score(number: int, step: int) -> tuple[float, Sequence[float], float]:
            inflation = float(inflations[number, first]) if by_kl else math.nan
            return float(scores[number, steps.index(step)]), places[number], inflation

        return promoted(Promotion(0, rungs, steps[-1], share=share), len(scores), score)

    return way


def by_halving(steps: Sequence[int], passing: Mapping[int, float]) -> Way:
    """Return the way of training all to rungs, past each of which the best share of them goes on."""

    def way(scores: np.ndarray, places: np.ndarray, inflations: np.ndarray) -> tuple[int, int]:
        left, trained, before = np.arange(len(scores)), 0, 0
        for rung, share in passing.items():
            trained += len(left) * (rung - before)
            best = scores[left, steps.index(rung)].argsort()[::-1]
            left, before = left[best[: max(1, round(share * len(left)))]], rung
        trained += len(left) * (steps[-1] - before)
        return int(left[scores[left, -1].argmax()]), trained

    return way


def searched(runs: Runs, way: Way) -> dict[str, float]:
    """Return the mean quality of what studies find, its lowest tenth, and their share of all steps."""
    rng = np.random.default_rng(0)
    settings, seeds = runs.test.shape
    qualities, shares = [], []
    for _ in range(STUDIES):
        order = rng.permutation(settings)[: round(DRAWN * settings)]
        seed = rng.integers(seeds, size=(len(order),))
        found, trained = way(runs.scores[order, seed], runs.places[order], runs.inflations[order, seed])
        others = (np.arange(seeds) != seed[:, None]) | (seeds == 1)
        worth = runs.test[order].mean(axis=1, where=others)
        middle = float(np.median(worth))
        qualities.append((float(worth[found]) - middle) / (float(worth.max()) - middle))
        shares.append(trained / (len(order) * runs.steps[-1]))
    return {"quality": mean(qualities), "low": float(np.quantile(qualities, 0.1)), "share of steps": mean(shares)}


def correlations(table: pd.DataFrame) -> pd.DataFrame:
    """Return Spearman's correlation of each step's scores with the last ones, and with alpha, beta and m over the KL.

    The last ones are those of the same runs, also with the score of the step's raw weights, and of other seeds.
    """
    runs, raw = Runs.of(table), Runs.of(table, "raw")
    seeds = range(runs.test.shape[1])
    values = values_of(table)
    rows: list[dict[str, Any]] = []
    for step in runs.steps:
        scores = runs.at(step), raw.at(step), runs.at(runs.steps[-1])
        now, own, end = (pd.DataFrame(score).rank().to_numpy() for score in scores)
        pairs = [[float(np.corrcoef(now[:, a], end[:, b])[0, 1]) for b in seeds] for a in seeds]
        same = [pairs[a][a] for a in seeds]
        by_own = mean(float(np.corrcoef(own[:, seed], end[:, seed])[0, 1]) for seed in seeds)
        rows.append({"step": str(step), "same run": mean(same), "its raw weights": by_own})
        if others := [pairs[a][b] for a in seeds for b in seeds if a != b]:
            rows[-1]["another seed"] = mean(others)
        ratios = pd.DataFrame(runs.inflations[:, :, runs.steps.index(step)]).rank().to_numpy()
        rows[-1]["KL"] = mean(float(np.corrcoef(ratios[:, seed], end[:, seed])[0, 1]) for seed in seeds)
        average = pd.Series(now.mean(axis=1), values.index)
        rows[-1] |= {str(name): float(one.corr(average, method="spearman")) for name, one in values.items()}
    return pd.DataFrame(rows)


def ways(steps: Sequence[int], settings: int) -> dict[str, Way]:
    """Return ways of searching by name."""
    whole = steps[-1]

    def random(count: int) -> Way:
        return lambda scores, *_: (int(scores[:count, -1].argmax()), count * whole)

    def one_rung(rung: int) -> Way:
        found = steps.index(rung)
        return lambda scores, *_: (int(scores[:, found].argmax()), len(scores) * rung + whole - rung)

    named = {f"promotion, {share:.0%} of all steps": by_promotion(steps, share) for share in SHARES}
    named[f"the same by scores alone, {SHARE:.0%}"] = by_promotion(steps, SHARE, by_kl=False)
    for passing in LADDERS:
        name = ", ".join(f"{step} ({share:.0%})" for step, share in passing.items())
        named[f"halving at {name}"] = by_halving(steps, passing)
    named |= {f"all to {rung}, the best on": one_rung(rung) for rung in (75, 200, 400)}
    named |= {f"random search, {share:.0%} of them": random(round(share * settings)) for share in (0.125, 0.2, 0.25)}
    return named | {"all to the end": random(settings)}


def markdown(frame: pd.DataFrame) -> str:
    """Return a table for Markdown, with two digits."""
    cells = [[f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row] for row in frame.values.tolist()]
    rows = [list(frame.columns), ["---"] * len(frame.columns), *cells]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(argv: Sequence[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path, metavar="FILE", help="what `benchmarks/runs/horizon.py` has written")
    args = parser.parse_args(argv)
    table = pd.read_csv(args.csv)
    runs = Runs.of(table)
    named = ways(runs.steps, round(DRAWN * len(runs.test)))
    found = [{"search": name, **searched(runs, way)} for name, way in named.items()]
    print(markdown(correlations(table)), markdown(pd.DataFrame(found)), sep="\n\n")


if __name__ == "__main__":
    main()
