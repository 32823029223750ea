"""The benchmark of the claims: means over seeds, bad ends, rank correlations, the map."""

import math
import sys
from itertools import product
from pathlib import Path

import pytest
from claims import BETA, RATIO, cell, main, predictors_table, read
from PIL import Image
from studies import MEASURES, PARTS, make_run, write_scores

from sweeps.points import read_points

SCALE = 256 * 256 * 3 / 16**2  # of beta, at 16 px
BETAS, RATIOS = (0.05, BETA), (1.5, RATIO)
HIGH = {(BETAS[0], 0): 12.0, (BETAS[0], 1): 30.0, (BETAS[1], 0): 15.0, (BETAS[1], 1): 14.0}  # 95th percentiles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Runs of two betas, two ratios and two seeds; the score falls with m over the 95th percentile of a VAE's KL."""
    settings = [*product((0.25,), BETAS, RATIOS, (0, 1)), *product((0.0,), BETAS, (RATIO,), (0, 1))]
    for index, (alpha, beta, ratio, seed) in enumerate(settings):
        run = make_run(tmp_path / f"trial-{index:03d}", alpha=alpha, beta=beta * SCALE, m=10.0 * ratio, seed=seed)
        high = HIGH[beta, seed]
        score = 1 - ratio * 10 / high / 10 if alpha else 0.6
        names = ("high_frequency_samples", "high_frequency_reconstructions", "traversal_smoothness")
        measures = MEASURES | {"kl": 10.0, "kl_95": high} | dict.fromkeys((*names, "interpolation_smoothness"), 0.5)
        bad = (beta, ratio, seed) == (BETA, RATIO, 1) and alpha
        state = {"state": "collapsed", "reason": "samples alike"} if bad else {"state": "complete", "reason": ""}
        write_scores(run, state | {"score": score, "measures": measures} | PARTS)
    return tmp_path


def test_runs_are_grouped_by_their_values_at_256_px(folder: Path) -> None:
    runs = read(folder)
    assert set(runs.beta) == set(BETAS) and set(runs.ratio.dropna()) == set(RATIOS) and len(runs) == 12
    same = runs[(runs.alpha > 0) & (runs.beta == BETA) & (runs.ratio == RATIO)]
    a, b = 1 - 4 / 15, 1 - 4 / 14
    assert cell(same, "score") == f"{(a + b) / 2:.3f} ± {abs(a - b) / math.sqrt(2):.3f}; 1 collapsed"


def test_the_predictor_that_decides_the_score_has_the_highest_rank_correlation(folder: Path) -> None:
    runs = read(folder)
    lines = predictors_table(runs[runs.alpha > 0], runs[runs.alpha == 0]).splitlines()
    found = {name: float(value.split(" ±")[0]) for name, value in (line.strip("| ").split(" | ") for line in lines[2:])}
    assert found["m over its 95th percentile"] == -1.0
    assert found["m over the mean KL of a VAE"] > -1 and abs(found["beta"]) < 1


def test_the_command_prints_tables_and_draws_the_map(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["claims.py", str(folder), "--map", str(folder / "map.png")])
    main()
    printed = capsys.readouterr().out
    assert "| score | m/KL 1.5 | m/KL 4 |" in printed and printed.count("1 collapsed") >= 1
    assert "### VAEs: beta\n\n| beta | kl | kl_95 | traversal_smoothness |" in printed
    with Image.open(folder / "map.png") as image:
        assert image.width > 400


def test_its_points_are_three_seeds_of_each_setting() -> None:
    points = read_points("claims")
    assert len(points) == len(set(points)) == 57
    seeds: dict[tuple[float | None, ...], set[int | None]] = {}
    for p in points:
        seeds.setdefault((p.alpha, p.beta_256, p.margin_ratio), set()).add(p.seed)
    assert len(seeds) == 19 and all(of_setting == {0, 1, 2} for of_setting in seeds.values())
