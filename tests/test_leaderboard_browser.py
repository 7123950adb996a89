"""The report as a person uses it, in headless Chromium: sorting, filtering, opening a run, by mouse and by keyboard."""

from __future__ import annotations

import json
import shutil

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from test_evaluation_record import PROTOCOL, make
from test_leaderboard import save
from test_leaderboard_page import picture

from genvision.evaluation.leaderboard import build

TOOLS = [shutil.which(name) for name in ("chromium", "chromedriver")]
pytestmark = pytest.mark.skipif(None in TOOLS, reason="chromium and chromedriver are not installed")
SCORES = {"low": 9.5, "middle": 80.25, "high": 1200.0}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Three ranked runs, whose parameters fall as their distances rise, and one that failed."""
    runs = tmp_path_factory.mktemp("report") / "runs"
    for k, (name, value) in enumerate(SCORES.items()):
        metrics = {"frechet": {"name": "FD", "value": value, "interval": [0.9 * value, 1.1 * value]}}
        costs = {"parameters": 1000 - k, "macs_per_image": 10**k} | ({"train_seconds": 9.0 + k} if k else {})
        save(runs, make(run=name, metrics=metrics, protocol=PROTOCOL, grid="grid.png", **costs))
        picture(runs / name)
        lines = [json.dumps({"step": step, "loss": 1 / step}) for step in range(1, 20)]
        (runs / name / "metrics.jsonl").write_text("\n".join([*lines, "damaged"]))
    save(runs, make(run="broken", status="failed", reason="out of luck"))
    return build(runs, runs / "leaderboard").as_uri()


@pytest.fixture
def browser(page):
    options = webdriver.ChromeOptions()
    options.binary_location = TOOLS[0]
    for argument in ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,1200"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(TOOLS[1]))
    driver.get(page)
    yield driver
    assert driver.get_log("browser") == []  # no error, and nothing that the page's own policy had to stop
    driver.quit()


def names(browser):
    """The runs of the first table, from top to bottom, that are shown."""
    found = browser.find_elements(By.CSS_SELECTOR, "table:first-of-type .cell code")
    return [element.text for element in found if element.is_displayed() and element.text in SCORES]


def heading(browser, text):
    return next(button for button in browser.find_elements(By.CSS_SELECTOR, "th button") if text in button.text)


def test_a_heading_sorts_by_number_and_again_the_other_way_round(browser):
    assert names(browser) == ["low", "middle", "high"]
    heading(browser, "parameters").click()
    assert names(browser) == ["high", "middle", "low"]
    distance = heading(browser, "FD")
    distance.click()
    assert names(browser) == ["low", "middle", "high"]
    distance.send_keys(Keys.ENTER)
    assert names(browser) == ["high", "middle", "low"]
    assert distance.find_element(By.XPATH, "..").get_attribute("aria-sort") == "descending"


def test_a_missing_number_comes_last_either_way(browser):
    seconds = heading(browser, "training")
    seconds.click()
    assert names(browser) == ["middle", "high", "low"]
    seconds.click()
    assert names(browser) == ["high", "middle", "low"]


def test_the_filter_keeps_rows_that_hold_every_word(browser):
    box = browser.find_element(By.ID, "filter")
    box.send_keys("vit MIDDLE")
    assert names(browser) == ["middle"]
    assert [run.is_displayed() for run in browser.find_elements(By.CSS_SELECTOR, ".run")] == [False, True, False, False]
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys(Keys.DELETE)
    assert names(browser) == ["low", "middle", "high"]


def test_a_run_opens_with_its_curve_and_a_failed_one_with_its_reason(browser):
    browser.find_element(By.LINK_TEXT, "middle").click()
    run = browser.find_element(By.CSS_SELECTOR, ".run:target")
    assert run.text.startswith("middle") and run.find_element(By.TAG_NAME, "img").is_displayed()
    points = run.find_element(By.TAG_NAME, "polyline").get_attribute("points").split()
    heights = [float(point.split(",")[1]) for point in points]
    assert len(points) == 19 and heights == sorted(heights)  # a falling loss falls: y grows downwards
    assert "out of luck" in browser.find_element(By.TAG_NAME, "body").text


def test_plots_show_the_score_over_what_it_cost(browser):
    figure = browser.find_element(By.CSS_SELECTOR, ".plots figure")
    assert figure.text.endswith("FD over multiply-adds per image")
    circles = figure.find_elements(By.TAG_NAME, "circle")
    across = [float(circle.get_attribute("cx")) for circle in circles]
    down = [float(circle.get_attribute("cy")) for circle in circles]
    assert across == sorted(across) and across[1] - across[0] == pytest.approx(across[2] - across[1], abs=0.2)
    assert down == sorted(down, reverse=True)
    bars = [line for line in figure.find_elements(By.CSS_SELECTOR, ".mark line")]
    assert len(bars) == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_on_a_phone_and_in_the_dark(browser, scheme):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    look = browser.execute_script("const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]")
    ink, paper = (sum(map(int, color[4:-1].split(","))) for color in look)
    assert (ink < paper) == (scheme == "light") and abs(ink - paper) > 300
