"""What seeds change: rows that differ in their training seed alone, and draws that differ in their sampling seed."""

from __future__ import annotations

import csv
import json
import math

import pytest
from scipy import stats
from test_evaluation_record import PROTOCOL, scored
from test_leaderboard import board, save

from genvision.evaluation.protocol import protocol_hash
from genvision.evaluation.record import build_record, write_record
from genvision.evaluation.seeds import over_sampling_seeds, over_training_seeds, spread

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
    first, second = over_training_seeds(rows)
    assert (first["backbone"], first["seeds"], first["frechet"]["mean"]) == ("convnet", [0, 1, 2], 53.0)
    assert (second["backbone"], second["seeds"], second["frechet"]["mean"]) == ("vit", [0, 1], 62.0)


@pytest.mark.parametrize(
    "field", ["images_seen", "learning_rate", "size", "parameters", "data_fraction", "precision", "cell_hash"]
)
def test_runs_that_differ_in_more_than_the_seed_are_no_cell(field):
    one, two = trained(50.0, 0), trained(51.0, 1)
    assert len(over_training_seeds([one, two])) == 1
    assert over_training_seeds([one, two | {field: "another"}]) == []


def test_the_same_seed_twice_says_nothing_of_seeds():
    assert over_training_seeds([trained(50.0, 0), trained(51.0, 0)]) == []
    assert over_training_seeds([trained(50.0, 0) | {"seed": None}, trained(51.0, 1)]) == []


def test_a_number_that_one_run_lacks_is_left_out():
    bits = [BITS | {"value": 3.0}, BITS | {"value": 3.5}]
    (cell,) = over_training_seeds([trained(50.0, seed, bits_per_dim=value) for seed, value in enumerate(bits)])
    assert cell["bits_per_dim"]["mean"] == 3.25
    (cell,) = over_training_seeds([trained(50.0, seed, bits_per_dim=value) for seed, value in enumerate([*bits, None])])
    assert cell["bits_per_dim"] is None


