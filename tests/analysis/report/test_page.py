"""Tests of what report.html holds; test_browser.py tests that it works in a browser."""

import base64
import html
import io
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from studies import CHEAP, MEASURES, THOROUGH, make_run, make_study, read_scores, write_scores

from analysis.measures.glossary import GLOSSARY
from analysis.report.page import ASSETS, MOST_PICTURED, page_html
from analysis.report.runs import read_runs
from introvae.runs.pictures import BANDS
from introvae.runs.record import RunState

NASTY = "</script><script>alert(1)</script><!-- & \"quoted\" 'ünï'"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return make_study(tmp_path / tmp_path.name)


def page(root: Path, title: str = "faces") -> str:
    return page_html(read_runs(root), title)


def embedded(text: str, name: str = "data") -> Any:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


def measured(folder: Path, **measures: Any) -> None:
    scores = read_scores(folder) or {}
    write_scores(folder, scores | {"measures": MEASURES | measures})


def test_it_holds_every_run_best_first(study: Path) -> None:
    runs = embedded(page(study))["runs"]
    assert [run["name"] for run in runs[:3]] == ["study/trial-001", "alone", "study/trial-000"]
    assert {run["state"] for run in runs} == {
        "complete", "pruned", "collapsed", "diverged", "running", "unreadable",
    }  # fmt: skip
    first = runs[1]
    assert (first["score"], first["alpha"], first["beta"], first["m"], first["ratio"]) == (0.6, 0.25, 20, 20, 2)
    assert (first["test"], first["testStderr"]) == (0.54, 0.02)
    assert all(run["thumbnail"].startswith("data:image/webp") for run in runs if run["state"] != "unreadable")


def test_it_asks_no_network_for_anything(study: Path) -> None:
    text = page(study)
    assert "default-src 'none'" in text
    ours = re.sub(r'<script type="application/json" id="library">.*?</script>', "", text, flags=re.DOTALL)
    addresses = set(re.findall(r"""(?:src|href)=["']([^"']*)""", ours)) | set(re.findall(r"url\(([^)]*)\)", ours))
    assert all(address.startswith(("#", "data:", '"data:')) for address in addresses), addresses


