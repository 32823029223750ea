"""Tests that a real browser draws the charts of report.html to scale and legibly."""

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from browser import one, opened, set_width, texts
from selenium import webdriver
from selenium.webdriver.common.by import By
from studies import MEASURES, make_run, read_scores, write_scores
from waiting import wait_until

from analysis.report.charts.parameters import FEW_TRIALS
from analysis.report.page import page_html
from analysis.report.runs import read_runs
from introvae.runs.record import RunState


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on three runs: beta 5, 20 and 80 with collapse predicted below 10, and m/KL 1.2, 1.5 and 1.8."""
    root = tmp_path_factory.mktemp("sweep") / "runs"
    settings = (
        (RunState.COMPLETE, 0.9, 5.0, 12.0),
        (RunState.PRUNED, 0.5, 20.0, 15.0),
        (RunState.COLLAPSED, 0.1, 80.0, 18.0),
    )
    for state, score, beta, m in settings:
        folder = make_run(root / state, state, score, beta=beta, m=m)
        measures = MEASURES | {"kl": 10.0, "predicted_kl": 8.0, "collapse_beta": 10.0, "spectrum": [0.1, 0.05]}
        write_scores(folder, (read_scores(folder) or {}) | {"stderr": 0.05, "measures": measures})
    path = root / "report.html"
    path.write_text(page_html(read_runs(root), "sweep"), encoding="utf-8")
    return path


def marks(page: webdriver.Chrome, chart: str) -> dict[str, dict[str, Any]]:
    """The points of a chart's first series by run: place, shape, color, title and tabindex."""
    script = """return [...document.querySelectorAll(`.chart.${arguments[0]} a.point`)].map((mark) => ({
        run: decodeURIComponent(mark.getAttribute("href").replace("#run=", "")), path: mark.lastChild.getAttribute("d"),
        place: mark.getAttribute("transform"), color: mark.lastChild.getAttribute("fill"),
        title: mark.querySelector("title").textContent, tabindex: mark.getAttribute("tabindex")}))"""
    found = {}
    for mark in page.execute_script(script, chart):
        x, y = map(float, re.findall(r"[\d.]+", mark["place"]))
        found[mark["run"]] = mark | {"x": x, "y": y}
    return found


def lines(page: webdriver.Chrome, selector: str) -> list[dict[str, float]]:
    """The ends of SVG lines."""
    script = """return [...document.querySelectorAll(arguments[0])].map((line) =>
        Object.fromEntries(["x1", "x2", "y1", "y2"].map((name) => [name, Number(line.getAttribute(name))])))"""
    return page.execute_script(script, selector)


def test_charts_are_labeled_for_everyone(browser: webdriver.Chrome, sweep: Path) -> None:
    page = opened(browser, sweep)
    drawings = page.find_elements(By.CSS_SELECTOR, "section[id^=charts] .panel > svg")
    assert [drawing.get_attribute("role") for drawing in drawings] == [
        "img"
    ] * 8  # of nine charts, one of two panels and one left out
    labels = [drawing.get_attribute("aria-label") for drawing in drawings]
    assert labels[0] == "Map of the sweep: m/KL, margin over the KL of a VAE over beta, weight of the reconstruction"
    assert labels[1] == "Settings and score side by side: alpha, beta, m/KL, score"
    assert labels[5:6] == [
        "Predicted and measured KL: measured KL [nats] over predicted KL [nats]",
    ]
    *states, scale = texts(page, ".chart.map .legend li")
    assert states == ["predicted collapse", "complete", "pruned", "collapsed"]
    assert re.fullmatch(r"≤ 0.18\s*0.9\s*validation score, 1 is best", scale)
    assert texts(page, ".chart.kl .legend li")[:3] == ["equal", "corrected by the warm-up", "linear VAE"]
    assert not page.get_log("browser")


def test_points_have_the_shape_of_their_state_and_the_color_of_their_score(
    browser: webdriver.Chrome, sweep: Path
) -> None:
    found = marks(opened(browser, sweep), "map")
    assert list(found) == ["collapsed", "pruned", "complete"]  # the best is drawn last, above the others
    for state, score in ((RunState.COMPLETE, 0.9), (RunState.PRUNED, 0.5), (RunState.COLLAPSED, 0.1)):
        mark = found[state]
        assert mark["path"] == state.shape and mark["tabindex"] == "-1"
        assert mark["title"] == f"{state}: score {score:.3f}, {state}"
        color = [int(channel) / 255 for channel in re.findall(r"\d+", mark["color"])]
        expected = matplotlib.colormaps["viridis"]((score - 0.18) / (0.9 - 0.18))[:3]
        assert color == pytest.approx(expected, abs=0.02)


