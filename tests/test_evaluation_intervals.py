"""Intervals: known ones for means, and for every score the spread that repeated draws from one source really have."""

from __future__ import annotations

import math

import pytest
import torch

from genvision.evaluation import frechet, intervals, scores
from genvision.evaluation.features import Features
from genvision.evaluation.scores import kernel_influence, score

DIM = 12


def numbers(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def drawn(n: int, seed: int, shift: float = 0.0) -> Features:
    """n images of one source; the seed is the draw."""
    mix = torch.linspace(0.5, 1.5, DIM)
    noise = torch.randn(n, DIM, generator=torch.Generator().manual_seed(seed))
    return Features(((noise + shift) * mix).relu(), 3 * noise[:, :5])


def test_the_smooth_interval_of_a_difference_of_means_is_the_textbooks():
    x, y = numbers(50), 3 * numbers(80, seed=1)
    value = (x.mean() - y.mean()).item()
    error = math.sqrt(x.var() / 50 + y.var() / 80)
    expected = [value - 1.959964 * error, value + 1.959964 * error]
    assert intervals.smooth(value, x, -y) == pytest.approx(expected, rel=1e-6)


def test_the_halved_interval_of_means_is_nearly_the_textbooks_and_seeded():
    x, y = numbers(400), numbers(600, seed=1)
    values = torch.stack([x.mean(), y.mean()])

    def means(some, others):
        return torch.stack([x[some].mean(), y[others].mean()])

    found = intervals.halved(values, means, 400, 600, seed=3)
    for (low, high), value, part in zip(found, values.tolist(), (x, y), strict=True):
        assert (high - low) / 2 == pytest.approx(1.96 * part.std().item() / len(part) ** 0.5, rel=0.25)
        assert low < value < high
    assert found == intervals.halved(values, means, 400, 600, seed=3) != intervals.halved(values, means, 400, 600, 4)


def test_the_percentile_interval_of_a_mean_is_nearly_the_textbooks_and_seeded():
    x = numbers(300)
    low, high = found = intervals.percentile(lambda each: each.mean(-1), [x], seed=3)
    assert (high - low) / 2 == pytest.approx(1.96 * x.std().item() / 300**0.5, rel=0.1)
    assert low < x.mean() < high
    assert found == intervals.percentile(lambda each: each.mean(-1), [x], seed=3)


@pytest.fixture(scope="module")
def repeated():
    """Sixty scores of the same two sources, each from a draw of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores, "KID_SUBSETS", 10)
        patch.setattr(intervals, "HALVES", 60)
        return [score(drawn(150, 2 * k, shift=0.4), drawn(130, 2 * k + 1), metric_name="FID") for k in range(60)]


@pytest.mark.parametrize(
    "key", ["frechet", "frechet_infinity", "kid", "precision", "recall", "density", "coverage", "inception_score"]
)
def test_an_interval_is_as_wide_as_repeated_draws_spread(repeated, key):
    values = torch.tensor([metrics[key]["value"] for metrics in repeated], dtype=torch.float64)
    ends = torch.tensor([metrics[key]["interval"] for metrics in repeated], dtype=torch.float64)
    assert ((ends[:, 1] - ends[:, 0]) / (2 * 1.96)).mean() == pytest.approx(values.std().item(), rel=0.3)
    inside = ((ends[:, 0] <= values.mean()) & (values.mean() <= ends[:, 1])).double().mean()
    assert inside >= 0.85


def test_the_plain_bootstrap_would_miss_the_distance_it_is_of():
    """What is not done: copies of images shrink the covariance, and every resample lies farther away."""
    a, b = (drawn(60, seed).pool for seed in (0, 1))
    rng = torch.Generator().manual_seed(0)

    def resampled(pool):
        return frechet.fit(pool[torch.randint(len(pool), (len(pool),), generator=rng)])

    value = frechet.distance(frechet.fit(a), frechet.fit(b))
    again = torch.tensor([frechet.distance(resampled(a), resampled(b)) for _ in range(200)], dtype=torch.float64)
    assert again.quantile(0.025) > value
    low, high = intervals.smooth(value, *frechet.influence(frechet.fit(a), frechet.fit(b)))
    assert low < value < high


def test_what_an_image_contributes_to_the_kernel_distance_is_the_derivative_to_its_weight():
    x, y = drawn(30, 0).pool.double(), drawn(40, 1, shift=0.4).pool.double()

    def cubic(a, b):
        return (a @ b.T / DIM + 1) ** 3

    def weighted(weights):
        pairs = weights[:, None] * weights * (1 - torch.eye(30))
        return ((pairs * cubic(x, x)).sum() * 30 / 29 - 2 * weights @ cubic(x, y).mean(1)).item()

    found, step = kernel_influence(x, y), 1e-6
    uniform = torch.full((30,), 1 / 30, dtype=torch.float64)
    for k in (0, 11):
        towards = torch.eye(30, dtype=torch.float64)[k] - uniform
        slope = (weighted(uniform + step * towards) - weighted(uniform - step * towards)) / (2 * step)
        assert (found[k] - found.mean()).item() == pytest.approx(slope, rel=1e-6)


def test_few_images_have_no_intervals():
    metrics = score(drawn(7, 0), drawn(9, 1), metric_name="FID")
    assert "frechet_infinity" not in metrics and all("interval" not in metric for metric in metrics.values())
    metrics = score(drawn(8, 0), drawn(9, 1), metric_name="FID")
    assert all(len(metric["interval"]) == 2 for metric in metrics.values()) and "frechet_infinity" in metrics


def test_shares_stay_between_zero_and_one():
    metrics = score(drawn(40, 0), drawn(50, 0), metric_name="FID")
    for key in ("precision", "recall", "coverage"):
        low, high = metrics[key]["interval"]
        assert 0 <= low <= metrics[key]["value"] <= high <= 1
