"""What two things have of the same seeds, against known answers."""

from __future__ import annotations

import math

import pytest

from genvision.analysis.estimates import differences, seed_differences, seed_means, seed_ratios

MORE, LESS = {0: 3.0, 1: 7.0, 2: 100.0}, {1: 5.0, 3: 50.0, 0: 2.0}  # seeds 0 and 1 in common


def rows(values):
    return [{"seed": seed, "value": value + shake} for seed, value in values.items() for shake in (-1.0, 1.0)]


def test_differences_are_taken_seed_by_seed_and_leave_out_what_only_one_has():
    assert differences(MORE, LESS) == {0: 1.0, 1: 2.0} and differences(LESS, MORE) == {1: -2.0, 0: -1.0}
    (found,) = seed_differences("x", seed_means(rows(MORE)), seed_means(rows(LESS)))
    half = 12.7062 * math.sqrt(0.5) / math.sqrt(2)  # Student's t of one degree of freedom; deviations of 0.5
    assert found == ("x", 1.5, pytest.approx(1.5 - half, abs=1e-3), pytest.approx(1.5 + half, abs=1e-3), 2)


def test_ratios_leave_out_the_same():
    (found,) = seed_ratios("x", rows(MORE), rows(LESS))
    assert (found.value, found.n) == (pytest.approx((3 / 2 + 7 / 5) / 2), 2)


def test_one_seed_in_common_has_no_interval_and_none_no_estimate():
    (found,) = seed_differences("x", {0: 3.0, 1: 2.0}, {1: 0.5})
    assert (found.value, found.n) == (1.5, 1) and math.isnan(found.low) and math.isnan(found.high)
    assert seed_differences("x", {0: 3.0}, {1: 0.5}) == [] == seed_ratios("x", [], rows(LESS))
