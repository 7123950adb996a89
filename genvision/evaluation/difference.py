"""What differs between two records, field by field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genvision.evaluation.record import FILE_NAME, Record, read_record

ABSENT = "nothing"


def difference(left: Record, right: Record) -> list[tuple[str, str, str]]:
    """(field, its value left, its value right) of every field that is not equal, fields of fields as "metrics.kid.std".

    Values are JSON texts; a field that one record lacks is "nothing" there.
    """
    mine, other = dict(_leaves(left)), dict(_leaves(right))
    fields = list(mine) + [field for field in other if field not in mine]
    pairs = ((field, mine.get(field, ABSENT), other.get(field, ABSENT)) for field in fields)
    return [(field, one, two) for field, one, two in pairs if one != two]


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{prefix}.{key}" if prefix else key)
    elif value is not None:
        yield prefix, json.dumps(value, ensure_ascii=False)


def difference_text(left: Path, right: Path) -> str:
    """A line for each field that two runs' records do not share. Raises DataError where one has no record."""
    found = difference(*(read_record(run / FILE_NAME) for run in (left, right)))
    return "\n".join(f"{field}: {one} | {two}" for field, one, two in found) or "the records are equal"
