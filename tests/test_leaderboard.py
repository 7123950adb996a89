"""The leaderboard: who may be ranked with whom, in which order, and with which bytes."""

from __future__ import annotations

import csv
import json
import random
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_evaluation_record import PROTOCOL, make, scored
from test_evaluation_scores import features

from genvision.errors import DataError
from genvision.evaluation.columns import processes
from genvision.evaluation.leaderboard import build, collect, rank
from genvision.evaluation.numbers import written
from genvision.evaluation.record import write_record
from genvision.evaluation.scores import score

FILES = ("leaderboard.json", "leaderboard-seeds.csv", "leaderboard.csv", "leaderboard.md", "index.html")


def save(runs, *records) -> None:
    for record in records:
        write_record(record, runs / record["run"] / "result.json")


def board(tmp_path):
    build(tmp_path / "runs", tmp_path / "out")
    return json.loads((tmp_path / "out" / "leaderboard.json").read_text(), parse_constant=pytest.fail)


def other(**sampling):
    return PROTOCOL | {"sampling": PROTOCOL["sampling"] | sampling}


def test_a_folder_without_runs_gets_no_leaderboard(tmp_path):
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    with pytest.raises(DataError, match="photos: no run here has a result.json yet"):
        build(tmp_path / "photos", tmp_path / "photos" / "leaderboard")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cats"]


def nine():
    records = [scored(50.0 + k, run=f"d{k}", seed=k) for k in range(4)]
    records += [scored(50.0, run="tie"), scored(9.0, run="other", data="zoo"), make(run="unscored", note="too slow")]
    records.append(make(run="bad", status="failed", reason="out of memory at step 7"))
    bits = {"value": 3.0, "kind": "bound", "split": "test", "num_images": 4, "standard_error": 0.1}
    records += [make(run=f"v{k}", family="vae", bits_per_dim=bits | {"value": 3.0 - k}) for k in range(3)]
    return records


def test_ranks_follow_the_distance_and_ties_share_one(tmp_path):
    save(tmp_path / "runs", *nine())
    found = board(tmp_path)
    (toys,) = [ranking for ranking in found["rankings"] if ranking["data"] == "toys"]
    assert [(row["rank"], row["run"]) for row in toys["rows"]] == [
        (1, "d0"),
        (1, "tie"),
        (3, "d1"),
        (4, "d2"),
        (5, "d3"),
    ]
    why = {row["run"]: row["why"] for row in found["unranked"]}
    assert why["bad"] == "out of memory at step 7" and why["unscored"] == "too slow" and why["v0"] == "not scored"
    (table,) = found["likelihoods"]
    assert [row["run"] for row in table["rows"]] == ["v2", "v1", "v0"] and table["kind"] == "bound"


def test_different_protocols_data_and_pixels_never_share_a_ranking(tmp_path):
    metrics = {"frechet": {"name": "FID", "value": 1.0}}
    save(
        tmp_path / "runs",
        scored(3.0, run="a"),
        scored(2.0, run="b"),
        make(run="c", protocol=other(steps=51), metrics=metrics),
        make(run="d", protocol=other(seed=1), metrics=metrics),
        make(run="e", protocol=PROTOCOL | {"num_images": 1999}, metrics=metrics),
        make(run="f", protocol=PROTOCOL, metrics=metrics, data="zoo"),
        make(run="g", protocol=PROTOCOL, metrics=metrics, dataset_sha256="ff"),
        make(run="h", metrics=metrics),
    )
    found = board(tmp_path)
    groups = sorted([row["run"] for row in ranking["rows"]] for ranking in found["rankings"])
    assert groups == [["b", "a"], ["c"], ["d"], ["e"], ["f"], ["g"]]
    assert [row["run"] for row in found["unranked"]] == ["h"]  # a score without its protocol is not a number


def test_kinds_of_likelihood_never_share_a_table(tmp_path):
    bits = {"value": 3.0, "kind": "bound", "split": "test", "num_images": 4, "standard_error": None}
    changes = [{}, {"kind": "exact"}, {"split": "train"}, {"num_images": 5}]
    save(tmp_path / "runs", *(make(run=f"r{k}", bits_per_dim=bits | change) for k, change in enumerate(changes)))
    assert len(board(tmp_path)["likelihoods"]) == 4


def test_what_is_no_number_is_never_first(tmp_path):
    save(
        tmp_path / "runs", scored(float("nan"), run="a"), scored(70.0, run="b"), scored(-1e-9, run="c", status="failed")
    )
    found = board(tmp_path)
    assert [row["run"] for row in found["rankings"][0]["rows"]] == ["b"]
    assert {row["run"]: row["status"] for row in found["unranked"]} == {"a": "diverged", "c": "failed"}


