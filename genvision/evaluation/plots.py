"""Coordinates of the report's plots; the template draws them, so that names are escaped in one place."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from genvision.evaluation.numbers import written

WIDTH, HEIGHT = 340, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 34  # margins that hold the ticks
MAX_CURVE_POINTS = 300

AXES = {  # field of a record -> what its axis is called
    "macs_per_image": "multiply-adds per image",
    "images_seen": "images seen in training",
    "train_seconds": "seconds of training",
    "network_evaluations_per_image": "network evaluations per image",
}


class Mark(NamedTuple):
    """A run in a plot: its place, the ends of its interval (None: there is none), and the row itself."""

    x: float
    y: float
    low: float | None
    high: float | None
    row: dict[str, Any]


class Curve(NamedTuple):
    """A polyline "x,y x,y .." in SVG units and the values at its lowest and highest place."""

    points: str
    low: float
    high: float


class Scatter(NamedTuple):
    """A plot of scores over a cost, both axes in SVG units; ticks are (place, text)."""

    label: str
    marks: list[Mark]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


def scatters(rows: Sequence[dict[str, Any]]) -> list[Scatter]:
    """The Fréchet distance of ranked rows over each cost in which they differ, costs in logarithms."""
    found = []
    for field, label in AXES.items():
        shown = [row for row in rows if (row.get(field) or 0) > 0]
        if len({row[field] for row in shown}) > 1:
            found.append(_scatter(shown, field, label))
    return found


def _scatter(rows: Sequence[dict[str, Any]], field: str, label: str) -> Scatter:
    scores = [row["metrics"]["frechet"] for row in rows]
    ends = [value for score in scores for value in (score["value"], *(score.get("interval") or ()))]
    costs = [math.log10(row[field]) for row in rows]
    top, (first, last) = _round_up(max(ends)), _padded(min(costs), max(costs))

    def across(cost: float) -> float:
        return LEFT + (cost - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def up(score: float) -> float:
        return HEIGHT - BOTTOM - score / top * (HEIGHT - TOP - BOTTOM)

    marks = [
        Mark(across(cost), up(score["value"]), *map(up, score.get("interval") or ()), row=row)
        if score.get("interval")
        else Mark(across(cost), up(score["value"]), None, None, row)
        for cost, score, row in zip(costs, scores, rows, strict=True)
    ]
    kind = "seconds" if field == "train_seconds" else "count"
    x_ticks = [(across(cost), written(kind, 10**cost)) for cost in (min(costs), max(costs))]
    y_ticks = [(up(share * top), f"{share * top:g}") for share in (0, 0.5, 1)]
    return Scatter(label, marks, x_ticks, y_ticks)


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 6, 8 times a power of ten, so that half of it is a plain number too."""
    unit = 10 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(step * unit for step in (1, 2, 4, 6, 8, 10, 20) if step * unit >= value)


def _padded(low: float, high: float) -> tuple[float, float]:
    margin = 0.12 * (high - low)
    return low - margin, high + margin


def curve(metrics: Path, name: str = "loss") -> Curve | None:
    """A value over the steps of a run's metrics.jsonl; None where there is no such file.

    A damaged line costs itself alone. Of a long run every k-th value is shown.
    """
    values = []
    try:
        with metrics.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    record = json.loads(line)
                    values.append((float(record["step"]), float(record[name])))
                except (ValueError, KeyError, TypeError):
                    continue
    except OSError:
        return None
    values = [point for point in values if all(map(math.isfinite, point))]
    if len(values) < 2:
        return None
    values = values[:: max(1, len(values) // MAX_CURVE_POINTS)]
    steps, low, high = values[-1][0], min(y for _, y in values), max(y for _, y in values)
    scale = (HEIGHT - TOP - BOTTOM) / ((high - low) or 1)
    wide = (WIDTH - LEFT - RIGHT) / (steps or 1)
    points = (f"{LEFT + x * wide:.1f},{HEIGHT - BOTTOM - (y - low) * scale:.1f}" for x, y in values)
    return Curve(" ".join(points), low, high)
