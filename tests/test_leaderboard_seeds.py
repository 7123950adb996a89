"""What training again would change: rows that differ in their training seed alone, summed up."""

from __future__ import annotations

import math

import pytest
from scipy import stats
from test_evaluation_record import scored
from test_leaderboard import board, save

from genvision.evaluation.seeds import over_seeds, spread

BITS = {"kind": "bound", "split": "test", "num_images": 4, "standard_error": 0.1}


def trained(value, seed, **fields):
    return scored(value, run=f"{fields.get('backbone', 'convnet')}-{seed}", seed=seed, **fields)


def test_the_interval_is_students():
    values = [3.0, 5.0, 10.0]
    found = spread(values)
    assert found["mean"] == 6.0 and (found["least"], found["most"]) == (3.0, 10.0)
    low, high = stats.t.interval(0.95, df=2, loc=6.0, scale=stats.sem(values))
    assert found["interval"] == pytest.approx([low, high], rel=1e-12)
    assert found["interval"][1] - 6.0 == pytest.approx(4.302652729911275 * math.sqrt(13 / 3), rel=1e-9)


def test_cells_with_several_seeds_are_summed_up_best_first():
    rows = [trained(value, seed, backbone="vit") for seed, value in enumerate((60.0, 64.0))]
    rows += [trained(value, seed, backbone="convnet") for seed, value in enumerate((50.0, 55.0, 54.0))]
    rows += [trained(9.0, 0, backbone="mixer")]
    first, second = over_seeds(rows)
    assert (first["backbone"], first["seeds"], first["frechet"]["mean"]) == ("convnet", [0, 1, 2], 53.0)
    assert (second["backbone"], second["seeds"], second["frechet"]["mean"]) == ("vit", [0, 1], 62.0)


@pytest.mark.parametrize("field", ["images_seen", "learning_rate", "size", "parameters", "data_fraction", "precision"])
def test_runs_that_differ_in_more_than_the_seed_are_no_cell(field):
    one, two = trained(50.0, 0), trained(51.0, 1)
    assert len(over_seeds([one, two])) == 1
    assert over_seeds([one, two | {field: "another"}]) == []


def test_the_same_seed_twice_says_nothing_of_seeds():
    assert over_seeds([trained(50.0, 0), trained(51.0, 0)]) == []
    assert over_seeds([trained(50.0, 0) | {"seed": None}, trained(51.0, 1)]) == []


def test_a_number_that_one_run_lacks_is_left_out():
    bits = [BITS | {"value": 3.0}, BITS | {"value": 3.5}]
    (cell,) = over_seeds([trained(50.0, seed, bits_per_dim=value) for seed, value in enumerate(bits)])
    assert cell["bits_per_dim"]["mean"] == 3.25
    (cell,) = over_seeds([trained(50.0, seed, bits_per_dim=value) for seed, value in enumerate([*bits, None])])
    assert cell["bits_per_dim"] is None


def test_every_form_of_the_leaderboard_shows_them(tmp_path):
    save(tmp_path / "runs", *(trained(value, seed) for seed, value in enumerate((50.0, 55.0, 54.0))))
    (ranking,) = board(tmp_path)["rankings"]
    assert [row["rank"] for row in ranking["rows"]] == [1, 2, 3]
    assert ranking["seeds"] == over_seeds(ranking["rows"])
    text = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "### Over training seeds" in text and "| 3 | 53.00 | 46.43 | 59.57 | 50.00 | 55.00 |" in text
    page = (tmp_path / "out" / "index.html").read_text()
    assert '<table class="seeds">' in page and "53.00<small>46.43 to 59.57</small>" in page


def test_one_seed_makes_no_table(tmp_path):
    save(tmp_path / "runs", trained(50.0, 0))
    board(tmp_path)
    assert "training seeds" not in (tmp_path / "out" / "leaderboard.md").read_text()
    assert '<table class="seeds">' not in (tmp_path / "out" / "index.html").read_text()
