"""Estimates that several studies make: means over seeds, exponents of power laws, and where two of them meet."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import linregress, t

from genvision.analysis.study import Estimate, Rows
from genvision.evaluation.seeds import spread


def select(table: Rows, part: str, what: str | None = None, **where: object) -> Rows:
    """The rows of one part, of one thing where it is named, with the given values in other columns."""
    rows = (row for row in table if row["part"] == part and what in (None, row["what"]))
    return [row for row in rows if all(row[key] == value for key, value in where.items())]


def seed_means(rows: Rows) -> dict[int, float]:
    """{seed: the mean of "value" over all its rows}; a group of images may stand in place of a seed."""
    each: dict[int, list[float]] = {}
    for row in rows:
        each.setdefault(row["seed"], []).append(row["value"])
    return {seed: statistics.fmean(values) for seed, values in each.items()}


def over_seeds(of: str, rows: Rows) -> list[Estimate]:
    """The mean of "value" over seeds with Student's interval; what else the rows differ in is averaged first.

    One seed alone has no interval: NaN, which no rule judges. No rows: nothing.
    """
    return mean_of(of, list(seed_means(rows).values()))


def seed_ratios(of: str, above: Rows, below: Rows) -> list[Estimate]:
    """The mean over seeds of the ratio of two means of the same seed; a seed that only one has is left out."""
    over, under = seed_means(above), seed_means(below)
    return mean_of(of, [over[seed] / under[seed] for seed in over if seed in under])


def seed_differences(of: str, more: Mapping[int, float], less: Mapping[int, float]) -> list[Estimate]:
    """The mean over seeds of one number less another of the same seed."""
    return mean_of(of, list(differences(more, less).values()))


def differences(more: Mapping[int, float], less: Mapping[int, float]) -> dict[int, float]:
    """{seed: one number less another}; a seed that only one of them has is left out."""
    return {seed: value - less[seed] for seed, value in more.items() if seed in less}


def mean_of(of: str, values: list[float]) -> list[Estimate]:
    """The mean of independent numbers with Student's interval of it."""
    if len(values) < 2:
        return [Estimate(of, value, math.nan, math.nan, 1) for value in values]
    found = spread(values)
    low, high = found["interval"]
    return [Estimate(of, found["mean"], low, high, len(values))]


def log_log_slope(of: str, x: Sequence[float], y: Sequence[float]) -> Estimate:
    """The exponent b of y = a x^b by least squares of the logarithms, with Student's interval of the slope."""
    if len(x) < 3:
        return Estimate(of, math.nan, math.nan, math.nan, len(x))
    fit = linregress(np.log(x), np.log(y))
    wide = float(t.ppf(0.975, len(x) - 2) * fit.stderr)
    return Estimate(of, float(fit.slope), float(fit.slope) - wide, float(fit.slope) + wide, len(x))


def crossing(x: Sequence[float], cheap: Sequence[float], dear: Sequence[float]) -> float:
    """The x at which `dear` overtakes `cheap`, between two points by straight lines of the logarithms.

    Where it is dearer at every x, it did so somewhere before: 0. Where it never is, infinity.
    """
    gaps = np.log(dear) - np.log(cheap)
    above = np.flatnonzero(gaps > 0)
    if not len(above):
        return math.inf
    k = int(above[0])
    if k == 0:
        return 0.0
    share = gaps[k - 1] / (gaps[k - 1] - gaps[k])
    return float(np.exp(np.log(x[k - 1]) + share * (np.log(x[k]) - np.log(x[k - 1]))))
