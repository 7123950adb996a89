"""The published JSON Schema of records says what the package checks, and every committed record fits it."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from runs import genvision
from test_evaluation_record import PROTOCOL, make, scored

from genvision.errors import DataError
from genvision.evaluation.protocol import protocol_hash
from genvision.evaluation.record import validate_record
from genvision.evaluation.record_fields import FIELDS
from genvision.evaluation.record_schema import PUBLISHED, record_schema, schema_text

jsonschema = pytest.importorskip("jsonschema")
COMMITTED = sorted((Path(__file__).parents[1] / "samples").rglob("result.json"))
VALUES = (None, 3, -2.5, 1e300, -(2**64), True, "x", [], [1], {}, {"a": 1}, ["x", None, 1])


def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(PUBLISHED.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def full() -> dict:
    """A record with something in every part that is checked."""
    metrics = {"frechet": {"name": "FID", "value": 3.5, "std": 0.1, "interval": [2.5, None]}}
    bits = {"value": 3.1, "kind": "bound", "split": "test", "num_images": 9, "standard_error": 0.1}
    anchors = [{"name": "real training images", "value": 8.8}]
    return make(
        metrics=metrics,
        protocol=PROTOCOL,
        bits_per_dim=bits,
        anchors=anchors,
        left_out=["a.png"],
        validation={"loss": 0.5},
    )


PLACES = [
    *((name,) for name in (*FIELDS, "schema", "unknown")),
    *(("metrics", "frechet"), *(("metrics", "frechet", part) for part in ("name", "value", "std", "interval"))),
    *(("bits_per_dim", part) for part in ("value", "kind", "split", "num_images", "standard_error")),
    ("left_out", 0),
    *(("anchors", 0), ("anchors", 0, "name"), ("anchors", 0, "value"), ("validation", "loss")),
    *(("protocol", part) for part in ("num_images", "reference", "sampling")),
    ("protocol", "reference", "num_images"),
]


def fits(record: dict) -> bool:
    """What the package says; a protocol keeps an honest hash, which no schema can ask for."""
    try:
        validate_record(record)
    except DataError:
        return False
    return True


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_the_schema_and_the_package_agree_on_every_value_of_every_field(place):
    schema, verdicts = validator(), set()
    for value in (*VALUES, "missing"):
        record = copy.deepcopy(full())
        inside = record
        for step in place[:-1]:
            inside = inside[step]
        if value == "missing":
            if isinstance(inside, list):
                continue
            inside.pop(place[-1], None)
        else:
            inside[place[-1]] = value
        if place[0] == "protocol" and isinstance(record.get("protocol"), dict):
            record["protocol_hash"] = protocol_hash(record["protocol"])
        if place == ("protocol_hash",) and isinstance(value, str) and value != "missing":
            continue  # another hash than the protocol's
        verdicts.add(fits(record))
        assert schema.is_valid(record) is fits(record), value
    assert False in verdicts


def test_the_published_file_is_made_from_the_code():
    assert PUBLISHED.read_text() == schema_text()
    assert record_schema()["properties"]["schema"]["const"] == 1
    assert set(record_schema()["properties"]) == {"schema", *FIELDS}


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_every_committed_record_fits(path):
    validator().validate(json.loads(path.read_text()))


def test_a_record_that_does_not_fit_is_left_out_with_its_reason(tmp_path):
    assert len(COMMITTED) >= 27
    for name, record in (("good", scored(3.0)), ("bad", scored(4.0) | {"seed": "zero"})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps(record))
        assert validator().is_valid(record) is (name == "good")
    said = genvision("leaderboard", "build", tmp_path)
    assert said.code == 0 and "index.html" in said.out
    board = json.loads((tmp_path / "leaderboard" / "leaderboard.json").read_text())
    assert board["quarantined"] == [{"file": "bad/result.json", "why": "record field seed does not fit: 'zero'"}]
    assert [row["run"] for ranking in board["rankings"] for row in ranking["rows"]] == ["a"]
