"""Reading runs: nothing that lies in a folder stops it."""

import io
import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from permissions import bound_by_permissions
from PIL import Image
from studies import MEASURES, make_run, make_study, write_scores

from analysis.report import runs
from analysis.report.runs import CURVE_POINTS, Run, read_runs, thumbnail
from introvae.errors import UserError
from introvae.runs.curves import DRAWN
from introvae.runs.folder import METRICS, PARAMS, MetricsLog
from introvae.runs.pictures import last_picture, read_bands
from introvae.runs.record import SCORES
from introvae.training.metrics import COLUMNS


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return make_study(tmp_path / tmp_path.name)  # a name of its own in the cache


def by_name(root: Path) -> dict[str, Run]:
    return {run.name: run for run in read_runs(root)}


def test_every_run_has_a_state_and_its_reason(study: Path) -> None:
    found = by_name(study)
    assert {name: (run.state, run.reason) for name, run in found.items() if name != "bad"} == {
        "alone": ("complete", ""),
        "running": ("running", "step 20 of 40"),
        "study/trial-000": ("complete", ""),
        "study/trial-001": ("pruned", "score 0.750 at step 20"),
        "study/trial-002": ("collapsed", "samples alike | at step 20"),
        "study/trial-003": ("diverged", "step 7 is not finite"),
    }
    assert found["bad"].state == "unreadable" and "did you mean 'beta'" in found["bad"].reason
    assert read_runs(study / "alone")[0].name == "alone"


def test_a_run_is_plain_values(study: Path) -> None:
    run = by_name(study)["alone"]
    assert run.config and (run.scores.score, run.step, run.config.image_size) == (0.6, 20, 16)
    assert run.measures == MEASURES
    assert run.numbers == {"psnr": 20.5, "kl": 12.25, "vae_kl": 10.0, "active_units_0.01": 5, "active_units_0.1": 3}
    assert run.lists == {"kl_per_dimension": [0.5, 1]}
    assert list(run.curves["step"]) == list(range(2, 21, 2)) and len(run.curves) == len(COLUMNS)
    assert run.pictures == {"last": study / "alone" / "images" / "step-000020.png"}


def test_m_counts_only_where_there_is_a_margin(tmp_path: Path) -> None:
    make_run(tmp_path / "intro", alpha=((0, 0.0), (10, 0.5)), m=25.0)
    make_run(tmp_path / "soft", objective="soft")
    make_run(tmp_path / "vae", alpha=0.0)
    found = by_name(tmp_path)
    assert found["intro"].parameters == {"alpha": 0.5, "beta": 20.0, "m": 25.0}
    assert found["intro"].margin_ratio == 2.5
    assert found["vae"].parameters == {"alpha": 0.0, "beta": 20.0} and found["vae"].margin_ratio is None
    assert "m" not in found["soft"].parameters and found["soft"].margin_ratio is None


def test_a_margin_ratio_that_no_warm_up_has_measured_is_a_predicted_one(tmp_path: Path) -> None:
    for name, steps, measures in (
        ("warm", 8, {"vae_kl": 10.0, "predicted_kl": 16.0}), ("cold", 0, {"predicted_kl": 16.0}),
        ("of an earlier version", 0, {"vae_kl": 16.0, "predicted_kl": 16.0}), ("unknown", 8, {}),
    ):  # fmt: skip
        write_scores(
            make_run(tmp_path / name, warmup_steps=steps), {"state": "complete", "score": 0.5, "measures": measures}
        )
    ratios = {name: (run.margin_ratio, run.predicted_margin_ratio) for name, run in by_name(tmp_path).items()}
    assert ratios["warm"] == (2.0, None) and ratios["unknown"] == (None, None)
    assert ratios["cold"] == ratios["of an earlier version"] == (None, 1.25)


def test_pictures_are_found_by_kind(study: Path) -> None:
    names = [
        "images/traversals.png",
        "images/interpolations.png",
        "images/plane.png",
        "images/training.gif",
        "curves.png",
    ]
    for name in names:
        (study / "alone" / name).touch()
    pictures = by_name(study)["alone"].pictures
    assert [pictures[kind] for kind in ("traversals", "interpolations", "plane", "gif", "curves")] == [
        study / "alone" / name for name in names
    ]


