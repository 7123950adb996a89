"""Where the helpers of figures put estimates and the ends of their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from genvision.analysis.curves import curve, intervals, point
from genvision.analysis.figures import new_figure
from genvision.analysis.study import Estimate

ONE, TWO = Estimate("one", 2.0, 1.5, 4.0, 3), Estimate("two", 5.0, 5.0, 5.0, 3)


def drawn(ax):
    """(x, y) of the markers and the two ends of every bar, and the style of the line between them."""
    ((line, _, (bars,)),) = ax.containers
    return line.get_xydata().tolist(), [ends.tolist() for ends in bars.get_segments()], line.get_linestyle()


def test_an_interval_goes_from_its_low_to_its_high_end():
    ax = new_figure().subplots()
    intervals(ax, [7, 9], [ONE, TWO], 0)
    assert drawn(ax) == ([[7, 2], [9, 5]], [[[7, 1.5], [7, 4]], [[9, 5], [9, 5]]], "-")


def test_a_flat_point_lies_on_its_side():
    ax = new_figure().subplots()
    point(ax, 7, ONE, 0, flat=True)
    assert drawn(ax) == ([[2, 7]], [[[1.5, 7], [4, 7]]], "None")


def test_a_curve_is_of_means_over_seeds_in_order_of_places_and_nothing_is_drawn_of_nothing():
    ax = new_figure().subplots()
    rows = [{"seed": seed, "i": i, "value": 10.0 * i + seed} for i in (2, 1) for seed in (0, 1)]
    curve(ax, rows, "i", 0, "x")
    middle, bars, _ = drawn(ax)
    assert middle == [[1, 10.5], [2, 20.5]]
    assert np.diff(bars, axis=1)[:, 0].tolist() == pytest.approx(np.array([[0, 12.7062], [0, 12.7062]]), abs=1e-3)
    bare = new_figure().subplots()
    curve(bare, [], "i", 0, "x")
    assert not bare.containers