def test_shuffled_records_and_repeated_builds_give_the_same_bytes(tmp_path):
    records = nine()
    save(tmp_path / "runs", *records)
    rows = collect(tmp_path / "runs")
    expected = json.dumps(rank(rows))
    for seed in range(5):
        random.Random(seed).shuffle(rows)
        assert json.dumps(rank(rows)) == expected
    build(tmp_path / "runs", tmp_path / "out")
    first = [(tmp_path / "out" / name).read_bytes() for name in FILES]
    shutil.rmtree(tmp_path / "runs")
    random.Random(7).shuffle(records)
    save(tmp_path / "runs", *records)  # another order on disk
    build(tmp_path / "runs", tmp_path / "out")
    assert [(tmp_path / "out" / name).read_bytes() for name in FILES] == first
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)


def test_garbage_is_left_out_with_a_warning_and_a_copy_counts_once(tmp_path, caplog):
    runs = tmp_path / "runs"
    save(runs, *nine())
    whole = len(collect(runs))
    for name, text in {"x1": "{", "x2": "[" * 100_000, "x3": '{"schema": 1, "run": NaN}'}.items():
        (runs / name).mkdir()
        (runs / name / "result.json").write_text(text)
    shutil.copytree(runs / "d0", runs / "copy")
    (runs / "deep" / "er").mkdir(parents=True)
    shutil.copy(runs / "x1" / "result.json", runs / "deep" / "er")
    found = board(tmp_path)
    assert len(collect(runs)) == whole
    assert [entry["file"] for entry in found["quarantined"]] == [f"x{k}/result.json" for k in (1, 2, 3)]
    assert "x2" in caplog.text
    for name in FILES[3:]:
        assert "x1/result.json" in (tmp_path / "out" / name).read_text()


def test_a_run_folder_itself_can_be_collected(tmp_path):
    save(tmp_path / "runs", scored(3.0, run="a"))
    assert [row["folder"] for row in collect(tmp_path / "runs" / "a")] == ["."]
    with pytest.raises(DataError, match="no such folder"):
        build(tmp_path / "nowhere", tmp_path / "out")