def test_axes_are_logarithmic_and_labeled(browser: webdriver.Chrome, sweep: Path) -> None:
    page = opened(browser, sweep)
    low, middle, high = (marks(page, "map")[state] for state in ("complete", "pruned", "collapsed"))
    assert middle["x"] - low["x"] == pytest.approx(high["x"] - middle["x"], abs=0.2)
    assert (low["y"] - middle["y"]) / (low["y"] - high["y"]) == pytest.approx(0.55, abs=0.01)  # log 1.25 / log 1.5
    (limit,) = lines(page, ".chart.map .panel > svg > line[stroke-dasharray]")
    assert limit["x1"] == limit["x2"] == pytest.approx((low["x"] + middle["x"]) / 2, abs=0.2)
    for chart in ("map", "score-alpha", "score-beta", "score-ratio", "kl", "prediction"):
        for side in ("middle", "end"):
            ticks = texts(page, f".chart.{chart} .panel:first-of-type .tick[text-anchor={side}]")
            assert len(ticks) > 1 and len(set(ticks)) == len(ticks), (chart, side, ticks)


def test_error_bars_and_the_diagonal_are_to_scale(browser: webdriver.Chrome, sweep: Path) -> None:
    page = opened(browser, sweep)
    found = marks(page, "score-beta")
    unit = (found["collapsed"]["y"] - found["complete"]["y"]) / 0.8
    ends = sorted(lines(page, ".chart.score-beta .error"), key=lambda line: line["x1"])
    assert len(ends) == 3
    for line, state in zip(ends, ("complete", "pruned", "collapsed"), strict=True):
        assert line["x1"] == line["x2"] == pytest.approx(found[state]["x"], abs=0.1)
        assert line["y1"] - line["y2"] == pytest.approx(0.1 * unit, abs=0.1)
        assert (line["y1"] + line["y2"]) / 2 == pytest.approx(found[state]["y"], abs=0.1)
    across, up = (texts(page, f".chart.kl .tick[text-anchor={side}]") for side in ("middle", "end"))
    assert across == up
    (equal,) = lines(page, ".chart.kl .panel > svg > line[stroke-dasharray]")
    on_it = marks(page, "kl")["complete"]  # its measured KL is the one predicted
    slope = (equal["y2"] - equal["y1"]) / (equal["x2"] - equal["x1"])
    assert on_it["y"] == pytest.approx(equal["y1"] + slope * (on_it["x"] - equal["x1"]), abs=0.2)


def test_the_bars_of_importance_are_to_scale(browser: webdriver.Chrome, tmp_path: Path) -> None:
    for number in range(FEW_TRIALS):
        make_run(tmp_path / f"{number}", RunState.COMPLETE, number / 50, beta=2.0 + number, m=2.0 + number % 7)
    path = tmp_path / "report.html"
    path.write_text(page_html(read_runs(tmp_path), "many"), encoding="utf-8")
    page = opened(browser, path)
    bars = page.find_elements(By.CSS_SELECTOR, ".chart.importance svg rect")
    values = texts(page, ".chart.importance svg text:not([text-anchor])")
    widths = [float(bar.get_attribute("width") or 0) for bar in bars]
    assert len(bars) == 3
    assert [width / sum(widths) for width in widths] == pytest.approx([float(value) for value in values], abs=0.01)


