"""The JSON Schema of result records, for readers in other languages; `record.validate_record` is its twin in Python.

It is published as `result.schema.json` beside this file, one version for each SCHEMA. Two things it cannot say: that
`protocol_hash` is the hash of `protocol`, and that a count is written without a decimal point.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from genvision.evaluation.record_fields import FIELDS, KINDS, MAX_NUMBER, OPTIONAL, REQUIRED, SCHEMA, STATUSES

PUBLISHED = Path(__file__).parent / "result.schema.json"
NAMES = {str: "string", int: "integer", float: "number", dict: "object", list: "array"}

Schema = dict[str, Any]


def record_schema() -> Schema:
    """A draft 2020-12 schema that a record fits if and only if `validate_record` takes it (see above)."""
    properties = {name: _of(*field.types) | {"description": field.meaning} for name, field in FIELDS.items()}
    for name, further in _parts().items():
        properties[name] |= further
    for name in OPTIONAL:
        properties[name]["type"] = [properties[name]["type"], "null"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:genvision:result:{SCHEMA}",
        "title": f"genvision result record, schema {SCHEMA}",
        "type": "object",
        "properties": {"schema": {"const": SCHEMA, "description": "version of this schema"}} | properties,
        "required": ["schema", *REQUIRED],
        "additionalProperties": False,
        "allOf": [_brings("protocol", "protocol_hash"), _brings("protocol_hash", "protocol")],
    }


def schema_text() -> str:
    """The published file."""
    return json.dumps(record_schema(), indent=2) + "\n"


def _of(*types: type) -> Schema:
    """A value of one of these types, numbers inside MAX_NUMBER."""
    name = "number" if float in types else NAMES[types[0]]
    limits = {"exclusiveMinimum": -MAX_NUMBER, "exclusiveMaximum": MAX_NUMBER} if int in types else {}
    return {"type": name, **limits}


def _or_null(schema: Schema) -> Schema:
    return schema | {"type": [schema["type"], "null"]}


def _object(required: tuple[str, ...], **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def _brings(one: str, other: str) -> Schema:
    """Where `one` is there and not null, so is `other`."""

    def there(name: str) -> Schema:
        return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}

    return {"if": there(one), "then": there(other)}


def _parts() -> dict[str, Schema]:
    """What is asked of the insides of a field, beside its type."""
    text, count, number = _of(str), _of(int), _of(int, float)
    maybe = _or_null(number)
    interval = {"type": ["array", "null"], "items": maybe, "minItems": 2, "maxItems": 2}
    metric = _object(("name",), name=text, value=maybe, std=maybe, interval=interval)
    counted = _object(("num_images",), num_images=count)
    protocol = _object(
        ("num_images", "reference", "sampling"), num_images=count, reference=counted, sampling={"type": "object"}
    )
    bits = _object(
        ("kind", "split", "num_images"),
        **{"kind": {"enum": list(KINDS)}, "split": text, "num_images": count, "value": maybe, "standard_error": maybe},
    )
    anchor = _object(("name", "value"), name=text, value=number)
    parts = {
        "status": {"enum": list(STATUSES)},
        "protocol": protocol,
        "metrics": {"additionalProperties": metric},
        "bits_per_dim": bits,
        "validation": {"additionalProperties": maybe},
        "anchors": {"items": anchor},
        "left_out": {"items": text},
    }
    return {name: {key: value for key, value in part.items() if key != "type"} for name, part in parts.items()}