def test_csv_and_markdown_hold_the_same_rounded_numbers(tmp_path):
    metrics = {
        "frechet": {"name": "FID", "value": 50.40449},
        "kid": {"name": "KID", "value": 0.00123456, "std": 0.0001},
    }
    fields = {"parameters": 1_624_512, "train_seconds": 240.04, "sample_seconds": 27.0, "sampled_images": 2000}
    save(tmp_path / "runs", make(run="=1+1", metrics=metrics, protocol=PROTOCOL, **fields))
    build(tmp_path / "runs", tmp_path / "out")
    with (tmp_path / "out" / "leaderboard.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["Fréchet"], row["kernel"], row["parameters"]) == ("50.40", "0.00123", "1620000")
    assert (row["train s"], row["sample s/1000"], row["recall"]) == ("240.0", "13.5", "")
    assert row["run"] == "'=1+1"  # a spreadsheet must not compute a name
    for name in FILES[3:]:
        text = (tmp_path / "out" / name).read_text()
        assert all(number in text for number in ("50.40", "0.00123", "1.62M", "240.0", "13.5")), name


@settings(max_examples=15)
@given(
    numbers=st.lists(st.floats(0, 1e9) | st.floats(0, 10), min_size=12, max_size=12),
    text=st.text(max_size=12),
    parameters=st.integers(1, 2**62),
)
def test_what_is_read_back_are_the_records(tmp_path_factory, numbers, text, parameters):
    """JSON has them to the last digit, CSV rounded as its columns say."""
    folder = tmp_path_factory.mktemp("board")
    fields = {"parameters": parameters, "note": text, "command": text, "validation": {text: numbers[0]}}
    bits = {"value": 3.0, "kind": "bound", "split": text, "num_images": 4, "standard_error": 0.1}
    made = {}
    for k in range(3):
        metrics = {
            key: {"name": key, "value": numbers[4 * k + at]} for at, key in enumerate(("frechet", "kid", "recall"))
        }
        own = {"train_seconds": numbers[4 * k + 3], "bits_per_dim": bits | {"value": numbers[4 * k + 3]}}
        made[f"r{k}"] = make(run=f"r{k}", seed=k, metrics=metrics, protocol=PROTOCOL, **fields, **own)
    save(folder / "runs", *made.values(), make(run="bad", status="failed", reason=text))
    found = board(folder)
    rows = {row["run"]: row for row in (*found["rankings"][0]["rows"], *found["unranked"])}
    for name, record in made.items():
        assert {key: rows[name][key] for key in record} == record
    assert rows["bad"]["status"] == "failed" and rows["bad"]["reason"] == text
    with (folder / "out" / "leaderboard.csv").open(newline="") as file:
        lines = {line["run"]: line for line in csv.DictReader(file)}
    for name, record in made.items():
        read = {heading: float(lines[name][heading]) for heading in ("Fréchet", "kernel", "recall", "train s")}
        there = {"train s": (record["train_seconds"], 0.1)}
        for heading, key, step in (("Fréchet", "frechet", 0.01), ("kernel", "kid", 1e-5), ("recall", "recall", 1e-3)):
            there[heading] = record["metrics"][key]["value"], step
        for heading, (value, step) in there.items():
            assert read[heading] == pytest.approx(value, abs=0.5001 * step, rel=1e-15)
        assert float(lines[name]["parameters"]) == pytest.approx(parameters, rel=0.005)
    assert lines.keys() == rows.keys()


def test_later_scores_have_columns_only_where_a_row_has_them(tmp_path):
    old = make(run="old", metrics={"frechet": {"name": "FID", "value": 9.0}}, protocol=PROTOCOL)
    save(tmp_path / "before", old)
    build(tmp_path / "before", tmp_path / "old")
    frechet = {"name": "FID", "value": 8.0, "interval": [7.25, 8.75]}
    metrics = {"frechet": frechet} | {key: {"name": key, "value": 0.5} for key in ("density", "coverage")}
    metrics |= {"frechet_infinity": {"name": "FID-infinity", "value": 6.5}}
    save(tmp_path / "runs", old, make(run="new", metrics=metrics, protocol=PROTOCOL))
    build(tmp_path / "runs", tmp_path / "out")
    ends = {"Fréchet low over features": "7.25", "Fréchet high over features": "8.75"}
    new = ends | {"coverage": "0.500", "Fréchet infinity": "6.50"}
    with (tmp_path / "out" / "leaderboard.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert new.items() <= first.items() and dict.fromkeys(new, "").items() <= second.items()
    assert "near copies" not in first  # no row has it
    before = [(tmp_path / "old" / name).read_text() for name in FILES[2:]]
    assert not any(name in text for name in (*new, "over features") for text in before[:2])
    text = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "| FID | over features |" in text and "| 8.00 | 7.25 to 8.75 |" in text and "6.50" not in text
    page = (tmp_path / "out" / "index.html").read_text()
    assert "7.25 to 8.75" in page and "coverage" in page and "coverage" not in before[2]


@pytest.mark.parametrize(("n", "marked"), [(48, True), (49, False)])
def test_a_score_from_no_more_images_than_features_is_called_rank_deficient(tmp_path, n, marked):
    metrics = score(features(n), features(200, seed=1), metric_name="FD-X")
    save(tmp_path / "runs", make(metrics=metrics, protocol=PROTOCOL))
    build(tmp_path / "runs", tmp_path / "out")
    markdown, page = ((tmp_path / "out" / name).read_text() for name in FILES[3:])
    assert ("\nRank-deficient: no more images than features, biased upwards.\n" in markdown) is marked
    assert page.count(">rank-deficient</span>") == marked


def test_how_a_run_was_trained_is_said_in_words():
    row = {"processes": 1, "threads": 2, "precision": "no"}
    assert processes(row) == "1 process, 2 threads, fp32"
    assert processes({"processes": 2, "threads": 1, "precision": "bf16"}) == "2 processes, 1 thread, bf16"
    assert processes({}) == ""


@pytest.mark.parametrize(
    ("kind", "value", "shown", "plain"),
    [
        ("distance", 50.405, "50.40", "50.40"),
        ("distance", 1234.567, "1,234.57", "1234.57"),
        ("kernel", -1e-9, "0.00000", "0.00000"),
        ("bits", 3.0005, "3.000", "3.000"),
        ("count", 0, "0", "0"),
        ("count", 24, "24", "24"),
        ("count", 784, "784", "784"),
        ("count", 999_600, "1.00M", "1000000"),
        ("count", 1_624_512, "1.62M", "1620000"),
        ("count", 76_544_000_000, "76.5G", "76500000000"),
        ("whole", 2000, "2,000", "2000"),
        ("whole", 50.0, "50", "50"),
        ("seconds", None, "\u2013", ""),
    ],
)
def test_numbers_are_written_in_one_way(kind, value, shown, plain):
    assert written(kind, value) == shown
    assert written(kind, value, plain=True) == plain
