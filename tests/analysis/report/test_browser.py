"""Tests of report.html in a real browser, from the file system."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest
import torch
from browser import one, opened, texts
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait
from studies import make_run, make_study, write_scores
from waiting import wait_until

from analysis.report.page import page_html
from analysis.report.runs import read_runs
from introvae.runs.pictures import write_picture
from introvae.runs.record import RunState

NASTY = "<img src=x onerror=alert(1)> 'ünï' \"q\""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_study(tmp_path_factory.mktemp("browser") / "runs")
    make_run(root / NASTY, "pruned", 0.1, NASTY)
    path = root / "report.html"
    path.write_text(page_html(read_runs(root), "faces"), encoding="utf-8")
    return path


@pytest.fixture
def page(browser: webdriver.Chrome, report: Path) -> webdriver.Chrome:
    return opened(browser, report)


def dialog(page: webdriver.Chrome) -> WebElement:
    return WebDriverWait(page, 20).until(lambda page: one(page, "dialog[open]"))


def open_run(page: webdriver.Chrome, name: str) -> WebElement:
    """The dialog of a run, opened by its link; the browser follows the new address a moment after the click."""
    page.find_element(By.LINK_TEXT, name).click()
    return dialog(page)


def names(page: webdriver.Chrome) -> list[str]:
    return texts(page, "#table tbody td.name")


def test_it_loads_without_an_error_and_without_a_request(page: webdriver.Chrome) -> None:
    assert page.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert sent and {url.split(":")[0] for url in sent} <= {"file", "data", "blob", "about"}
    assert names(page)[:2] == ["study/trial-001", "alone"] and len(names(page)) == 8


def test_the_best_complete_run_and_all_samples_come_first(page: webdriver.Chrome) -> None:
    card = one(page, "#card")
    assert "Best complete run: alone" in card.text and "score on test images 0." in card.text
    assert "introvae-train --from " in card.text and "alone-longer" in card.text
    assert texts(page, "#card figcaption") == ["Samples"]
    captions = texts(page, ".wall figcaption")
    assert captions[0].startswith("study/trial-001 0.") and len(captions) >= 5
    assert all(
        image.get_property("naturalHeight") == 2 * 64 for image in page.find_elements(By.CSS_SELECTOR, ".wall img")
    )
    tops = [one(page, part).location["y"] for part in ("#card", "#charts-1", "#wall", "#runs", "#curves", "#terms")]
    assert tops == sorted(tops)
    page.find_element(By.CSS_SELECTOR, ".wall a").click()
    assert dialog(page).text.startswith("study/trial-001")


def test_a_slider_leads_through_the_training_of_the_best_run(browser: webdriver.Chrome, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "runs" / "alone", "complete", 0.6)
    for step, shade in ((0, 0.0), (10, 1.0)):
        write_picture(folder, step, (torch.full((12, 1, 16, 16), shade),) * 3)
    (folder / "images" / "step-000015.png").write_bytes(b"broken")
    path = tmp_path / "report.html"
    path.write_text(page_html(read_runs(tmp_path / "runs"), "faces"), encoding="utf-8")
    page = opened(browser, path)
    slider, image = one(page, "#course-step"), one(page, "#card img")
    assert slider.get_attribute("aria-valuetext") == one(page, "#card label").text == "after step 20"
    shown = [image.get_property("src")]
    for step in (10, 0):
        slider.send_keys(Keys.ARROW_LEFT)
        assert one(page, "#card label").text == f"after step {step}"
        shown.append(image.get_property("src"))
    assert len(set(shown)) == 3 and page.get_log("browser") == []


def test_the_best_run_is_put_beside_the_worst(page: webdriver.Chrome) -> None:
    first, second = (Select(one(page, f"#compare-{side}")).first_selected_option.text for side in "ab")
    worst = [caption.split()[0] for caption in texts(page, ".wall figcaption")][-1]
    assert first.startswith("study/trial-001 ") and second.startswith(worst)


def test_it_sorts_by_a_column_with_unknown_values_last(page: webdriver.Chrome) -> None:
    heading = next(h for h in page.find_elements(By.CSS_SELECTOR, "#table th") if h.text.startswith("Validation"))
    for order, expected in (("descending", ["0.750", "0.600", "0.500"]), ("ascending", ["0.000", "0.100", "0.250"])):
        heading.click()
        wait_until(lambda order=order: heading.get_attribute("aria-sort") == order)  # the table sorts a moment later
        scores = texts(page, "#table tbody td:nth-child(5)")
        assert scores[:3] == expected and scores[-2:] == ["–", "–"]


def test_it_filters_by_state_and_by_text(page: webdriver.Chrome) -> None:
    Select(one(page, "#state-filter")).select_by_visible_text("collapsed")
    assert names(page) == ["study/trial-002"]
    Select(one(page, "#state-filter")).select_by_visible_text("all")
    one(page, "#search").send_keys("not finite")
    assert names(page) == ["study/trial-003"]
    one(page, "#search").send_keys(" at all")
    assert texts(page, "#table tbody td") == ["No run matches these filters."]


def test_it_filters_by_study(page: webdriver.Chrome) -> None:
    """The table and the wall of samples."""
    select = Select(one(page, "#study-filter"))
    assert [option.text for option in select.options] == ["all", "study"]
    select.select_by_visible_text("study")
    assert names(page) and all(name.startswith("study/") for name in names(page))
    shown = [caption.split(" ")[0] for caption in texts(page, ".wall > figure:not([hidden]) figcaption")]
    assert shown and all(name.startswith("study/") for name in shown)
    select.select_by_visible_text("all")
    assert len(names(page)) == 8 and not page.find_elements(By.CSS_SELECTOR, ".wall > figure[hidden]")


def test_it_opens_a_run_and_closes_it(page: webdriver.Chrome) -> None:
    run = open_run(page, "study/trial-002")
    assert one(page, "#run-title").text == "study/trial-002"
    assert "✖ collapsed: samples alike | at step 20" in run.text
    state = one(page, "dialog .state.bad")
    assert state.text == "✖ collapsed" and state.get_attribute("title") == RunState.COLLAPSED.meaning
    captions = texts(page, "dialog figure.picture figcaption")
    assert captions[:3] == ["Originals", "Reconstructions", "Samples"]
    shown = page.find_elements(By.CSS_SELECTOR, "dialog img")
    assert shown and all(image.get_property("naturalWidth") for image in shown)
    assert shown[0].get_property("naturalWidth") == 12 * 16  # a band at native size, which the page enlarges
    assert shown[0].value_of_css_property("image-rendering") == "pixelated"
    labels = texts(page, "dialog svg text")
    assert "KL [nats]" in labels and "step" in labels and "½ squared error, summed over pixels" in labels
    assert "peak signal-to-noise ratio" in run.text and "latent" in run.text
    one(page, "dialog button.close").click()
    assert not page.find_elements(By.CSS_SELECTOR, "dialog[open]")


def test_an_unreadable_run_says_why_and_has_no_empty_table(page: webdriver.Chrome) -> None:
    run = open_run(page, "bad")
    assert "? unreadable: unknown setting 'betta'" in run.text and "/bad/images" in run.text
    assert texts(page, "dialog caption") == ["Score"]


def test_runs_whose_files_do_not_fit_are_named_and_leave_the_page_whole(
    browser: webdriver.Chrome, tmp_path: Path
) -> None:
    root = make_study(tmp_path / "runs")
    log = root / "alone" / "metrics.csv"
    log.write_text(log.read_text().replace("loss_encoder", "loss_decoder"))
    for number, measures in enumerate(({"kl_per_dimension": "x"}, {"power_spectrum_real": "x"})):
        scores = {"state": "complete", "score": 0.5, "measures": measures}
        write_scores(root / "study" / f"trial-00{number}", scores)
    (root / "report.html").write_text(page_html(read_runs(root), "faces"), encoding="utf-8")
    page = opened(browser, root / "report.html")
    assert len(names(page)) == 7 and names(page)[0] == "study/trial-002"
    for name, reason in (
        ("alone", "it has no column loss_encoder"),
        ("study/trial-000", "measures.kl_per_dimension is 'x'; it takes a list of numbers"),
        ("study/trial-001", "measures.power_spectrum_real is 'x'; it takes a list of numbers"),
    ):
        run = open_run(page, name)
        assert "? unreadable: cannot read" in run.text and reason in run.text
        one(page, "dialog button.close").click()
    assert page.get_log("browser") == []


def test_a_single_run_has_a_page(browser: webdriver.Chrome, tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "alone")
    path = tmp_path / "report.html"
    path.write_text(page_html(read_runs(tmp_path / "runs"), "one"), encoding="utf-8")
    page = opened(browser, path, "#run=alone")
    text = dialog(page).text
    assert "Side by side" not in text and "null" not in text and page.get_log("browser") == []


def test_a_point_of_the_map_leads_to_its_run(page: webdriver.Chrome) -> None:
    point = one(page, ".chart.map svg a")
    page.execute_script("arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}))", point)
    dialog(page)
    assert quote(one(page, "#run-title").text, safe="") == (point.get_dom_attribute("href") or "").removeprefix("#run=")


def test_it_compares_two_runs(page: webdriver.Chrome) -> None:
    Select(one(page, "#compare-a")).select_by_value("study/trial-000")
    Select(one(page, "#compare-b")).select_by_value("study/trial-001")
    WebDriverWait(page, 20).until(lambda b: "study/trial-001" in texts(b, "#compare thead th"))
    captions = texts(page, "#compare figcaption")
    kinds = [(kind, f"study/trial-00{index}") for kind in ("Reconstructions", "Samples") for index in (0, 1)]
    assert captions == ["Originals of both", *(f"{kind}: {name}" for kind, name in kinds)]
    assert ["validation", "0.500", "0.750"] in [row.split() for row in texts(page, "#compare tbody tr")]
    assert "All settings are the same" in one(page, "#compare").text


def test_an_address_leads_to_a_run_and_to_a_comparison(browser: webdriver.Chrome, report: Path) -> None:
    page = opened(browser, report, f"#run={quote('study/trial-001', safe='')}")
    assert one(page, "#run-title").text == "study/trial-001"
    page = opened(browser, report, f"#compare={quote(NASTY, safe='')},alone")
    assert texts(page, "#compare thead th") == [NASTY, "alone"]


def test_curves_of_the_ticked_runs_are_drawn(page: webdriver.Chrome) -> None:
    ticked = texts(page, "#chosen li")
    assert len(ticked) == 3 and len(page.find_elements(By.CSS_SELECTOR, "#curve-charts svg")) == 6
    for box in page.find_elements(By.CSS_SELECTOR, "#table input:checked")[1:]:
        box.click()
    assert texts(page, "#chosen li") == ticked[:1]
    one(page, "#table input:checked").click()
    assert "No run is chosen" in one(page, "#curve-charts").text


@pytest.mark.parametrize("fragment", ["", "#run=alone"])
def test_a_phone_shows_it_without_scrolling_sideways(browser: webdriver.Chrome, report: Path, fragment: str) -> None:
    page = opened(browser, report, fragment, width=400)
    wide = "const e = document.scrollingElement; return e.scrollWidth - e.clientWidth"
    assert page.execute_script(wide) <= 0
    if fragment:
        assert (
            page.execute_script("const d = document.querySelector('dialog'); return d.scrollWidth - d.clientWidth") <= 0
        )


def test_names_are_shown_as_they_are(page: webdriver.Chrome) -> None:
    assert NASTY in names(page)
    open_run(page, NASTY)
    assert one(page, "#run-title").text == NASTY
    assert not page.find_elements(By.CSS_SELECTOR, "img[src='x']") and page.get_log("browser") == []
