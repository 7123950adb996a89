"""Memorisation: models that copy all, some or none of their training images, and one that invents nothing real."""

from __future__ import annotations

import pytest
import torch

from genvision.evaluation.memorisation import memorisation


def cloud(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(seed))


TRAIN, HELD_OUT = cloud(600, 0), cloud(400, 1)


def test_new_images_of_the_same_source_are_unsuspicious():
    found = memorisation(cloud(400, 2), TRAIN, HELD_OUT, seed=0)
    for key, expected in {"nearest_ratio": 1.0, "near_copies": 0.01}.items():
        low, high = found[key]["interval"]
        assert low <= expected <= high, key
        assert found[key]["value"] == pytest.approx(expected, abs=0.05)


def test_copies_have_no_distance():
    found = memorisation(TRAIN[:300] + 1e-4, TRAIN, HELD_OUT, seed=0)
    assert found["nearest_ratio"]["value"] == pytest.approx(0, abs=0.01)
    assert found["near_copies"] == {"name": "near copies", "value": 1, "interval": [1, 1]}


def test_a_few_copies_among_many_new_images_move_the_share_alone():
    mixed = torch.cat([TRAIN[:80], cloud(320, 2)])
    found = memorisation(mixed, TRAIN, HELD_OUT, seed=0)
    assert found["near_copies"]["value"] == pytest.approx(0.2 + 0.8 * 0.01, abs=0.02)
    assert found["near_copies"]["interval"][0] > 0.1
    assert found["nearest_ratio"]["value"] > 0.85


def test_the_ratio_is_that_of_the_medians_written_out():
    generated = cloud(41, 2) * 2
    nearest = [
        torch.tensor([min((x - t).norm().item() for t in TRAIN) for x in images])
        for images in (generated, HELD_OUT[:51])
    ]
    found = memorisation(generated, TRAIN, HELD_OUT[:51], seed=0)["nearest_ratio"]
    expected = (nearest[0].median() / nearest[1].median()).item()
    assert found["value"] == pytest.approx(expected, rel=1e-4) and found["value"] > 1.2
    assert found == memorisation(generated, TRAIN, HELD_OUT[:51], seed=0)["nearest_ratio"]


def test_held_out_images_that_are_copies_themselves_give_a_number():
    found = memorisation(cloud(40, 2), TRAIN, TRAIN[:40], seed=0)
    assert all(torch.tensor(metric["value"]).isfinite() for metric in found.values())
