"""The report as a person uses it, in headless Chromium: sorting, filtering, opening, by mouse and keys."""

from __future__ import annotations

import pytest
from browsing import SCORES, browser, driver, needs_browser, page  # noqa: F401
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = needs_browser


def names(browser):
    """The three runs as the ranked table shows them, from top to bottom."""
    found = browser.find_elements(By.CSS_SELECTOR, "tr[id] .cell code")
    return [element.text for element in found if element.is_displayed() and element.text in SCORES]


def heading(browser, text):
    def shown(_):  # on a busy machine the page may still be laid out
        found = browser.find_elements(By.CSS_SELECTOR, "tr:has(.rank) th button, table:has(.rank) th button")
        return next((button for button in found if text in button.text), None)

    return WebDriverWait(browser, 20).until(shown)


def focused(browser):
    return browser.switch_to.active_element


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
    box, count = (browser.find_element(By.ID, name) for name in ("filter", "count"))
    box.send_keys("diffusion toys MIDDLE")
    assert names(browser) == ["middle"] and count.text == "1 of 6 runs"
    box.send_keys(" nowhere")
    assert count.text == "0 of 6 runs"
    assert not any(part.is_displayed() for part in browser.find_elements(By.CSS_SELECTOR, "h2, h3, table, figure"))
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys(Keys.DELETE)
    assert names(browser) == ["low", "middle", "high"] and count.text == "6 of 6 runs"


def test_a_run_opens_as_a_page_of_its_own_and_leads_back_to_its_row(browser):
    browser.find_element(By.LINK_TEXT, "middle").click()
    run = browser.find_element(By.CSS_SELECTOR, ".run:target")
    assert run.find_element(By.TAG_NAME, "h2").text == "middle"
    assert not browser.find_element(By.ID, "board").is_displayed()
    assert len([each for each in browser.find_elements(By.CSS_SELECTOR, ".run") if each.is_displayed()]) == 1
    grid = run.find_element(By.CSS_SELECTOR, "img.grid")
    assert grid.is_displayed() and grid.get_property("naturalWidth") == 600
    points = run.find_element(By.CSS_SELECTOR, "polyline").get_attribute("points").split()
    heights = [float(point.split(",")[1]) for point in points]
    assert len(points) == 19 and heights == sorted(heights)  # a falling loss falls: y grows downwards
    assert "genvision train middle" in run.text and "genvision leaderboard reproduce middle" in run.text
    config = run.find_element(By.TAG_NAME, "details")
    config.find_element(By.TAG_NAME, "summary").click()
    assert "backbone: middle" in config.text
    run.find_element(By.LINK_TEXT, "next run").click()
    assert browser.find_element(By.CSS_SELECTOR, ".run:target h2").text == "high"
    browser.find_element(By.CSS_SELECTOR, ".run:target").find_element(By.LINK_TEXT, "← leaderboard").click()
    assert browser.find_element(By.CSS_SELECTOR, "tr:target code").text == "high"
    assert browser.find_element(By.ID, "board").is_displayed()


def test_a_run_that_failed_says_why(browser):
    browser.find_element(By.LINK_TEXT, "broken").click()
    assert "out of luck" in browser.find_element(By.CSS_SELECTOR, ".run:target").text


def test_a_thumbnail_opens_to_the_full_grid_and_arrows_lead_to_the_others(browser):
    links = browser.find_elements(By.CSS_SELECTOR, ".pic a")
    dialog = browser.find_element(By.TAG_NAME, "dialog")
    assert not dialog.is_displayed() and links[0].find_element(By.TAG_NAME, "img").get_property("naturalWidth") == 280
    links[1].send_keys(Keys.ENTER)
    shown = dialog.find_element(By.TAG_NAME, "img")
    assert dialog.is_displayed() and dialog.find_element(By.TAG_NAME, "span").text == "middle"
    assert shown.get_property("naturalWidth") == 600 and shown.size["width"] > 600
    for key, name in ((Keys.ARROW_RIGHT, "high"), (Keys.ARROW_RIGHT, "low"), (Keys.ARROW_LEFT, "high")):
        focused(browser).send_keys(key)
        assert dialog.find_element(By.TAG_NAME, "span").text == name
    assert shown.get_attribute("src") == browser.find_element(By.CSS_SELECTOR, "#run-2 .grid").get_attribute("src")
    focused(browser).send_keys(Keys.ESCAPE)
    assert not dialog.is_displayed() and focused(browser) == links[1]
    links[0].click()
    dialog.find_element(By.XPATH, ".//button[text()='next']").click()
    assert dialog.find_element(By.TAG_NAME, "span").text == "middle"
    dialog.find_element(By.XPATH, ".//button[text()='close']").click()
    assert not dialog.is_displayed()


