"""The report can be read on a phone, in the dark and in any window, and a stranger's text is text to a browser too."""

from __future__ import annotations

import pytest
from browsing import browser, driver, needs_browser, page  # noqa: F401
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from test_leaderboard_page import PAYLOADS, lay

from genvision.evaluation.leaderboard import build

pytestmark = needs_browser
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}

CONTRASTS = """
const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = (color) => {
  const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map(channel);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (e) => {
  const color = getComputedStyle(e).backgroundColor;
  return /, 0\\)$/.test(color) ? behind(e.parentElement) : color;
};
const found = [];
for (const e of document.querySelectorAll("body *:not(script, style)")) {
  const own = [...e.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!own || !e.checkVisibility() || e.closest("dialog, title")) continue;
  const style = getComputedStyle(e);
  const [a, b] = [light(e instanceof SVGElement ? style.fill : style.color), light(behind(e))].sort((x, y) => y - x);
  found.push([(a + 0.05) / (b + 0.05), e.outerHTML.slice(0, 90)]);
}
return found;
"""


@pytest.mark.parametrize("fragment", ["", "#run-1"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_on_a_phone_and_in_the_dark(browser, page, scheme, fragment):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    try:
        browser.get(page + fragment)
        behind = browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
        assert (int(behind.split("(")[1].split(",")[0]) < 128) is (scheme == "dark")
        found = browser.execute_script(CONTRASTS)
        assert len(found) > 30 and min(found)[0] >= 4.5, min(found)  # WCAG 2.2, 1.4.3
        width, wide = browser.execute_script("return [innerWidth, document.documentElement.scrollWidth]")
        assert width == wide == 390  # tables scroll inside their cards, the page itself does not
        if not fragment:
            score = browser.find_element(By.CSS_SELECTOR, "tr[id] .score b").rect
            assert score["x"] + score["width"] <= 390  # what the page is about is in sight
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_no_window_is_too_narrow_for_the_page(browser):
    for width in (320, 700, 730, 1000, 1370, 1500):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


ELEMENTS = "return [...document.querySelectorAll('*')].map((e) => e.localName).sort()"
HANDLERS = (
    "return [...document.querySelectorAll('*')].flatMap((e) => e.getAttributeNames()).filter((n) => /^on/.test(n))"
)


def test_a_browser_reads_no_markup_in_any_payload_either(driver, tmp_path):
    """Its parser and its policy are those that count; a dialog, a request or an element too many would show here."""
    elements = {}
    for name, texts in {"plain": [f"plain{k:02d}" for k in range(len(PAYLOADS))], "hostile": PAYLOADS}.items():
        for k, text in enumerate(texts):
            lay(tmp_path / name, text, prefix=f"{k:02d}")
        driver.get(build(tmp_path / name, tmp_path / f"out-{name}").as_uri())
        WebDriverWait(driver, 60).until(lambda page: page.execute_script("return document.readyState") == "complete")
        elements[name] = driver.execute_script(ELEMENTS)
        assert driver.execute_script(HANDLERS) == []
        assert driver.execute_script("return performance.getEntriesByType('resource').length") == 0
        assert driver.get_log("browser") == []
    assert elements["hostile"] == elements["plain"] and len(elements["plain"]) > 3000
