"""What a run said of itself: its curves are thinned, and end where the run ended."""

from __future__ import annotations

import pytest

from genvision.evaluation.history import MAX_POINTS, Moment, curve


@pytest.mark.parametrize(("n", "kept"), [(1, 1), (300, 300), (301, 151), (599, 300), (1200, 300), (1201, 241)])
def test_a_curve_has_at_most_so_many_points_and_keeps_the_last(n, kept):
    points = curve([Moment(k, {"loss": 2.0 * k}) for k in range(n)], "loss")
    assert len(points) == kept <= MAX_POINTS
    assert points == sorted(points) and points[-1] == (n - 1, 2.0 * (n - 1))
