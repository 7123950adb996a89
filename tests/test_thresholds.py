"""Budgets to a quality, on curves whose answers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from genvision.analysis.thresholds import SHARE, budget_to, budgets, curves_of, fall, ratio, threshold


def curve(losses, **place):
    return [{"step": 10 * k, "images": 80 * k, "loss": loss, **place} for k, loss in enumerate(losses)]


def test_the_threshold_is_reached_by_the_worst_curve():
    good, bad = curve([10, 4, 2]), curve([10, 8, 6])
    level = threshold([good, bad])
    assert level == pytest.approx(10 - SHARE * 4)
    assert 0 < budget_to(bad, level, "step") < 20
    late = curve([12, 7, 5])
    assert threshold([bad, late]) == level, "it lies below the first loss of every curve"


def test_a_budget_lies_on_the_straight_line_between_two_points():
    points = curve([10, 6, 4, 5, 3])
    assert budget_to(points, 8, "step") == 5 and budget_to(points, 8, "images") == 40
    assert budget_to(points, 5, "step") == 15
    assert budget_to(points, 3.5, "step") == 37.5  # a curve that rises again has not come there yet
    assert budget_to(points, 2, "step") == math.inf


def test_budgets_are_to_the_loss_that_all_curves_of_a_table_reach():
    table = curve([10, 4, 2], what="vit", seed=0) + curve([10, 8, 6], what="convnet", seed=1)
    level = 10 - SHARE * 4  # 6.2
    expected = {"vit": {0: (10 - level) / 6 * 80}, "convnet": {1: 80 + (8 - level) / 2 * 80}}
    found = budgets(table, "images")
    assert found == {name: pytest.approx(each) for name, each in expected.items()}
    assert budgets(curve([10, 8], what="vit", seed=0) + curve([7, 9], what="mixer", seed=0), "step")["vit"] == {
        0: math.inf
    }, "no loss that all come down to"


def test_curves_are_sorted_by_their_steps():
    table = curve([3, 2], what="vit", seed=1)[::-1] + curve([5, 4], what="vit", seed=0)
    found = curves_of(table)
    assert [point["loss"] for point in found["vit", 1]] == [3, 2] and set(found) == {("vit", 0), ("vit", 1)}


def test_a_ratio_of_geometric_means_and_its_bootstrap():
    found = ratio("r", {0: 2.0, 1: 8.0, 2: 4.0}, {0: 1.0, 1: 1.0, 2: 1.0})
    assert found.value == pytest.approx(4) and found.n == 3
    assert (found.low, found.high) == pytest.approx((2, 8))  # all three the least, all three the largest: 1 in 27 each
    sure = ratio("r", dict.fromkeys(range(3), 6.0), dict.fromkeys(range(3), 2.0))
    assert (sure.value, sure.low, sure.high) == pytest.approx((3, 3, 3))
    assert math.isnan(ratio("r", {0: 2.0}, {0: 1.0}).low)


@pytest.mark.parametrize("law", [(2.0, 5.0, 1.0), (0.0, 3.0, 0.5), (4.0, 1.0, 1.5)])
def test_a_power_law_is_found_again(law):
    floor, scale, exponent = law
    steps = np.array([5, 10, 20, 40, 80, 160])
    found = fall(steps, floor + scale * steps**-exponent)
    assert found.exponent == pytest.approx(exponent, rel=0.03)
    assert found.floor == pytest.approx(floor, abs=0.02 * scale) and found.scale == pytest.approx(scale, rel=0.1)
