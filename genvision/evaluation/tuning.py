"""Equal tuning effort, shown: what each cell came to over the learning rates that were tried on all."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from genvision.evaluation.numbers import MISSING, written

COLUMNS = (
    "family",
    "backbone",
    "share of data",
    "seed",
    "rates",
    "best rate",
    "validation loss",
    "score",
    "median score",
)
HEAD = """Of the learning rates that were tried on every cell alike, the best is the one with the lowest loss on
held-out images: no score was looked at to choose it. The median is that of the scores at all rates; a run that failed
has none.
"""


def tuning_table(records: Iterable[dict[str, Any]]) -> str:
    """A Markdown row for each (family, backbone, share of data, seed) of the records, over their learning rates."""
    ordered = sorted(records, key=_cell)
    rows = [COLUMNS, ("---",) * 2 + ("---:",) * 7]
    rows += [_row(cell, list(group)) for cell, group in groupby(ordered, key=_cell)]
    return HEAD + "\n" + "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows) + "\n"


def _cell(record: dict[str, Any]) -> tuple[str, str, float, int]:
    return record["family"], record["backbone"], record.get("data_fraction") or 1.0, record.get("seed") or 0


def _row(cell: tuple, group: list[dict[str, Any]]) -> tuple[Any, ...]:
    finished = [record for record in group if record["status"] == "finished"]
    rates = f"{len(finished)} of {len(group)}"
    if not finished:
        return *cell, rates, *(MISSING,) * 4
    best = min(finished, key=lambda record: _loss(record))
    scores = [value for record in finished if (value := _score(record)) is not None]
    median = written("distance", statistics.median(scores)) if scores else MISSING
    loss = written("bits", _loss(best)) if _loss(best) < float("inf") else MISSING
    return *cell, rates, best.get("learning_rate") or MISSING, loss, written("distance", _score(best)), median


def _loss(record: dict[str, Any]) -> float:
    found = (record.get("validation") or {}).get("validation_loss")
    return float("inf") if found is None else found


def _score(record: dict[str, Any]) -> float | None:
    return ((record.get("metrics") or {}).get("frechet") or {}).get("value")