def test_long_curves_are_thinned_with_both_ends(study: Path) -> None:
    MetricsLog(study / "alone", COLUMNS, [dict.fromkeys(COLUMNS, float(step)) for step in range(1, 1002)])
    curves = by_name(study)["alone"].curves
    assert {len(values) for values in curves.values()} == {CURVE_POINTS}
    assert curves["step"][0] == 1 and curves["step"][-1] == 1001
    assert set(np.diff(curves["kl_real"])) == {5, 6}


def test_a_thumbnail_is_small_and_shows_the_samples_in_two_rows(study: Path) -> None:
    picture = last_picture(study / "alone")
    assert picture
    small = thumbnail(picture)
    assert by_name(study)["alone"].thumbnail == small and len(small) < 8192
    with Image.open(io.BytesIO(small)) as image:
        assert (image.format, image.size) == ("WEBP", (6 * 64, 2 * 64))
        tiles = np.asarray(image.convert("L"))[32::64, 32::64] / 255
    np.testing.assert_allclose(tiles.ravel(), read_bands(picture)["samples"][8, 8::16, 0] / 255, atol=0.03)


def folder_instead(name: str) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        (run / name).unlink()
        (run / name).mkdir()

    return change


def pipe_instead(name: str) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        (run / name).unlink()
        os.mkfifo(run / name)

    return change


def circle(run: Path) -> None:
    (run / PARAMS).unlink()
    (run / PARAMS).symlink_to(PARAMS)


def text(name: str, content: str) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        (run / name).write_text(content)

    return change


def score(**values: object) -> Callable[[Path], None]:
    return lambda run: write_scores(run, {"state": "complete", "score": 0.5} | values)


def log(columns: Sequence[str], *rows: str) -> Callable[[Path], None]:
    return text(METRICS, "".join(f"{row}\n" for row in (",".join(columns), *rows)))


