"""The intervals of a ranking beside each other, a lane for each run and for each cell of several training seeds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from genvision.evaluation.plots import ticks
from genvision.evaluation.seeds import cell

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 704, 190, 26, 10, 34
LANE = 18

Row = dict[str, Any]
Ends = tuple[float, float]


class Lane(NamedTuple):
    """A distance and its intervals in SVG units; None where there is none. `row`: a run, or a cell over its seeds."""

    y: float
    x: float
    value: float
    row: Row
    features: Ends | None = None
    sampling: Ends | None = None
    training: Ends | None = None


class Bars(NamedTuple):
    """All lanes of a ranking; ticks and anchors are (place, text)."""

    lanes: list[Lane]
    x_ticks: list[tuple[float, str]]
    anchors: list[tuple[float, str]]
    height: int


def interval_bars(ranking: dict[str, Any], anchors: Iterable[tuple[str, float]]) -> Bars | None:
    """The lanes of a ranking, the best cell first; None where no score has an interval.

    Anchors are shown where they lie no further from the scores than half of what these span.
    """
    entries = _entries(ranking)
    ends = [end for _, value, *intervals in entries for end in (value, *(e for each in intervals for e in each or ()))]
    if len(ends) == len(entries):
        return None
    low, high = min(ends), max(ends)
    near = [(value, name) for name, value in anchors if abs(value - min(max(value, low), high)) <= (high - low) / 2]
    shown = ticks(min([low, *(value for value, _ in near)]), max([high, *(value for value, _ in near)]))
    first, last = shown[0], shown[-1]

    def across(value: float) -> float:
        return LEFT + (value - first) / ((last - first) or 1) * (WIDTH - LEFT - RIGHT)

    def placed(interval: list[float] | None) -> Ends | None:
        return None if interval is None else (across(interval[0]), across(interval[1]))

    lanes = [
        Lane(TOP + (k + 0.7) * LANE, across(value), value, row, *map(placed, intervals))
        for k, (row, value, *intervals) in enumerate(entries)
    ]
    height = TOP + LANE * len(lanes) + LANE // 2 + BOTTOM
    x_ticks = [(across(value), f"{value:g}") for value in shown]
    return Bars(lanes, x_ticks, [(across(value), name) for value, name in near], height)


def _entries(ranking: dict[str, Any]) -> list[tuple[Row, float, Any, Any, Any]]:
    """(row, value, interval over features, over sampling seeds, over training seeds) from the top lane to the last."""
    over = {cell(found): found for found in ranking["over_training_seeds"]}
    found: dict[tuple[str, ...], list[tuple[Row, float, Any, Any, Any]]] = {}
    for row in ranking["rows"]:
        key, score = cell(row), row["metrics"]["frechet"]
        if key not in found:
            summary = over.get(key)
            head = summary and (summary, summary["frechet"]["mean"], None, None, summary["frechet"]["interval"])
            found[key] = [head] if head else []
        features = score.get("interval")
        features = None if features is None or None in features else features
        sampling = (row["over_sampling_seeds"] or {}).get("frechet", {}).get("interval")
        found[key].append((row, score["value"], features, sampling, None))
    return [entry for entries in found.values() for entry in entries]
