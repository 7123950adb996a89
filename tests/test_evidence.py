"""The numbers that README and docs show are those of the records that lie beside them."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from genvision.evaluation.leaderboard import build
from genvision.evaluation.numbers import MISSING, written
from genvision.evaluation.record import read_record
from genvision.evaluation.report import sample_seconds

ROOT = Path(__file__).parents[1]
BOARD = ROOT / "samples" / "leaderboard"
FAMILIES, BACKBONES = ("vae", "autoregressive", "diffusion"), ("convnet", "vit", "mixer")
RECORDS = {(f, b): read_record(BOARD / f"{f}-{b}" / "result.json") for f in FAMILIES for b in BACKBONES}


def readme_row(record):
    metrics, bits = record["metrics"], record["bits_per_dim"]
    cells = [record["family"], record["backbone"]]
    cells += [written("count", record[name]) for name in ("parameters", "macs_per_image")]
    cells += [f"{record['images_seen']:,}", f"{record['train_seconds']:.0f}", f"{metrics['frechet']['value']:.1f}"]
    cells += [f"{metrics['precision']['value']:.2f} / {metrics['recall']['value']:.2f}"]
    cells += [f"{bits['value']:.3f} ({bits['kind']})" if bits else MISSING, f"{sample_seconds(record):,.0f}"]
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("cell", RECORDS, ids="-".join)
def test_the_readme_shows_the_record_of_each_cell(cell):
    assert readme_row(RECORDS[cell]) in (ROOT / "README.md").read_text().splitlines()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_cells_of_a_family_had_one_budget(family):
    cells = [RECORDS[family, backbone] for backbone in BACKBONES]
    parameters = [cell["parameters"] for cell in cells]
    assert len({cell["images_seen"] for cell in cells}) == 1
    assert len({cell["protocol_hash"] for cell in cells}) == 1
    assert len({cell["git"]["commit"] for cell in RECORDS.values()}) == 1 and not cells[0]["git"]["dirty"]
    assert max(parameters) <= 1.1 * min(parameters) and min(parameters) >= 1e6 and max(parameters) <= 2e6


def test_the_leaderboard_is_what_its_records_make(tmp_path):
    build(BOARD, tmp_path)
    for name in ("leaderboard.md", "leaderboard.csv"):
        assert (tmp_path / name).read_text() == (BOARD / name).read_text()


def test_the_page_of_options_is_what_its_records_make():
    made = runpy.run_path(str(ROOT / "samples" / "options" / "make.py"))
    assert made["page"]() == made["PAGE"].read_text()
    assert sum(len(option.backbones) for option in made["OPTIONS"] if not option.unscored) <= 24


def test_the_pictures_of_the_gallery_are_there():
    shown = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (ROOT / "samples" / "README.md").read_text())
    assert shown and all((ROOT / "samples" / name).is_file() for name in shown)


def test_the_page_of_speeds_is_what_the_benchmarks_left():
    made = runpy.run_path(str(ROOT / "scripts" / "make_speed_page.py"))
    assert made["page"]() == made["PAGE"].read_text()


def test_the_speeds_in_the_readme_are_rows_of_that_page():
    lines = (ROOT / "README.md").read_text().split("## Speed")[1].split("\n## ")[0].splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert len(rows) > 2 and set(rows) <= set((ROOT / "docs" / "SPEED.md").read_text().splitlines())
