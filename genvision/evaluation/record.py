"""The result record: one JSON file per run that holds everything a leaderboard row needs, and where it came from."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from genvision.errors import DataError
from genvision.evaluation.protocol import protocol_hash
from genvision.evaluation.record_fields import (
    COUNT,
    FIELDS,
    KINDS,
    MAX_NUMBER,
    NUMBER,
    OPTIONAL,
    REQUIRED,
    SCHEMA,
    STATUSES,
    TEXT,
)
from genvision.storage import write_text

FILE_NAME = "result.json"
MAX_BYTES = 4_000_000

Record = dict[str, Any]


def build_record(**fields: Any) -> Record:
    """A valid record of schema 1; fields not given are null.

    Not-a-number becomes null, and a finished run with one in its scores becomes a diverged run that names it.
    Raises TypeError for an unknown field or a missing required one, DataError for a value that does not fit.
    """
    if unknown := sorted(set(fields) - set(FIELDS)):
        raise TypeError(f"no such record fields: {', '.join(unknown)}")
    if missing := sorted(set(REQUIRED) - set(fields)):
        raise TypeError(f"record fields missing: {', '.join(missing)}")
    lost: list[str] = []
    record: Record = {"schema": SCHEMA} | {name: _finite(fields.get(name), name, lost) for name in FIELDS}
    if record["protocol"] is not None and record["protocol_hash"] is None:
        record["protocol_hash"] = protocol_hash(record["protocol"])
    if lost and record["status"] == "finished":
        record |= {"status": "diverged", "reason": f"not a number: {', '.join(lost)}"}
    validate_record(record)
    return record


def write_record(record: Record, path: Path) -> None:
    """Write a record as strict JSON, atomically. Raises DataError for a record that does not fit, else StorageError."""
    validate_record(record)
    write_text(path, json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_record(path: Path) -> Record:
    """The valid record in `path`, or DataError (one line) saying what is wrong with the file."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: larger than {MAX_BYTES:,} bytes; not a result record")
        record = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
        json.dumps(record, ensure_ascii=False).encode()  # half a surrogate pair could be read but never written
        validate_record(record)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a result record ({str(error)[:120]})") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return dict.fromkeys(OPTIONAL) | record


def validate_record(record: Any) -> None:
    """Raise DataError naming the first field of a record that does not fit the schema."""
    if not (isinstance(record, dict) and _is(record.get("schema"), COUNT) and record["schema"] == SCHEMA):
        raise DataError(f"not a result record of schema {SCHEMA}")
    if unknown := sorted(set(record) - set(FIELDS) - {"schema"}):
        raise DataError(f"unknown record field {unknown[0]}")
    for name, field in FIELDS.items():
        value = record.get(name)
        if value is None and name in OPTIONAL:
            continue
        _require(_is(value, field.types), name, value)
    _require(record["status"] in STATUSES, "status", record["status"])
    if record.get("protocol") is not None or record.get("protocol_hash") is not None:
        honest = record.get("protocol") and protocol_hash(record["protocol"]) == record.get("protocol_hash")
        _require(bool(honest), "protocol_hash", record.get("protocol_hash"))
        _validate_protocol(record["protocol"])
    _validate_scores(record)


def _validate_protocol(protocol: dict[str, Any]) -> None:
    """What the report reads of a protocol; the rest is compared by its hash alone."""
    for part in ("reference", "sampling"):
        _require(isinstance(protocol.get(part), dict), f"protocol.{part}", protocol.get(part))
    for name, count in (("", protocol.get("num_images")), ("reference.", protocol["reference"].get("num_images"))):
        _require(_is(count, COUNT), f"protocol.{name}num_images", count)


def _validate_scores(record: Record) -> None:
    for key, metric in (record.get("metrics") or {}).items():
        _require(isinstance(metric, dict) and _is(metric.get("name"), TEXT), f"metrics.{key}", metric)
        for part in ("value", "std"):
            _require(metric.get(part) is None or _is(metric[part], NUMBER), f"metrics.{key}.{part}", metric.get(part))
        _require(_is_interval(metric.get("interval")), f"metrics.{key}.interval", metric.get("interval"))
    bits = record.get("bits_per_dim")
    if bits is not None:
        _require(bits.get("kind") in KINDS, "bits_per_dim.kind", bits.get("kind"))
        _require(_is(bits.get("split"), TEXT), "bits_per_dim.split", bits.get("split"))
        _require(_is(bits.get("num_images"), COUNT), "bits_per_dim.num_images", bits.get("num_images"))
        for part in ("value", "standard_error"):
            _require(bits.get(part) is None or _is(bits[part], NUMBER), f"bits_per_dim.{part}", bits.get(part))
    for key, value in (record.get("validation") or {}).items():
        _require(value is None or _is(value, NUMBER), f"validation.{key}", value)
    for name in record.get("left_out") or []:
        _require(_is(name, TEXT), "left_out", name)
    for anchor in record.get("anchors") or []:
        fits = isinstance(anchor, dict) and _is(anchor.get("name"), TEXT) and _is(anchor.get("value"), NUMBER)
        _require(fits, "anchors", anchor)


def _is_interval(value: Any) -> bool:
    """None, or [low, high], either null where it was not a number."""
    ends = value is None or (isinstance(value, list) and len(value) == 2)
    return ends and all(end is None or _is(end, NUMBER) for end in value or [])


def _is(value: Any, types: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        return isinstance(value, types) and -MAX_NUMBER < value < MAX_NUMBER  # false for not-a-number too
    return isinstance(value, types)


def _require(fits: bool, name: str, value: Any) -> None:
    if not fits:
        raise DataError(f"record field {name} does not fit: {str(value)[:60]!r}")


def _finite(value: Any, name: str, lost: list[str]) -> Any:
    """`value` with every not-a-number replaced by null, its place added to `lost`."""
    if isinstance(value, float) and not math.isfinite(value):
        lost.append(name)
        return None
    if isinstance(value, dict):
        return {key: _finite(item, f"{name}.{key}", lost) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item, f"{name}[{k}]", lost) for k, item in enumerate(value)]
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not strict JSON")
