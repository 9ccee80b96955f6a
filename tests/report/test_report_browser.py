"""The page in a real browser, from a file, with every request recorded."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robustseg.report.compare import compare
from robustseg.report.page import report

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM.exists():
        reason = "no /usr/bin/chromium; install the Debian package chromium to open the report in a browser"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def show(browser):
    """Opens a file at a width; the page's requests and complaints are checked when the test is over."""
    contexts, requests, complaints = [], [], []

    def visit(path: Path, width: int = 1280, scheme: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = context.new_page()
        page.on("request", lambda r: requests.append(r.url))
        page.on("console", lambda m: complaints.append(m.text))
        page.on("pageerror", lambda e: complaints.append(str(e)))
        page.goto(path.resolve().as_uri())
        contexts.append(context)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert [r for r in requests if not r.startswith(("file://", "data:"))] == []
    assert sum(r.startswith("file://") for r in requests) == len(contexts)
    assert complaints == []


@pytest.fixture(scope="module")
def page_path(finished: Path) -> Path:
    return report(finished)


def colours(shot: bytes) -> int:
    return len(Image.open(io.BytesIO(shot)).convert("RGB").getcolors(1 << 24) or ())


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1280, "light")])
def test_page_fits_and_is_not_blank(show, page_path: Path, width: int, scheme: str):
    page = show(page_path, width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert colours(page.screenshot(full_page=True)) > 200
    broken = "[...document.images].filter(i => i.offsetParent && !(i.complete && i.naturalWidth)).length"
    page.wait_for_function(f"{broken} === 0")
    assert page.evaluate("document.images.length") > 10


def test_slider_uncovers_the_attacked_picture(show, page_path: Path):
    page = show(page_path)
    frame = page.locator(".compare .frame").nth(1)
    frame.scroll_into_view_if_needed()
    slider = frame.locator("input")
    shots = {}
    for value in ("0", "100"):
        slider.fill(value)
        shots[value] = np.asarray(Image.open(io.BytesIO(frame.screenshot())).convert("RGB")).astype(int)
    assert (abs(shots["0"] - shots["100"]).sum(-1) > 60).mean() > 0.2


def test_slider_and_attacks_answer_the_keyboard(show, page_path: Path):
    page = show(page_path)
    slider = page.locator("input.wipe").first
    slider.focus()
    before = slider.evaluate("e => getComputedStyle(e.closest('.compare')).getPropertyValue('--at')")
    page.keyboard.press("ArrowRight")
    assert slider.input_value() == "51"
    assert before == "50%"
    assert slider.evaluate("e => getComputedStyle(e.closest('.compare')).getPropertyValue('--at')") == "51%"
    card = page.locator(".card").first
    said = card.locator(".scores").inner_text()
    card.locator("input[type=radio]").first.focus()
    page.keyboard.press("ArrowRight")
    assert card.locator(".scores").inner_text() != said
    assert card.locator(".after:visible").count() == 2


def test_every_picture_has_a_text_and_every_control_a_name(show, page_path: Path):
    page = show(page_path)
    assert page.evaluate("[...document.images].every(i => i.alt.length > 5)")
    assert page.evaluate("[...document.querySelectorAll('input.wipe, svg.chart, .scroll')].every(e => e.ariaLabel)")
    assert page.evaluate("document.querySelectorAll('h1').length") == 1


def test_print_shows_both_sides_and_the_folded_tables(show, page_path: Path):
    page = show(page_path)
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.querySelector('.after.only1')).clipPath") == "none"
    assert not page.locator("input.wipe").first.is_visible()
    assert not page.locator("nav").is_visible()
    assert page.locator("table.heat").is_visible()
    assert page.locator("table.settings").is_visible()
    assert page.pdf(prefer_css_page_size=True)[:4] == b"%PDF"


def test_comparison_opens(show, finished: Path, tmp_path: Path):
    page = show(compare([finished, finished], tmp_path), 390)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator("svg.chart").count() >= 3
