"""Photograph the report for docs/LEADERBOARD.md, in headless Chromium (Debian: chromium, chromium-driver).

python scripts/make_screenshots.py
"""

from __future__ import annotations

import io
import shutil
import time
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "samples" / "leaderboard" / "index.html"
OUT = ROOT / "docs" / "leaderboard"
COLORS = 224  # enough for type, lines and gray images; half of the bytes
MAX_BYTES = 200_000

DESKTOP = {"width": 1400, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
BEST = """
const score = (row) => Number(row.querySelector(".score").dataset.sort);
const rows = [...document.querySelectorAll("tr[id]")].filter((row) => row.querySelector(".score"));
rows.sort((one, two) => score(one) - score(two))[0].querySelector(".cell a").click();
"""
SHOTS: dict[str, tuple[dict[str, Any], str, str]] = {  # name -> screen, colors, what is done first
    "light": (DESKTOP, "light", ""),
    "dark": (DESKTOP, "dark", "document.querySelector('.plots figure').scrollIntoView({block: 'center'})"),
    "phone": (PHONE, "light", "document.querySelector('.tools').scrollIntoView()"),
    "run": (DESKTOP, "light", BEST),
}


def main() -> None:
    OUT.mkdir(exist_ok=True)
    browser = started()
    try:
        for name, (screen, scheme, first) in SHOTS.items():
            size = photograph(browser, OUT / f"{name}.png", screen, scheme, first)
            print(f"{OUT.relative_to(ROOT)}/{name}.png  {size:,} bytes")
    finally:
        browser.quit()


def started() -> webdriver.Chrome:
    """Chromium and its driver as the system has them."""
    tools = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in tools:
        raise SystemExit("chromium and chromedriver are not installed: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(tools[0])
    for argument in ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    return webdriver.Chrome(options, webdriver.ChromeService(str(tools[1])))


def photograph(browser: webdriver.Chrome, path: Path, screen: dict[str, Any], scheme: str, first: str) -> int:
    """One picture of the page in few colors; returns its bytes."""
    browser.get("about:blank")
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    browser.get(PAGE.as_uri())
    browser.execute_script(first)
    time.sleep(0.5)  # pictures below the first screen are decoded when they come into sight
    shot = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    shot.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise SystemExit(f"{path}: {size:,} bytes are more than {MAX_BYTES:,}")
    return size


if __name__ == "__main__":
    main()
