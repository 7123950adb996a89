"""The report in headless Chromium, for the tests that read and use it."""

from __future__ import annotations

import json
import shutil

import pytest
from selenium import webdriver
from test_evaluation_record import PROTOCOL, make
from test_leaderboard import save
from test_leaderboard_pictures import picture
from test_leaderboard_seeds import drawn_again, keep

from genvision.evaluation.leaderboard import build

TOOLS = [shutil.which(name) for name in ("chromium", "chromedriver")]
needs_browser = pytest.mark.skipif(None in TOOLS, reason="chromium and chromedriver are not installed")
SCORES = {"low": 9.5, "middle": 80.25, "high": 120.0}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Three ranked runs, whose parameters fall as their distances rise, two more seeds of one, and one that failed."""
    runs = tmp_path_factory.mktemp("report") / "runs"
    for k, (name, value) in enumerate(SCORES.items()):
        metrics = {"frechet": {"name": "FD", "value": value, "interval": [0.9 * value, 1.1 * value]}}
        bits = {"value": 3.0 + k, "kind": "bound", "split": "test", "num_images": 9, "standard_error": 0.1}
        costs = {"parameters": 1000 - k, "macs_per_image": 10**k} | ({"train_seconds": 9.0 + k} if k else {})
        facts = {"grid": "grid.png", "images_seen": 190, "bits_per_dim": bits, "command": f"genvision train {name}"}
        run = make(run=name, seed=0, metrics=metrics, protocol=PROTOCOL, backbone=name, **costs, **facts)
        save(runs, run)
        picture(runs / name, size=(600, 400))
        (runs / name / "config.yaml").write_text(f"backbone: {name}\n")
        lines = [{"step": step, "images_seen": 10 * step, "loss": 1 / step} for step in range(1, 20)]
        lines[9]["frechet"] = 2 * value
        (runs / name / "metrics.jsonl").write_text("\n".join([*map(json.dumps, lines), "damaged"]))
    for seed, value in ((1, 130.0), (2, 140.0)):
        again = run | {"run": f"high-{seed}", "seed": seed, "grid": None}
        save(runs, again | {"metrics": {"frechet": {"name": "FD", "value": value}}})
    keep(runs, *(drawn_again(run, value, seed=seed) for seed, value in ((7, 121.0), (8, 122.0))))
    save(runs, make(run="broken", status="failed", reason="out of luck"))
    return build(runs, runs / "leaderboard").as_uri()


@pytest.fixture(scope="module")
def driver():
    options = webdriver.ChromeOptions()
    options.binary_location = TOOLS[0]
    for argument in ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,1200"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(TOOLS[1]))
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver, page):
    driver.get("about:blank")  # or a fragment alone would not load the page again
    driver.get(page)
    yield driver
    assert driver.get_log("browser") == []  # no error, and nothing that the page's own policy had to stop
