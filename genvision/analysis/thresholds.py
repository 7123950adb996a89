"""What it takes to come to a quality: budgets to a threshold, their ratios over seeds, and how a loss falls."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from genvision.analysis.study import Estimate, Rows
from genvision.evaluation.intervals import RESAMPLES
from genvision.probability.randomness import Stream, generator

SHARE = 0.95  # of the way from the first loss to the worst of the least ones: where all curves are compared


def curves_of(table: Rows) -> dict[tuple[str, int], Rows]:
    """{(backbone, seed): points in order of steps}"""
    found: dict[tuple[str, int], Rows] = {}
    for row in sorted(table, key=lambda row: row["step"]):
        found.setdefault((row["what"], row["seed"]), []).append(row)
    return found


def threshold(curves: Sequence[Rows]) -> float:
    """A loss above which every curve begins and below which it comes: SHARE of the way from the least of the first
    losses to the least loss of the curve whose least is largest. NaN where some curve never comes below that first."""
    first = min(points[0]["loss"] for points in curves)
    reached = max(min(point["loss"] for point in points) for points in curves)
    return first - SHARE * (first - reached) if reached < first else math.nan


def budget_to(points: Rows, loss: float, unit: str) -> float:
    """How much of `unit` (a column) a curve needs to come down to a loss; straight lines between points. inf: never."""
    for before, after in pairwise(points):
        if after["loss"] <= loss:
            share = (before["loss"] - loss) / (before["loss"] - after["loss"])
            return before[unit] + share * (after[unit] - before[unit])
    return math.inf


def budgets(table: Rows, unit: str) -> dict[str, dict[int, float]]:
    """{backbone: {seed: how much of `unit` it takes to come to the loss that all curves of a table reach}}"""
    curves = curves_of(table)
    level = threshold(list(curves.values()))
    found: dict[str, dict[int, float]] = {}
    for (backbone, seed), points in curves.items():
        found.setdefault(backbone, {})[seed] = budget_to(points, level, unit)
    return found


def ratio(of: str, more: Mapping[int, float], less: Mapping[int, float]) -> Estimate:
    """The ratio of geometric means over seeds, and the bootstrap's 95 % interval, seeds of each drawn anew.

    One seed alone has no interval: NaN; budgets that are not finite have no ratio either. Few seeds make it too
    narrow: of three, 27 draws of each are different.
    """
    if not all(map(math.isfinite, [*more.values(), *less.values()])):
        return Estimate(of, math.nan, math.nan, math.nan, min(len(more), len(less)))
    logs = [np.log(np.array(list(values.values()))) for values in (more, less)]
    value, n = float(np.exp(logs[0].mean() - logs[1].mean())), min(map(len, logs))
    if n < 2:
        return Estimate(of, value, math.nan, math.nan, n)
    rng = generator(0, Stream.RESAMPLES)
    means = [each[rng.integers(len(each), size=(RESAMPLES, len(each)))].mean(1) for each in logs]
    low, high = np.quantile(np.exp(means[0] - means[1]), [0.025, 0.975])
    return Estimate(of, value, float(low), float(high), n)


class Fall(NamedTuple):
    """loss = floor + scale * steps^-exponent"""

    floor: float
    scale: float
    exponent: float


def fall(steps: Sequence[float], losses: Sequence[float]) -> Fall:
    """The power law by least squares: of the logarithms of the gap for each of many floors, the floor that fits best.

    Steps above 0, at least three.
    """
    x, y = np.asarray(steps, float), np.asarray(losses, float)
    best, found = math.inf, Fall(math.nan, math.nan, math.nan)
    span = float(y.max() - y.min())
    for below in np.geomspace(1e-3, 10, 400) * span:
        gap = y - (y.min() - below)
        slope, level = np.polyfit(np.log(x), np.log(gap), 1)
        wrong = float(np.square(np.exp(level + slope * np.log(x)) - gap).sum())
        if wrong < best:
            best, found = wrong, Fall(float(y.min() - below), float(np.exp(level)), float(-slope))
    return found
