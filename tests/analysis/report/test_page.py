"""What report.html holds; that it works in a browser is in test_browser.py."""

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from studies import CHEAP, MEASURES, THOROUGH, make_run, make_study

from analysis.measures.glossary import GLOSSARY
from analysis.report.page import MOST_PICTURED, page_html
from analysis.report.runs import read_runs
from introvae.runs.record import read_scores, write_scores

NASTY = "</script><script>alert(1)</script><!-- & \"quoted\" 'ünï'"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return make_study(tmp_path / tmp_path.name)


def page(root: Path, title: str = "faces") -> str:
    return page_html(read_runs(root), title)


def embedded(text: str, name: str = "data") -> dict[str, Any]:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


def measured(folder: Path, **measures: Any) -> None:
    scores = read_scores(folder) or {}
    write_scores(folder, scores | {"measures": MEASURES | measures})


def test_every_run_is_in_it_best_first(study: Path) -> None:
    runs = embedded(page(study))["runs"]
    assert [run["name"] for run in runs[:3]] == ["study/trial-001", "alone", "study/trial-000"]
    assert {run["state"] for run in runs} == {
        "complete", "pruned", "collapsed", "diverged", "running", "unreadable",
    }  # fmt: skip
    first = runs[1]
    assert (first["score"], first["alpha"], first["beta"], first["m"], first["ratio"]) == (0.6, 0.25, 20, 20, 2)
    assert all(run["thumbnail"].startswith("data:image/webp") for run in runs if run["state"] != "unreadable")


def test_it_asks_nothing_of_a_network(study: Path) -> None:
    text = page(study)
    assert "default-src 'none'" in text
    ours = re.sub(r'<script type="application/json" id="library">.*?</script>', "", text, flags=re.DOTALL)
    addresses = set(re.findall(r"""(?:src|href)=["']([^"']*)""", ours)) | set(re.findall(r"url\(([^)]*)\)", ours))
    assert all(address.startswith(("#", "data:", '"data:')) for address in addresses), addresses


def test_text_of_runs_is_no_html(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    make_run(root / NASTY.replace("/", "-"), "pruned", 0.5, NASTY, data=NASTY)
    text = page(root, NASTY)
    assert "<script>alert" not in text and text.count("<!--") == 0
    assert f"<h1>{html.escape(NASTY, quote=False)}" in text.replace("&#34;", '"').replace("&#39;", "'")
    (run,) = embedded(text)["runs"]
    assert run["reason"] == NASTY and run["config"]["data"] == NASTY


def test_numbers_that_json_or_javascript_do_not_know(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", seed=2**62 + 1)
    header, first, *rest = (folder / "metrics.csv").read_text().splitlines(keepends=True)
    (folder / "metrics.csv").write_text("".join([header, first.replace("1.5", ""), *rest]))
    (run,) = embedded(page(tmp_path))["runs"]
    assert run["config"]["seed"] == str(2**62 + 1)
    assert run["curves"]["kl_real"][:2] == [None, 1.5]


def test_charts_have_labels_and_one_set_for_each_data_set(tmp_path: Path) -> None:
    for index in range(6):
        data = "orl-faces" if index < 4 else "other"
        folder = make_run(tmp_path / f"run-{index}", score=index / 10, beta=10.0 + index, m=20.0 + index, data=data)
        measured(folder, predicted_kl=8.0, collapse_beta=0.05, spectrum=[20.0, 1.0, 0.1])
    text = page(tmp_path)
    figures = re.findall(r'<figure class="chart (\S+)"[^>]*aria-label="([^"]*)"(.*?)</figure>', text, re.DOTALL)
    kinds = ["map", "score-alpha", "score-beta", "score-ratio", "importance", "prediction", "kl"]
    assert [name for name, _, _ in figures] == kinds * 2
    assert [label.split(", ")[1] for _, label, _ in figures] == ["orl-faces"] * 7 + ["other"] * 7
    for name, _, content in figures:
        labels = re.findall(r"<text[^>]*>([^<]*)</text>", content)
        assert any("[nats]" in text or "score" in text or "share" in text for text in labels), (name, labels)
    importance = next(content for name, _, content in figures if name == "importance")
    assert "<b>Warning:</b> 4 runs are few" in importance
    assert "0.05 everything is predicted to collapse" in text and "#010203" not in text


def test_the_collapse_line_is_drawn_where_it_is_in_view(tmp_path: Path) -> None:
    for index, beta in enumerate((5.0, 20.0, 80.0)):
        measured(make_run(tmp_path / f"run-{index}", beta=beta), collapse_beta=10.0)
    assert ": the dashed line." in page(tmp_path)


def test_every_measure_of_a_run_is_explained() -> None:
    explained = {name for entries in GLOSSARY.values() for name in entries}
    assert explained | {"spectrum"} >= CHEAP | THOROUGH


def test_pictures_at_full_size_are_those_of_the_best(tmp_path: Path) -> None:
    count = MOST_PICTURED + 2
    for index in range(count):
        make_run(tmp_path / f"run-{index:02d}", score=index / count)
    text = page(tmp_path)
    runs = embedded(text)["runs"]
    assert list(embedded(text, "pictures")["pictures"]) == [run["name"] for run in runs[:MOST_PICTURED]]
    assert all(run["thumbnail"] for run in runs)


def test_pictures_take_the_room_that_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(2):
        make_run(tmp_path / f"run-{index}", score=1 - index)
    whole = len(page(tmp_path).encode())
    monkeypatch.setattr("analysis.report.page.MOST_BYTES", whole // 2)
    assert embedded(page(tmp_path), "pictures") == {"images": {}, "pictures": {}}


def test_a_broken_picture_takes_no_other_with_it(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    content = next((folder / "images").glob("step-*.png")).read_bytes()
    (folder / "images" / "plane.png").write_bytes(content)
    (folder / "images" / "traversals.png").write_bytes(content[:60] + b"no chunk" * 8 + content[60:])
    (folder / "images" / "interpolations.png").write_bytes(b"")
    found = embedded(page(tmp_path), "pictures")["pictures"]
    assert sorted(found["run"]) == ["originals", "plane", "reconstructions", "samples"]