def test_every_form_of_the_leaderboard_shows_them(tmp_path):
    save(tmp_path / "runs", *(trained(value, seed) for seed, value in enumerate((50.0, 55.0, 54.0))))
    (ranking,) = board(tmp_path)["rankings"]
    assert [row["rank"] for row in ranking["rows"]] == [1, 2, 3]
    assert ranking["over_training_seeds"] == over_training_seeds(ranking["rows"])
    text = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "| training seeds | FID | over training seeds | least to most |" in text
    assert "| 3 | 53.00 | 46.43 to 59.57 | 50.00 to 55.00 |" in text and "- over training seeds: Student" in text
    with (tmp_path / "out" / "leaderboard-seeds.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    ends = [row[f"Fréchet {end} over training seeds"] for end in ("mean", "low", "high", "least", "most")]
    assert (row["training seeds"], ends) == ("3", ["53.00", "46.43", "59.57", "50.00", "55.00"])
    assert row["protocol"] == ranking["protocol_hash"] and row["metric"] == "FID" and row["data"] == "toys"
    page = (tmp_path / "out" / "index.html").read_text()
    assert '<table class="sorts seeds"' in page and "53.00<small>46.43 to 59.57</small>" in page


def test_one_seed_makes_no_table(tmp_path):
    save(tmp_path / "runs", trained(50.0, 0))
    board(tmp_path)
    assert "training seeds" not in (tmp_path / "out" / "leaderboard.md").read_text()
    assert '<table class="sorts seeds"' not in (tmp_path / "out" / "index.html").read_text()
    assert (tmp_path / "out" / "leaderboard-seeds.csv").read_text().count("\n") == 1


def drawn_again(record, value, evaluations=50, **sampling):
    """A further score of a run's weights, as `leaderboard resample` keeps it."""
    fields = {name: part for name, part in record.items() if name not in ("schema", "protocol_hash")}
    metrics = {"frechet": {"name": "FID", "value": value}}
    protocol = PROTOCOL | {"sampling": PROTOCOL["sampling"] | sampling}
    return build_record(
        **fields | {"protocol": protocol, "metrics": metrics, "network_evaluations_per_image": evaluations}
    )


def keep(runs, *draws):
    for draw in draws:
        write_record(draw, runs / draw["run"] / "scores" / f"{draw['protocol_hash']}.json")


def test_a_run_drawn_with_several_sampling_seeds_says_so_in_every_form(tmp_path):
    run, other = trained(50.0, 0, network_evaluations_per_image=50), trained(70.0, 1, backbone="mixer")
    save(tmp_path / "runs", run, other)
    keep(tmp_path / "runs", *(drawn_again(run, value, seed=seed) for seed, value in ((7, 51.0), (3, 52.0))))
    keep(tmp_path / "runs", drawn_again(run, 99.0, evaluations=5, steps=5))  # another sampler says nothing of seeds
    (ranking,) = board(tmp_path)["rankings"]
    first, second = ranking["rows"]
    assert first["metrics"]["frechet"]["value"] == 50.0 and second["over_sampling_seeds"] is None  # the rank's own draw
    assert first["over_sampling_seeds"] == {"seeds": [0, 3, 7], "frechet": spread([50.0, 51.0, 52.0])}
    low, high = stats.t.interval(0.95, df=2, loc=51.0, scale=stats.sem([50.0, 51.0, 52.0]))
    text = (tmp_path / "out" / "leaderboard.md").read_text()
    assert (
        f"| 50.00 | 3 | {low:.2f} to {high:.2f} |" in text and "| FID | sampling seeds | over sampling seeds |" in text
    )
    assert "over features" not in text and "over training seeds" not in text
    with (tmp_path / "out" / "leaderboard.csv").open(newline="") as file:
        row, without = csv.DictReader(file)
    assert (row["sampling seeds"], row["Fréchet mean over sampling seeds"]) == ("3", "51.00")
    assert row["Fréchet low over sampling seeds"] == f"{low:.2f}" and without["sampling seeds"] == ""
    page = (tmp_path / "out" / "index.html").read_text()
    assert f"{low:.2f} to {high:.2f}, 3 sampling seeds" in page and "99.00" in page  # the other steps in the plot


def test_a_score_that_a_draw_lacks_has_no_spread():
    run, draw = trained(50.0, 0), drawn_again(trained(50.0, 0), 51.0, seed=1)
    run["metrics"]["kid"] = {"name": "KID", "value": 1.0}
    assert over_sampling_seeds(run | {"draws": [draw]}) == {"seeds": [0, 1], "frechet": spread([50.0, 51.0])}


@pytest.mark.parametrize(
    "change",
    [{"run": "another"}, {"config_hash": "ff"}, {"dataset_sha256": "ff"}, {"protocol": {"num_images": 5}}, "garbage"],
    ids=str,
)
def test_a_further_score_of_something_else_is_left_out_by_name(tmp_path, change):
    run = trained(50.0, 0)
    save(tmp_path / "runs", run)
    path = tmp_path / "runs" / run["run"] / "scores" / "x.json"
    path.parent.mkdir()
    draw = drawn_again(run, 51.0, seed=1)
    if isinstance(change, dict):
        changed = draw | change | {"protocol": draw["protocol"] | change.get("protocol", {})}
        path.write_text(json.dumps(changed | {"protocol_hash": protocol_hash(changed["protocol"])}))
    else:
        path.write_text(change)
    found = board(tmp_path)
    assert [left["file"] for left in found["quarantined"]] == [f"{run['run']}/scores/x.json"]
    assert found["rankings"][0]["rows"][0]["over_sampling_seeds"] is None


def test_a_draw_without_a_score_is_no_draw(tmp_path):
    run = trained(50.0, 0)
    save(tmp_path / "runs", run)
    write_record(drawn_again(run, float("nan"), seed=1), tmp_path / "runs" / run["run"] / "scores" / "x.json")
    found = board(tmp_path)
    assert found["rankings"][0]["rows"][0]["over_sampling_seeds"] is None
    assert found["quarantined"] == [{"file": f"{run['run']}/scores/x.json", "why": "it holds no score"}]