BROKEN = {
    "no parameters": (lambda run: (run / PARAMS).unlink(), "is no run: it has no params.toml"),
    "foreign parameters": (text(PARAMS, "title = 'x'"), "no table \\[config\\]"),
    "parameters of bytes": (lambda run: (run / PARAMS).write_bytes(bytes(range(256))), "params.toml"),
    "parameters a folder": (folder_instead(PARAMS), "params.toml is not a file"),
    "parameters a pipe": (pipe_instead(PARAMS), "params.toml is not a file"),
    "parameters a circle of links": (circle, "symbolic links"),
    "scores cut off": (text(SCORES, '{"state": "comp'), "cannot read .*scores.json"),
    "scores a list": (text(SCORES, "[1]"), "it holds no table"),
    "scores without end": (text(SCORES, "[" * 100_000), "cannot read .*scores.json"),
    "scores a folder": (folder_instead(SCORES), "scores.json is not a file"),
    "score in words": (score(score="0.5"), "score is '0.5'; it takes a number from 0 to 1"),
    "score missing": (text(SCORES, '{"state": "complete"}'), "score is None"),
    "score not a number": (score(score=float("nan")), "score is nan"),
    "score beyond": (score(score=1.5), "score is 1.5"),
    "score a truth": (score(score=True), "score is True"),
    "part in words": (score(sharpness="high"), "sharpness is 'high'"),
    "unknown state": (score(state="finished"), "state is 'finished'.*complete, pruned"),
    "state a list": (score(state=[]), "state is \\[\\]"),
    "measures a list": (score(measures=[1]), "measures is \\[1\\]"),
    "error a list": (score(stderr=[]), "stderr is \\[\\]"),
    "error below zero": (score(stderr=-1), "stderr is -1; it takes a number from 0 to 1"),
    "measure of words": (score(measures={"kl_per_dimension": "x"}), "kl_per_dimension is 'x'; it takes a list"),
    "measure beyond drawing": (score(measures={"kl": 1e308}), "measures.kl is 1e.308"),
    "measure beyond floats": (score(measures={"rungs": [[10**400, 0.5]]}), "measures.rungs is "),
    "measure named like a column": (score(measures={"state": 5}), "measures has a name 'state'"),
    "measure without text": (score(measures={"\ud800": "\ud800"}), "measures has a name '.ud800'"),
    "test measure named like a column": (score(test={"score": 1, "measures": {"stderr": 0}}), "name 'stderr'"),
    "log torn": (log(DRAWN, "1", "3"), "cannot read .*metrics.csv: zip"),
    "log without a column": (log([name for name in DRAWN if name != "kl_real"]), "it has no column kl_real"),
    "log with a column twice": (log([*DRAWN, "beta"]), "it has two columns beta"),
    "log without steps": (text(METRICS, "a,b\n1,2\n"), "no column step"),
    "log of bytes": (lambda run: (run / METRICS).write_bytes(bytes(range(256))), "metrics.csv"),
    "log of empty cells": (log(DRAWN, "," * (len(DRAWN) - 1)), "step is nan"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_run_is_named_and_stops_nothing(study: Path, case: str) -> None:
    change, reason = BROKEN[case]
    change(study / "study" / "trial-000")
    for _ in range(2):
        found = by_name(study)
        run = found["study/trial-000"]
        assert (run.state, run.config, run.parameters, run.margin_ratio) == ("unreadable", None, {}, None)
        assert math.isnan(run.scores.score)
        with pytest.raises(AssertionError, match=reason):
            raise AssertionError(run.reason)
        assert len(found) == 7 and found["alone"].state == "complete"


def test_a_margin_ratio_is_a_number(tmp_path: Path) -> None:
    for kl in (0, 5e-324):
        run = make_run(tmp_path / f"{kl}", m=25.0)
        write_scores(run, {"state": "complete", "score": 1, "measures": {"vae_kl": kl}})
    assert [run.margin_ratio for run in read_runs(tmp_path)] == [None, None]


@pytest.mark.parametrize("content", [b"", b"junk", b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_a_run_whose_picture_is_broken_has_none(study: Path, content: bytes) -> None:
    picture = study / "alone" / "images" / "step-000020.png"
    picture.write_bytes(content)
    run = by_name(study)["alone"]
    assert run.scores.score == 0.6 and f"cannot read {picture}" in run.reason
    assert run.thumbnail == b"" and run.pictures == {}


def test_a_foreign_picture_is_passed_over(study: Path) -> None:
    images = study / "alone" / "images"
    (images / "step-final.png").write_bytes(b"junk")
    assert by_name(study)["alone"].pictures["last"] == images / "step-000020.png"


@pytest.mark.parametrize("path", ["", "params.toml", "scores.json", "metrics.csv", "images/step-000020.png"])
def test_what_may_not_be_read_is_named_until_it_may(study: Path, path: str) -> None:
    target = study / "alone" / path
    mode = target.stat().st_mode
    target.chmod(0)
    with bound_by_permissions():
        run = by_name(study)["alone"]
        assert "Permission denied" in run.reason and not run.thumbnail
        target.chmod(mode)
        assert by_name(study)["alone"].reason == ""


def test_runs_in_a_folder_that_may_only_be_listed_are_named(study: Path) -> None:
    (study / "study").chmod(0o400)
    with bound_by_permissions():
        found = by_name(study)
    assert len(found) == 7 and "Permission denied" in found["study/trial-000"].reason


def test_links_are_not_followed(study: Path) -> None:
    (study / "alone" / "loop").symlink_to(study)
    (study / "dangling").symlink_to(study / "nowhere")
    assert len(read_runs(study)) == 7


def test_a_run_that_is_removed_meanwhile_is_none(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_config = runs.read_config

    def removing(folder: Path) -> object:
        if folder.name == "alone":
            shutil.rmtree(folder)
        return read_config(folder)

    monkeypatch.setattr(runs, "read_config", removing)
    assert "alone" not in by_name(study) and len(read_runs(study)) == 6


def test_names_that_are_no_text(tmp_path: Path) -> None:
    make_run(tmp_path / os.fsdecode(b"caf\xe9"))
    (run,) = read_runs(tmp_path)
    assert run.name == "caf?" and run.state == "complete"


def test_no_runs_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        read_runs(tmp_path / "missing")
    with pytest.raises(UserError, match="there is no run below"):
        read_runs(tmp_path)
