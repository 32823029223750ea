"""Two runs in columns: what is drawn of each, and where."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from studies import make_run

from analysis.cli import main
from analysis.report.runs import read_runs
from analysis.report.side_by_side import settings, side_by_side
from introvae.runs.pictures import read_bands


@pytest.fixture
def study(tmp_path: Path) -> Path:
    for index, (beta, m) in enumerate(((38.4, 147.0), (576.0, 40.0))):
        run = make_run(tmp_path / f"trial-{index:03d}", score=0.25 + index / 2, beta=beta, m=m)
        Image.new("RGB", (740, 512), (200, 30 + index, 0)).save(run / "images" / "plane.png")
    return tmp_path


def drawn(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_each_run_is_a_column_of_bands_plane_and_scores(study: Path) -> None:
    assert main([str(study), "--compare"]) == 0
    sheet = drawn(study / "comparison.png")
    lefts, tops = [], []
    for index in range(2):
        rows, columns = np.where((sheet == (200, 30 + index, 0)).all(2))
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (512, 740)
        lefts.append(columns.min())
        tops.append(rows.min())
        originals = read_bands(study / f"trial-{index:03d}" / "images" / "step-000020.png")["originals"]
        originals = np.kron(originals, np.ones((4, 4, 1), np.uint8))  # 16 px enlarged to 64
        height, width = originals.shape[:2]
        above = sheet[:, lefts[-1] : lefts[-1] + width]
        assert any(np.array_equal(above[top : top + height], originals) for top in range(tops[-1] - height))
        assert (sheet[tops[-1] + 512 :, lefts[-1] : lefts[-1] + 740] < 128).any()  # the scores
    assert tops[0] == tops[1] and lefts[1] < lefts[0]  # the best run first
    assert abs(lefts[0] - lefts[1]) > 740


def test_settings_are_given_as_the_run_had_them_and_at_256_px(study: Path) -> None:
    low, _ = read_runs(study)
    assert settings(low) == "alpha 0.25, beta 38.4 (0.05 at 256x256x3), m 147 (14.7 times a VAE's KL)"
    assert low.config
    cold = replace(low, config=replace(low.config, warmup_steps=0), measures={"predicted_kl": 10.0})
    assert settings(cold).endswith("m 147 (14.7 times a VAE's predicted KL)")


def test_a_run_without_a_plane_has_none(study: Path) -> None:
    (study / "trial-000" / "images" / "plane.png").unlink()
    side_by_side(read_runs(study), study / "sheet.png")
    assert ((drawn(study / "sheet.png") == (200, 31, 0)).all(2)).sum() == 512 * 740


def test_one_run_and_many_are_drawn_in_rows(study: Path) -> None:
    assert main([str(study), "--compare", "trial-000"]) == 0
    one = drawn(study / "comparison.png").shape
    for index in range(2, 4):
        make_run(study / f"trial-{index:03d}")
    assert main([str(study), "--compare"]) == 0
    many = drawn(study / "comparison.png").shape
    assert one[1] == many[1] and one[0] < many[0]
