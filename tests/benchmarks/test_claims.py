"""The benchmark of the claims: means over seeds, bad ends, rank correlations, tables again from the CSV file."""

import math
import sys
from itertools import product
from pathlib import Path

import claims
import pytest
from claims import ALPHA, BETA, RATIO, cell, main, predictors_table, read
from PIL import Image
from studies import MEASURES, PARTS, make_run, write_scores

from sweeps.points import read_points

SCALE = 256 * 256 * 3 / 16**2  # of beta, at 16 px
BETAS, RATIOS = (0.05, BETA), (1.5, RATIO)
KL = {(BETAS[0], 0): 12.0, (BETAS[0], 1): 30.0, (BETAS[1], 0): 15.0, (BETAS[1], 1): 14.0}  # of VAEs, by beta and seed


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs of two betas, two ratios and two seeds; the score on test images falls with m over a VAE's KL."""
    monkeypatch.setattr(claims, "RESAMPLES", 20)
    settings = [*product((ALPHA,), BETAS, RATIOS, (0, 1)), *product((0.0,), BETAS, (RATIO,), (0, 1))]
    for index, (alpha, beta, ratio, seed) in enumerate(settings):
        run = make_run(tmp_path / f"trial-{index:03d}", alpha=alpha, beta=beta * SCALE, m=10.0 * ratio, seed=seed)
        score = 1 - ratio / KL[beta, seed] if alpha else 0.6
        names = ("high_frequency_samples", "high_frequency_reconstructions", "traversal_smoothness")
        measures = MEASURES | {"kl": KL[beta, seed], "vae_kl": 10.0} | dict.fromkeys(names, 0.5)
        bad = (beta, ratio, seed) == (BETA, RATIO, 1) and alpha
        state = {"state": "collapsed", "reason": "samples alike"} if bad else {"state": "complete", "reason": ""}
        scores = {"score": 0.1, "test": {"score": score, "stderr": 0.01} | PARTS, "measures": measures}
        write_scores(run, state | scores | PARTS)
    return tmp_path


def test_runs_are_grouped_by_their_values_at_256_px_and_scored_on_test_images(folder: Path) -> None:
    runs = read([folder])
    assert set(runs.beta) == set(BETAS) and set(runs.ratio.dropna()) == set(RATIOS) and len(runs) == 12
    same = runs[(runs.alpha > 0) & (runs.beta == BETA) & (runs.ratio == RATIO)]
    assert sorted(same.m_kl) == pytest.approx([40 / 15, 40 / 14])
    a, b = 1 - 4 / 15, 1 - 4 / 14
    assert cell(same, "score") == f"{(a + b) / 2:.3g} ± {abs(a - b) / math.sqrt(2):.2g}; 1 collapsed"


def test_the_predictor_that_decides_the_score_has_the_highest_rank_correlation(folder: Path) -> None:
    runs = read([folder])
    lines = predictors_table(runs[runs.alpha > 0]).splitlines()
    found = {name: float(value.split(" [")[0]) for name, value in (line.strip("| ").split(" | ") for line in lines[2:])}
    assert found["m over the KL of a VAE"] == -1.0
    assert found["m"] > -1 and abs(found["beta"]) < 1
    (interval,) = (line.split("[")[1] for line in lines if "over the KL" in line)
    assert interval.startswith("-1.00, -1.00]")


def test_the_command_prints_tables_draws_the_map_and_needs_no_runs_once_they_are_in_a_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, drawing = folder / "claims.csv", folder / "map.png"
    monkeypatch.setattr(sys, "argv", ["claims.py", str(folder), "--csv", str(file), "--map", str(drawing)])
    main()
    printed = capsys.readouterr().out
    assert "| score | predicted m/KL 1.5 | predicted m/KL 4 |" in printed and printed.count("1 collapsed") >= 1
    assert "VAEs: beta\n\n| beta | score | reconstruction |" in printed
    with Image.open(drawing) as image:
        assert image.width > 400
    monkeypatch.setattr(sys, "argv", ["claims.py", str(file)])
    main()
    assert capsys.readouterr().out == printed


def test_its_points_are_three_seeds_of_each_setting_and_three_values_within_the_recommended_range() -> None:
    points = read_points("claims")
    assert len(points) == len(set(points)) == 66
    seeds: dict[tuple[float | None, ...], set[int | None]] = {}
    for p in points:
        seeds.setdefault((p.alpha, p.beta_256, p.margin_ratio), set()).add(p.seed)
    assert len(seeds) == 22 and all(of_setting == {0, 1, 2} for of_setting in seeds.values())
    ratios = {p.margin_ratio for p in points if p.alpha == ALPHA and p.margin_ratio}
    assert len([ratio for ratio in ratios if 1.5 <= ratio <= 4]) == 3


@pytest.mark.slow
def test_the_published_tables_are_those_of_the_published_runs(capsys: pytest.CaptureFixture[str]) -> None:
    root = Path(claims.__file__).parents[2]
    published = (root / "docs/results.md").read_text().partition("## What it depends on")[2].partition("\n## ")[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["claims.py", str(root / "docs/claims.csv")])
        main()
    printed = capsys.readouterr().out.splitlines()
    rows = [line for line in published.splitlines() if line.startswith("|")]
    assert len(rows) == 2 * (5 + 6) and set(rows) <= set(printed)
