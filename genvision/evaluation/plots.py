"""Coordinates of the report's plots; the templates draw them, so that names are escaped in one place."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from genvision.evaluation.history import History, curve
from genvision.evaluation.numbers import written
from genvision.evaluation.seeds import equal_but

WIDTH, HEIGHT = 340, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 34  # margins that hold the ticks
EARLY = 0.1  # of the images seen: what a loss falls through there says nothing and would flatten the rest

AXES = {  # field of a record -> what its axis is called
    "images_seen": "images seen in training",
    "macs_per_image": "multiply-adds per image",
    "train_seconds": "seconds of training",
    "network_evaluations_per_image": "network evaluations per image",
}

Row = dict[str, Any]
Point = tuple[float, float]


class Series(NamedTuple):
    """What a run contributes to a plot: a line through (x, y), and (x, y, interval) of scores."""

    row: Row
    line: list[Point]
    scores: Sequence[tuple[float, float, list[float] | None]] = ()
    faint: bool = False


class Line(NamedTuple):
    """A polyline "x,y x,y .." in SVG units."""

    points: str
    row: Row
    faint: bool


class Mark(NamedTuple):
    """A score in SVG units, the ends of its interval (None: there is none), and what it is."""

    x: float
    y: float
    low: float | None
    high: float | None
    value: float
    row: Row


class Chart(NamedTuple):
    """A plot in SVG units; ticks are (place, text)."""

    label: str
    lines: list[Line]
    marks: list[Mark]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    rows: list[Row]


def scores_over_costs(rows: Sequence[Row], history: Mapping[str, History]) -> list[Chart]:
    """The Fréchet distance of ranked rows over each cost of which there are two values, costs in logarithms.

    Over images seen a line leads through the scores on the way (`score.every_steps`), over network evaluations through
    those of other numbers of steps (`leaderboard resample --steps`).
    """
    charts = []
    for field, label in AXES.items():
        found = [_over(field, row, history.get(row["folder"], [])) for row in rows if (row.get(field) or 0) > 0]
        costs = [x for series in found for x, _ in series.line]
        if len(set(costs)) > 1:
            ends = [end for series in found for _, y, interval in series.scores for end in (y, *(interval or ()))]
            highest = max([1e-9, *ends, *(y for series in found for _, y in series.line)])
            top = ticks(0, highest)[-1]
            kind = "seconds" if field == "train_seconds" else "count"
            x_ticks = [(cost, written(kind, cost)) for cost in (min(costs), max(costs))]
            charts.append(_chart(label, found, _logarithmic(min(costs), max(costs)), (0, top), x_ticks))
    return charts


def bits_curves(table: dict[str, Any], history: Mapping[str, History]) -> list[Chart]:
    """The losses of a table's rows, which are bits/dim: of held-out images where runs looked at them on the way."""
    if table["kind"] == "estimate":
        return []
    of = {row["folder"]: history.get(row["folder"], []) for row in table["rows"]}
    name, what = "validation_loss", "loss on held-out images"
    if not all(len(curve(moments, name)) > 1 for moments in of.values()):
        name, what = "loss", "training loss"
    return _losses(
        f"{what}, bits/dim, over images seen", [Series(row, curve(of[row["folder"]], name)) for row in table["rows"]]
    )


def loss_curves(row: Row, history: History) -> list[Chart]:
    """The loss of one run: in training, and of held-out images where it was looked at on the way."""
    held_out = curve(history, "validation_loss")
    found = [Series(row, curve(history, "loss"), faint=len(held_out) > 1)]
    label = "training loss over images seen"
    if len(held_out) > 1:
        found.append(Series(row, held_out))
        label = "loss over images seen: in training (faint), of held-out images"
    return _losses(label, found)


def ticks(low: float, high: float) -> list[float]:
    """A few round numbers from `low` or below to `high` or above."""
    from matplotlib.ticker import MaxNLocator

    return [float(tick) for tick in MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]


def _over(field: str, row: Row, history: History) -> Series:
    """One run's scores over one of its costs."""
    own = (row[field], row["metrics"]["frechet"]["value"], _interval(row))
    scores, line = [own], []
    if field == "images_seen":
        line = [point for point in curve(history, "frechet") if 0 < point[0] < row[field]]
    if field == "network_evaluations_per_image":
        scores += [
            (draw[field], draw["metrics"]["frechet"]["value"], _interval(draw))
            for draw in row.get("draws") or []
            if (draw[field] or 0) > 0 and equal_but("steps", draw["protocol"]["sampling"], row["protocol"]["sampling"])
        ]
    return Series(row, sorted([*line, *((x, y) for x, y, _ in scores)]), scores)


def _losses(label: str, found: Sequence[Series]) -> list[Chart]:
    """A plot over images seen from zero on, or none where no series has two points."""
    found = [series for series in found if len(series.line) > 1]
    if not found:
        return []
    last = max(x for series in found for x, _ in series.line)
    late = [y for series in found for x, y in series.line if x >= EARLY * last]
    around = ticks(min(late), max(late))
    x_ticks = [(0.0, "0"), (last, written("count", last))]
    return [_chart(label, found, lambda x: x / (last or 1), (around[0], around[-1]), x_ticks)]


def _logarithmic(low: float, high: float) -> Callable[[float], float]:
    """From 0 to 1 over a little more than low..high."""
    first, last = math.log10(low), math.log10(high)
    margin = 0.12 * (last - first)
    return lambda cost: (math.log10(cost) - first + margin) / (last - first + 2 * margin)


def _interval(row: Row) -> list[float] | None:
    """The ends of a distance's interval; None where one of them is no number."""
    ends = row["metrics"]["frechet"].get("interval")
    return ends if ends and None not in ends else None


def _chart(
    label: str,
    found: Sequence[Series],
    share: Callable[[float], float],
    ends: tuple[float, float],
    x_ticks: Sequence[tuple[float, str]],
) -> Chart:
    """share  of the plot's width at an x, 0 to 1;   ends  the y at its bottom and at its top."""
    bottom, top = ends

    def across(x: float) -> float:
        return LEFT + share(x) * (WIDTH - LEFT - RIGHT)

    def up(y: float) -> float:
        return HEIGHT - BOTTOM - (y - bottom) / ((top - bottom) or 1) * (HEIGHT - TOP - BOTTOM)

    lines = [
        Line(" ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in series.line), series.row, series.faint)
        for series in found
        if len(series.line) > 1
    ]
    marks = [
        Mark(
            across(x),
            up(y),
            up(interval[0]) if interval else None,
            up(interval[1]) if interval else None,
            y,
            series.row,
        )
        for series in found
        for x, y, interval in series.scores
    ]
    y_ticks = [(up(y), f"{y:g}") for y in ticks(bottom, top)]
    return Chart(
        label, lines, marks, [(across(x), text) for x, text in x_ticks], y_ticks, [series.row for series in found]
    )