def test_text_of_runs_is_not_read_as_html(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    make_run(root / NASTY.replace("/", "-"), "pruned", 0.5, NASTY, data=NASTY)
    text = page(root, NASTY)
    assert "<script>alert" not in text and text.count("<!--") == 0
    assert f"<h1>{html.escape(NASTY, quote=False)}" in text.replace("&#34;", '"').replace("&#39;", "'")
    (run,) = embedded(text)["runs"]
    assert run["reason"] == NASTY and run["config"]["data"] == NASTY


def test_numbers_beyond_json_and_javascript_are_passed_on(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", seed=2**62 + 1)
    header, first, *rest = (folder / "metrics.csv").read_text().splitlines(keepends=True)
    (folder / "metrics.csv").write_text("".join([header, first.replace("1.5", ""), *rest]))
    (run,) = embedded(page(tmp_path))["runs"]
    assert run["config"]["seed"] == str(2**62 + 1)
    assert run["curves"]["kl_real"][:2] == [None, 1.5]


def test_each_data_set_has_its_charts_with_captions(tmp_path: Path) -> None:
    for index in range(6):
        data = "orl-faces" if index < 4 else "other"
        folder = make_run(tmp_path / f"run-{index}", score=index / 10, beta=10.0 + index, m=20.0 + index, data=data)
        measured(folder, predicted_kl=8.0, collapse_beta=0.05, spectrum=[20.0, 1.0, 0.1])
    text = page(tmp_path)
    figures = re.findall(r'<figure class="chart (\S+)"[^>]*aria-label="([^"]*)"(.*?)</figure>', text, re.DOTALL)
    kinds = ["map", "parallel", "score-alpha", "score-beta", "score-ratio", "importance", "kl", "prediction"]
    assert [name for name, _, _ in figures] == kinds * 2
    assert [label.split(", ")[1] for _, label, _ in figures] == ["orl-faces"] * 8 + ["other"] * 8
    for index, (name, _, content) in enumerate(figures):
        panels = [json.loads(panel) for panel in re.findall(r'<script type="application/json">(.*?)</script>', content)]
        assert len(panels) == {"prediction": 2, "importance": 0}.get(name, 1)
        drawn = {run for panel in panels for series in panel.get("points", [panel]) for run in series["run"]}
        expected = {f"run-{number}" for number in (range(4) if index < len(kinds) else range(4, 6))}
        assert drawn == (set() if name == "importance" else expected)
    importance = next(content for name, _, content in figures if name == "importance")
    assert "Left out: shares of 4 final scores would be mostly chance" in importance
    assert "Below beta 0.05, 1 over the largest eigenvalue of the data" in text and "that is left" in text


def test_studies_of_the_same_images_have_charts_of_their_own(tmp_path: Path) -> None:
    for number, folder in enumerate(("a", "b", "b", "c", "c", ".")):
        make_run(tmp_path / folder / f"trial-{number:03}", score=number / 10, beta=10.0 + number, m=20.0)
    titles = re.findall(r"What the runs show <small>(.*?)</small>", page(tmp_path))
    assert titles == [f"{name}: orl-faces, 16 px" for name in ("c", "b", "single runs", "a")]
    map_of_each = r'<figure class="chart map".*?<script type="application/json">(.*?)</script>'
    maps = re.findall(map_of_each, page(tmp_path), re.DOTALL)
    drawn = [sorted(run for series in json.loads(panel)["points"] for run in series["run"]) for panel in maps]
    assert drawn == [["c/trial-003", "c/trial-004"], ["b/trial-001", "b/trial-002"], ["trial-005"], ["a/trial-000"]]


def test_pictures_of_failed_runs_follow_those_of_the_best(tmp_path: Path) -> None:
    for index in range(MOST_PICTURED + 1):
        make_run(tmp_path / f"good-{index:02d}", score=1 - index / 100)
    for state in ("collapsed", "diverged", "failed", "running"):
        make_run(tmp_path / state, state, score=0.0)
    pictured = list(embedded(page(tmp_path), "pictures")["pictures"])
    best = [f"good-{index:02d}" for index in range(MOST_PICTURED)]
    assert pictured == [*best, "collapsed", "diverged", "failed"]


def test_states_are_described_to_the_scripts_and_readers(study: Path) -> None:
    text = page(study)
    assert embedded(text)["states"] == {
        state.value: {"symbol": state.symbol, "shape": state.shape, "tone": state.tone, "meaning": state.meaning}
        for state in RunState
    }
    header, main = text.split("</header>")
    for state in RunState:
        occurs = state is not RunState.FAILED
        assert (f'class="state {state.tone}" title="{state.meaning}"' in header) == occurs
        assert (f"<b>{state}</b>: {state.meaning}" in main) == occurs


def test_styles_and_scripts_name_no_state() -> None:
    """A new state needs no change there."""
    for path in ASSETS.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.findall(rf"""[."'`]({"|".join(RunState)})\b""", text), path.name


def test_every_measure_of_a_run_is_explained() -> None:
    explained = {name for entries in GLOSSARY.values() for name in entries}
    assert explained | {"spectrum"} >= CHEAP | THOROUGH | {"fid", "test_fid", "test_kid_efficientnet_lite0"}


def test_full_size_pictures_are_those_of_the_best_runs(tmp_path: Path) -> None:
    count = MOST_PICTURED + 2
    for index in range(count):
        make_run(tmp_path / f"run-{index:02d}", score=index / count)
    text = page(tmp_path)
    runs = embedded(text)["runs"]
    assert list(embedded(text, "pictures")["pictures"]) == [run["name"] for run in runs[:MOST_PICTURED]]
    assert all(run["thumbnail"] for run in runs)


def test_bands_keep_their_native_size(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    found = embedded(page(tmp_path), "pictures")
    for kind in BANDS:
        content = base64.b64decode(found["images"][found["pictures"]["run"][kind]].split(",")[1])
        with Image.open(io.BytesIO(content)) as image:
            assert image.size == (12 * 16, 16)


def test_pictures_take_no_more_room_than_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(2):
        make_run(tmp_path / f"run-{index}", score=1 - index)
    whole = len(page(tmp_path).encode())
    monkeypatch.setattr("analysis.report.page.MOST_BYTES", whole // 2)
    assert embedded(page(tmp_path), "pictures") == {"images": {}, "pictures": {}}


@pytest.fixture
def bomb(tmp_path: Path) -> Path:
    """A PNG of 400 million pixels in 50 KB, which Pillow refuses to open."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    Image.MAX_IMAGE_PIXELS = limit
    return tmp_path / "bomb.png"


def test_huge_pictures_leave_out_no_others(tmp_path: Path, bomb: Path) -> None:
    folder = make_run(tmp_path / "runs" / "best")
    for name in ("traversals", "interpolations", "step-000002"):
        shutil.copyfile(bomb, folder / "images" / f"{name}.png")
    Image.new("RGB", (8, 8)).save(folder / "images" / "plane.png")
    text = page(tmp_path / "runs")
    assert sorted(embedded(text, "pictures")["pictures"]["best"]) == [
        "originals", "plane", "reconstructions", "samples",
    ]  # fmt: skip
    assert [at["step"] for at in embedded(text, "course")] == [20]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "best")
    for name in ("step-000002", "plane"):
        os.mkfifo(folder / "images" / f"{name}.png")
    text = page(tmp_path)
    assert [at["step"] for at in embedded(text, "course")] == [20]
    assert "plane" not in embedded(text, "pictures")["pictures"]["best"]


def test_a_broken_picture_leaves_out_no_other(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    content = next((folder / "images").glob("step-*.png")).read_bytes()
    (folder / "images" / "plane.png").write_bytes(content)
    (folder / "images" / "traversals.png").write_bytes(content[:60] + b"no chunk" * 8 + content[60:])
    (folder / "images" / "interpolations.png").write_bytes(b"")
    found = embedded(page(tmp_path), "pictures")["pictures"]
    assert sorted(found["run"]) == ["originals", "plane", "reconstructions", "samples"]