def test_everything_can_be_reached_by_the_tab_key(browser):
    browser.find_element(By.ID, "filter").send_keys("")
    seen = []
    for _ in range(40):
        focused(browser).send_keys(Keys.TAB)
        element = focused(browser)
        seen.append(element.get_attribute("hash") or element.text)
        outline = element.value_of_css_property("outline-style")
        assert outline == "solid", element.get_attribute("outerHTML")[:80]  # where the focus is can be seen
        if "Protocol" in element.text:
            break
    assert {"#run-0", "#run-1", "#run-2", "FD\nover features"} <= {*seen}
    focused(browser).send_keys(Keys.ENTER)
    assert '"num_images": 2000' in browser.find_element(By.CSS_SELECTOR, "details[open]").text


def test_without_scripts_a_thumbnail_leads_to_the_page_of_its_run(browser):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.refresh()
        browser.find_elements(By.CSS_SELECTOR, ".pic a")[1].click()
        run = browser.find_element(By.ID, "run-1")
        assert browser.current_url.endswith("#run-1") and run.value_of_css_property("display") == "block"
        assert browser.find_element(By.ID, "board").value_of_css_property("display") == "none"
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def figure(browser, title):
    found = browser.find_elements(By.CSS_SELECTOR, "#board figure")
    return next(each for each in found if title in each.text)


def test_plots_show_the_score_over_what_it_cost(browser):
    plot = figure(browser, "FD over multiply-adds per image")
    circles = plot.find_elements(By.TAG_NAME, "circle")[:3]
    across = [float(circle.get_attribute("cx")) for circle in circles]
    down = [float(circle.get_attribute("cy")) for circle in circles]
    assert across == sorted(across) and across[1] - across[0] == pytest.approx(across[2] - across[1], abs=0.2)
    assert down == sorted(down, reverse=True)
    assert len(plot.find_elements(By.CSS_SELECTOR, ".features")) == 3
    plot.find_elements(By.TAG_NAME, "a")[1].click()
    assert browser.find_element(By.CSS_SELECTOR, ".run:target h2").text == "middle"


def test_a_line_leads_through_the_scores_on_the_way(browser):
    plot = figure(browser, "FD over images seen in training")
    for name, value in SCORES.items():
        line = next(line for line in plot.find_elements(By.TAG_NAME, "polyline") if title(line) == name)
        (_, early), (_, late) = (map(float, point.split(",")) for point in line.get_attribute("points").split())
        zero = 186  # the bottom of the plot: half of the distance there means twice the score
        assert (zero - early) / (zero - late) == pytest.approx(2, abs=0.05), (name, value)


def title(element):
    return element.find_element(By.TAG_NAME, "title").get_attribute("textContent")


def test_bits_per_dim_have_their_curves(browser):
    plot = figure(browser, "training loss, bits/dim, over images seen")
    assert sorted({title(line) for line in plot.find_elements(By.TAG_NAME, "polyline")}) == sorted(
        [*SCORES, "high-1", "high-2"][:3]
    )


def test_three_uncertainties_stand_apart_under_their_names(browser):
    bars = browser.find_element(By.CSS_SELECTOR, "svg.lanes")
    lanes = {lane.text: lane for lane in bars.find_elements(By.CSS_SELECTOR, ".lane")}
    assert list(lanes) == [
        "low, seed 0",
        "middle, seed 0",
        "high, 3 training seeds",
        "high, seed 0",
        "high, seed 1",
        "high, seed 2",
    ]

    def ends(lane, kind):
        (line,) = lanes[lane].find_elements(By.CSS_SELECTOR, f".{kind}")
        return [float(line.get_attribute(x)) for x in ("x1", "x2")]

    ticks = [
        (float(text.get_attribute("x")), float(text.text))
        for text in bars.find_elements(By.XPATH, "./*[name()='text']")
    ]
    (x0, v0), *_, (x1, v1) = ticks

    def value(x):
        return v0 + (x - x0) / (x1 - x0) * (v1 - v0)

    assert [value(x) for x in ends("high, seed 0", "features")] == pytest.approx([108, 132], abs=0.5)
    assert [value(x) for x in ends("high, seed 0", "sampling")] == pytest.approx([118.52, 123.48], abs=0.5)
    assert [value(x) for x in ends("high, 3 training seeds", "training")] == pytest.approx([105.16, 154.84], abs=0.5)
    assert not lanes["high, seed 1"].find_elements(By.CSS_SELECTOR, ".features, .sampling, .training")
    text = browser.find_element(By.ID, "board").text
    assert all(f"over {what}: " in text for what in ("features", "sampling seeds", "training seeds"))
    assert "118.52 to 123.48, 3 sampling seeds" in text and "105.16 to 154.84" in text
