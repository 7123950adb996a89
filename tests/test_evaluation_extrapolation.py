"""FID-infinity: exact where the bias is a line in 1/N, near the truth where it nearly is, marked where it is not."""

from __future__ import annotations

import pytest
import torch

from genvision.evaluation import extrapolation, frechet, scores
from genvision.evaluation.extrapolation import counts, frechet_infinity
from genvision.evaluation.features import Features
from genvision.evaluation.scores import score


def test_the_counts_are_the_papers_where_it_used_them_and_stay_above_the_features_where_they_can():
    assert counts(50_000, 2048)[0] == 5120 and counts(50_000, 2048)[-1] == 50_000  # the paper begins at 5,000
    assert counts(50_000, 64)[0] == 5000
    assert counts(2000, 1280) == [1000, 1200, 1400, 1600, 1800, 2000]
    assert counts(4, 8) == [2, 3, 4]


def test_a_distance_that_is_a_line_in_1_over_n_meets_its_end_exactly(monkeypatch):
    monkeypatch.setattr(extrapolation.frechet, "fit", len)
    monkeypatch.setattr(extrapolation.frechet, "distance", lambda n, real: 7.5 + 120 / n)
    influences = torch.randn(300), torch.randn(200)
    found = frechet_infinity(torch.zeros(300, 8), None, 7.5 + 120 / 300, influences, seed=0)
    assert found["value"] == pytest.approx(7.5, rel=1e-9) and "rank_deficient" not in found


def test_the_bias_of_few_images_goes_away():
    dim = 24
    rng = torch.Generator().manual_seed(0)
    real = frechet.fit(torch.randn(200_000, dim, generator=rng))
    true, found, plain = dim * 0.2**2, [], []
    for seed in range(12):
        pool = torch.randn(240, dim, generator=torch.Generator().manual_seed(seed + 1)) + 0.2
        fitted = frechet.fit(pool)
        value, influences = frechet.distance(fitted, real), frechet.influence(fitted, real)
        plain.append(value)
        found.append(frechet_infinity(pool, real, value, influences, seed=0)["value"])
    bias, left = sum(plain) / 12 - true, sum(found) / 12 - true
    assert bias > 0.5 and abs(left) < 0.2 * bias


def test_it_is_named_after_the_extractor_seeded_and_marked_where_the_line_is_bent(monkeypatch):
    a, b = (
        Features(torch.randn(n, 30, generator=torch.Generator().manual_seed(n)), torch.zeros(n, 3)) for n in (58, 90)
    )
    first = score(a, b, metric_name="FID")["frechet_infinity"]
    assert first["name"] == "FID-infinity" and first["rank_deficient"]  # it begins at 29 images
    assert first == score(a, b, metric_name="FID")["frechet_infinity"]
    assert score(a, b, metric_name="FD-X")["frechet_infinity"]["name"] == "FD-X-infinity"
    assert "rank_deficient" not in score(b, b, metric_name="FID")["frechet_infinity"]
    monkeypatch.setattr(scores, "SEED", 1)
    assert first["value"] != score(a, b, metric_name="FID")["frechet_infinity"]["value"]
