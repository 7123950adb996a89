"""Result records: strict JSON, no number that is none, and a file that is whole or absent."""

from __future__ import annotations

import json
import os

import pytest

from genvision.errors import DataError, StorageError
from genvision.evaluation.protocol import protocol_hash
from genvision.evaluation.record import build_record, read_record, write_record
from genvision.storage import replacing

PROTOCOL = {
    "num_images": 2000,
    "reference": {"name": "toys", "split": "test", "num_images": 2000, "fingerprint": "ab"},
    "extractor": {"name": "inception"},
    "scores": {},
    "sampling": {"steps": 50, "seed": 0},
}


def make(**fields):
    base = {"run": "a", "status": "finished", "family": "diffusion", "backbone": "vit", "data": "toys"}
    return build_record(**(base | fields))


def scored(value: float, **fields):
    return make(metrics={"frechet": {"name": "FID", "value": value}}, protocol=PROTOCOL, **fields)


def test_round_trip(tmp_path):
    record = scored(
        12.5,
        parameters=1_200_000,
        train_seconds=3.5,
        git={"commit": "0" * 40, "dirty": False},
        bits_per_dim={"value": 3.1, "kind": "bound", "split": "test", "num_images": 9, "standard_error": 0.1},
        anchors=[{"name": "real training images", "value": 8.8}],
        note="naïve ünïcode 🙂",
    )
    write_record(record, tmp_path / "run" / "result.json")
    assert read_record(tmp_path / "run" / "result.json") == record
    assert record["schema"] == 1 and record["protocol_hash"] == protocol_hash(PROTOCOL)
    assert list((tmp_path / "run").iterdir()) == [tmp_path / "run" / "result.json"]


def test_an_interval_is_kept_and_one_that_is_no_number_makes_the_run_diverged(tmp_path):
    metrics = {"frechet": {"name": "FID", "value": 3.0, "interval": (2.5, 3.5)}}
    record = make(metrics=metrics, protocol=PROTOCOL)
    write_record(record, tmp_path / "r.json")
    assert read_record(tmp_path / "r.json")["metrics"]["frechet"]["interval"] == [2.5, 3.5]
    metrics["frechet"]["interval"] = (2.5, float("nan"))
    record = make(metrics=metrics, protocol=PROTOCOL)
    assert record["status"] == "diverged" and record["metrics"]["frechet"]["interval"] == [2.5, None]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_no_number_becomes_null_and_the_run_diverged(tmp_path, value):
    record = scored(value)
    write_record(record, tmp_path / "r.json")
    strict = json.loads((tmp_path / "r.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert strict["metrics"]["frechet"]["value"] is None
    assert strict["status"] == "diverged" and "metrics.frechet.value" in strict["reason"]
    assert scored(value, status="failed", reason="disk")["reason"] == "disk"


def test_misspelt_and_missing_fields_are_a_programming_error():
    with pytest.raises(TypeError, match="famly"):
        make(famly="x")
    with pytest.raises(TypeError, match="missing: data"):
        build_record(run="a", status="finished", family="vae", backbone="vit")


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"status": "done"}, "status"),
        ({"run": 3}, "run"),
        ({"parameters": "many"}, "parameters"),
        ({"parameters": True}, "parameters"),
        ({"parameters": 10**400}, "parameters"),
        ({"metrics": {"frechet": 3.0}}, r"metrics\.frechet"),
        ({"metrics": {"frechet": {"name": "FID", "value": "1"}}}, r"metrics\.frechet\.value"),
        ({"metrics": {"frechet": {"name": "FID", "interval": [1.0]}}}, r"metrics\.frechet\.interval"),
        ({"metrics": {"frechet": {"name": "FID", "interval": ["1", 2.0]}}}, r"metrics\.frechet\.interval"),
        ({"bits_per_dim": {"value": 1.0, "kind": "guess", "split": "test", "num_images": 1}}, r"bits_per_dim\.kind"),
        ({"anchors": [{"name": "x"}]}, "anchors"),
        ({"protocol": PROTOCOL, "protocol_hash": "0" * 16}, "protocol_hash"),
        ({"protocol_hash": "0" * 16}, "protocol_hash"),
        ({"protocol": PROTOCOL | {"num_images": "x"}}, r"protocol\.num_images"),
        ({"protocol": {"num_images": 1}}, r"protocol\.reference"),
    ],
)
def test_values_that_do_not_fit_are_refused(fields, match):
    with pytest.raises(DataError, match=match):
        make(**fields)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "NaN", '{"schema": 1}', "[" * 100_000, '{"schema": 1, "run": NaN}', "1" * 5000, "\udcff"],
)
def test_garbage_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "result.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=r"result\.json") as caught:
        read_record(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [{"extra": 1}, {"schema": 2}, {"note": "\ud800"}, {"train_seconds": float("nan")}])
def test_records_of_another_shape_are_refused(tmp_path, change):
    path = tmp_path / "result.json"
    path.write_text(json.dumps(make() | change))
    with pytest.raises(DataError, match=r"result\.json"):
        read_record(path)


def test_a_folder_in_the_records_place_is_refused(tmp_path):
    with pytest.raises(DataError, match="not a result record"):
        read_record(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    write_record(make(), path)
    before = path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left") as caught:
        write_record(make(run="b"), path)
    assert caught.value.exit_code == 6
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_no_part(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "x") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_files_follow_the_umask(tmp_path):
    write_record(make(), tmp_path / "r.json")
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "r.json").stat().st_mode & 0o777 == 0o666 & ~umask
