"""Precision, recall, density and coverage: their definitions written out as loops are the oracle."""

from __future__ import annotations

import pytest
import torch

from genvision.evaluation import neighbours
from genvision.evaluation.neighbours import KEYS, NEIGHBORHOOD, Neighbours


def cloud(n: int, dim: int = 4, shift: float = 0.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)) + shift


def radii(points: torch.Tensor) -> list[float]:
    """The distance of every point to its third nearest other point."""
    gaps = [[(a - b).double().norm().item() for b in points] for a in points]
    return [sorted(row)[NEIGHBORHOOD] for row in gaps]  # the first is the point itself


def by_definition(generated: torch.Tensor, real: torch.Tensor) -> dict[str, float]:
    n, m = len(generated), len(real)
    gap = [[(g - r).double().norm().item() for r in real] for g in generated]
    real_radius, radius = radii(real), radii(generated)
    in_real = [[gap[i][j] <= real_radius[j] for j in range(m)] for i in range(n)]
    in_generated = [[gap[i][j] <= radius[i] for j in range(m)] for i in range(n)]
    return {
        "precision": sum(any(row) for row in in_real) / n,
        "recall": sum(any(in_generated[i][j] for i in range(n)) for j in range(m)) / m,
        "density": sum(sum(row) for row in in_real) / (NEIGHBORHOOD * n),
        "coverage": sum(any(in_real[i][j] for i in range(n)) for j in range(m)) / m,
    }


@pytest.mark.parametrize(("n", "m", "shift"), [(60, 90, 0.7), (90, 40, 0.0), (4, 6, 0.3)])
def test_the_four_scores_are_their_definitions(monkeypatch, n, m, shift):
    monkeypatch.setattr(neighbours, "BLOCK", 16)
    generated, real = cloud(n, shift=shift), cloud(m, seed=1)
    found = dict(zip(KEYS, Neighbours(generated, real).scores().tolist(), strict=True))
    assert found == pytest.approx(by_definition(generated, real), abs=1e-12)
    assert len(set(found.values())) > 1


def test_the_scores_of_a_part_are_those_of_the_part_alone():
    generated, real = cloud(80, shift=0.5), cloud(100, seed=1)
    stays, others = torch.arange(80) % 2 == 0, torch.arange(100) % 3 > 0
    found = Neighbours(generated, real).scores(stays, others).tolist()
    expected = by_definition(generated[stays], real[others])
    assert dict(zip(KEYS, found, strict=True)) == pytest.approx(expected, abs=1e-12)


def test_one_outlier_among_the_real_images_moves_precision_and_not_density():
    """Figure 1 of Naeem et al.: the ball of one far image holds a crowd that no other real image is near to."""
    real = torch.cat([cloud(200, 2) * 0.1, torch.tensor([[30.0, 0.0]])])
    generated = torch.tensor([15.0, 0.0]) + cloud(200, 2, seed=1) * 0.1
    precision, _, density, coverage = Neighbours(generated, real).scores().tolist()
    assert precision == 1 and density == pytest.approx(1 / NEIGHBORHOOD) and coverage == pytest.approx(1 / 201)


def test_coverage_sees_a_missing_mode_that_recall_overlooks():
    """One generated outlier beyond the second mode blows its own ball up over it."""
    real = torch.cat([cloud(100, 2) * 0.1, cloud(100, 2, seed=1) * 0.1 + 10])
    generated = torch.cat([cloud(100, 2, seed=2) * 0.1, torch.tensor([[20.0, 20.0]])])
    _, recall, _, coverage = Neighbours(generated, real).scores().tolist()
    assert recall > 0.9 and 0.4 < coverage <= 0.5