def test_parallel_lines_lead_through_the_values_to_the_run(browser: webdriver.Chrome, sweep: Path) -> None:
    """The first axis is alpha, which is the same for all; scores fall in the order of betas."""
    page = opened(browser, sweep)
    script = """return [...document.querySelectorAll(".chart.parallel a")].map((line) => [line.getAttribute("href"),
        line.querySelector("path").getAttribute("d"), line.querySelector("path").getAttribute("stroke-width")])"""
    drawn = {href.removeprefix("#run="): (path, width) for href, path, width in page.execute_script(script)}
    assert list(drawn) == ["collapsed", "pruned", "complete"]  # the best is drawn last
    heights = {name: [float(point.split()[1]) for point in path[1:].split("L")] for name, (path, _) in drawn.items()}
    assert {len(places) for places in heights.values()} == {4} and len({places[0] for places in heights.values()}) == 1
    best, middle, worst = (heights[name] for name in ("complete", "pruned", "collapsed"))
    assert best[1] > middle[1] > worst[1] and best[3] < middle[3] < worst[3]  # pixels are counted from the top
    assert middle[3] - best[3] == pytest.approx(worst[3] - middle[3], abs=0.2)
    assert drawn["complete"][1] > drawn["pruned"][1]


@pytest.mark.parametrize("width", [400, 500, 1400])
def test_names_of_parallel_axes_stand_apart(browser: webdriver.Chrome, tmp_path: Path, width: int) -> None:
    """Seven axes: three further settings differ between the runs."""
    for scale, score in enumerate((0.4, 0.5), start=1):
        settings: dict[str, Any] = {"batch_size": 8 * scale, "lr": 1e-3 * scale, "checkpoint_every": 2 * scale}
        make_run(tmp_path / f"{scale}", RunState.COMPLETE, score, **settings)
    path = tmp_path / "report.html"
    path.write_text(page_html(read_runs(tmp_path), "axes"), encoding="utf-8")
    page = opened(browser, path, width=width)
    script = """return [...document.querySelectorAll(".chart.parallel svg > text:not(.tick)")].map((text) => {
        const {left, right, top, bottom} = text.getBoundingClientRect(); return [left, right, top, bottom]})"""
    boxes = page.execute_script(script)
    assert len(boxes) == 7
    for (_, right, top, bottom), (left, _, other_top, other_bottom) in combinations(boxes, 2):
        assert right < left or bottom <= other_top or other_bottom <= top


@pytest.mark.parametrize(("scores", "first"), [((0.5, 0.52, 0.54), 0.5), ((0.1, 0.52, 0.54), 0.0)])
def test_an_axis_begins_at_zero_unless_half_of_it_would_be_empty(
    browser: webdriver.Chrome, tmp_path: Path, scores: tuple[float, ...], first: float
) -> None:
    for score in scores:
        make_run(tmp_path / f"{score}", RunState.COMPLETE, score)
    path = tmp_path / "report.html"
    path.write_text(page_html(read_runs(tmp_path), "scores"), encoding="utf-8")
    page = opened(browser, path)
    assert float(texts(page, ".chart.score-beta .tick[text-anchor=end]")[0]) == pytest.approx(first, abs=0.011)


def test_the_map_is_large_where_there_is_room(browser: webdriver.Chrome, sweep: Path) -> None:
    page = opened(browser, sweep)
    large = one(page, ".chart.map svg").get_dom_attribute("viewBox")
    set_width(browser, 400)
    wait_until(lambda: one(page, ".chart.map svg").get_dom_attribute("viewBox") != large)
    assert len(page.find_elements(By.CSS_SELECTOR, ".chart.map .panel")) == 1 and len(marks(page, "map")) == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_legible_in_light_and_dark(browser: webdriver.Chrome, sweep: Path, scheme: str) -> None:
    page = opened(browser, sweep, scheme=scheme)
    paper = luminance(page, "body", "backgroundColor")
    assert (paper > 0.9) == (scheme == "light")
    for selector, style, least in (
        (".panel > svg text", "fill", 4.5), (".legend li", "color", 4.5), (".state.good", "color", 4.5),
        (".state.fair", "color", 4.5), (".state.bad", "color", 4.5),
        (".axis", "stroke", 3), (".error", "stroke", 3), (".chart.map .point path", "stroke", 3),
        (".chart.kl .point path:last-child", "fill", 2.5),
    ):  # fmt: skip
        ink = luminance(page, selector, style)
        contrast = (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05)
        assert contrast >= least, (selector, contrast)


def luminance(page: webdriver.Chrome, selector: str, style: str) -> float:
    """The relative luminance of WCAG of the color that an element has."""
    script = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    channels = [int(channel) / 255 for channel in re.findall(r"\d+", page.execute_script(script, selector, style))[:3]]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
