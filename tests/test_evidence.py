"""The numbers that README and docs show are those of the records that lie beside them."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from statistics import fmean

import pytest

from genvision.evaluation.columns import sample_seconds
from genvision.evaluation.leaderboard import build
from genvision.evaluation.numbers import MISSING, written
from genvision.evaluation.record import read_record
from genvision.evaluation.seeds import over_training_seeds

ROOT = Path(__file__).parents[1]
BOARD = ROOT / "samples" / "leaderboard"
FAMILIES, BACKBONES, SEEDS = ("vae", "autoregressive", "diffusion"), ("convnet", "vit", "mixer"), (0, 1, 2)
RECORDS = {
    (f, b): [read_record(BOARD / f"{f}-{b}-seed{seed}" / "result.json") for seed in SEEDS]
    for f in FAMILIES
    for b in BACKBONES
}


def readme_row(records):
    (cell,) = over_training_seeds(records)
    distance, bits = cell["frechet"], cell["bits_per_dim"]
    low, high = distance["interval"]
    precision, recall = (fmean(r["metrics"][key]["value"] for r in records) for key in ("precision", "recall"))
    cells = [cell["family"], cell["backbone"]]
    cells += [written("count", cell[name]) for name in ("parameters", "macs_per_image")]
    cells += [f"{cell['images_seen']:,}", f"{cell['train_seconds']['mean']:.0f}"]
    cells += [f"{distance['mean']:.1f} ({low:.1f} to {high:.1f})", f"{precision:.2f} / {recall:.2f}"]
    cells += [f"{bits['mean']:.3f} ({records[0]['bits_per_dim']['kind']})" if bits else MISSING]
    return f"| {' | '.join([*cells, f'{fmean(map(sample_seconds, records)):,.0f}'])} |"


@pytest.mark.parametrize("cell", RECORDS, ids="-".join)
def test_the_readme_shows_the_records_of_each_cell(cell):
    assert readme_row(RECORDS[cell]) in (ROOT / "README.md").read_text().splitlines()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_cells_of_a_family_had_one_budget(family):
    records = [record for backbone in BACKBONES for record in RECORDS[family, backbone]]
    parameters = [record["parameters"] for record in records]
    assert len({record["images_seen"] for record in records}) == 1
    assert len({record["protocol_hash"] for record in records}) == 1
    assert {record["seed"] for record in records} == set(SEEDS)
    assert len({r["git"]["commit"] for each in RECORDS.values() for r in each}) == 1 and not records[0]["git"]["dirty"]
    assert max(parameters) <= 1.02 * min(parameters)


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


@pytest.mark.parametrize("cell", ["diffusion-convnet", "autoregressive-convnet", "vae-mixer"])
def test_the_best_cells_at_ten_thousand_images_are_those_of_the_readme(cell):
    told = json.loads((BOARD / "ten_thousand" / f"{cell}-seed0.json").read_text())
    found = told["metrics"]["frechet"]
    assert told["protocol"]["num_images"] == told["protocol"]["reference"]["num_images"] == 10_000
    low, high = found["interval"]
    text = " ".join((ROOT / "README.md").read_text().split())
    assert f"{found['value']:.1f} ({low:.1f} to {high:.1f}" in text
