"""The Fréchet term: torch-fidelity, closed forms, plain linear algebra and finite differences are its oracles."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch_fidelity import metric_fid

from genvision.evaluation.features import BUNDLED
from genvision.evaluation.frechet import distance, fit, influence


def features(n: int, dim: int = 40, seed: int = 0, shift: float = 0.0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    mix = torch.randn(dim, dim, generator=rng, dtype=torch.float64) / dim**0.5
    return ((torch.randn(n, dim, generator=rng, dtype=torch.float64) + shift) @ mix).relu()


def theirs(a: torch.Tensor, b: torch.Tensor) -> float:
    """torch-fidelity's, in float64: of float32 features it would take the mean in float32."""
    statistics = [metric_fid.fid_features_to_statistics(x) for x in (a, b)]
    return metric_fid.fid_statistics_to_metric(*statistics, verbose=False)[metric_fid.KEY_METRIC_FID]


@pytest.mark.parametrize(("n", "m", "dim"), [(41, 60, 40), (300, 200, 40), (900, 800, 256)])
def test_more_images_than_features_agree_with_torch_fidelity_to_1e_9(n, m, dim):
    a, b = features(n, dim), features(m, dim, seed=1, shift=0.3)
    assert distance(fit(a), fit(b)) == pytest.approx(theirs(a, b), rel=1e-9)


def test_real_features_of_which_some_hardly_fire_agree_with_torch_fidelity_to_1e_9():
    """Their smallest eigenvalues are 1e-10 of the largest and count: to cut them off as noise costs 4e-6."""
    (file,) = BUNDLED.glob("*.safetensors")
    real = load_file(file)["pool"].double()
    other = 0.7 * real + 0.3 * real.roll(1, 0) + 0.05 * features(len(real), real.shape[1])
    assert len(real) > real.shape[1]
    assert distance(fit(other), fit(real)) == pytest.approx(theirs(other, real), rel=1e-9)


@pytest.mark.parametrize(
    ("n", "dim"),
    [
        (4096, 512),
        pytest.param(5000, 2048, marks=pytest.mark.slow),
        pytest.param(50_000, 64, marks=pytest.mark.slow),
    ],
)
def test_as_many_images_and_features_as_in_practice_agree_with_torch_fidelity_to_1e_9(n, dim):
    a, b = features(n, dim), features(n, dim, seed=1, shift=0.1)
    assert distance(fit(a), fit(b)) == pytest.approx(theirs(a, b), rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(30, 25), (40, 40), (20, 100), (100, 20)])
def test_no_more_images_than_features_agree_with_the_whole_cross_gram_to_1e_9(n, m):
    a, b = features(n), features(m, seed=1, shift=0.3)
    x, y = ((p - p.mean(0)) / (len(p) - 1) ** 0.5 for p in (a, b))
    norm = torch.linalg.matrix_norm(x @ y.T, "nuc")
    expected = (a.mean(0) - b.mean(0)).square().sum() + x.square().sum() + y.square().sum() - 2 * norm
    assert distance(fit(a), fit(b)) == pytest.approx(expected.item(), rel=1e-9)
    assert distance(fit(a), fit(b)) == pytest.approx(theirs(a, b), rel=1e-5)  # its zero eigenvalues are noise


@pytest.mark.parametrize("n", [12, 40, 400])
def test_a_scaled_and_shifted_copy_is_a_closed_form_at_every_rank(n):
    a = features(n)
    trace = a.var(0).sum()
    b = (a - a.mean(0)) * 0.7 + a.mean(0) + 0.25
    assert distance(fit(a), fit(b)) == pytest.approx((0.09 * trace + 40 * 0.25**2).item(), rel=1e-9)


@pytest.mark.parametrize("n", [30, 300])
def test_a_set_with_itself_is_zero_and_never_below(n):
    assert 0 <= distance(fit(features(n)), fit(features(n))) < 1e-9


def test_features_that_never_fire_change_nothing():
    a, b = features(300), features(200, seed=1)
    dead = [torch.cat([x, torch.zeros(len(x), 30, dtype=torch.float64)], 1) for x in (a, b)]
    assert distance(*map(fit, dead)) == pytest.approx(distance(fit(a), fit(b)), rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(90, 70), (25, 30), (25, 70)])
def test_what_an_image_contributes_is_the_derivative_to_its_weight(n, m):
    a, b = features(n), features(m, seed=1, shift=0.3)
    found = influence(fit(a), fit(b))[0]

    def weighted(weights: torch.Tensor) -> float:
        mean = weights @ a
        x = (a - mean) * (weights * n / (n - 1)).sqrt()[:, None]
        other = fit(b)
        norm = torch.linalg.matrix_norm(x @ other.rows.T, "nuc")
        return ((mean - other.mean).square().sum() + x.square().sum() + other.rows.square().sum() - 2 * norm).item()

    step = 1e-6
    for k in (0, 7):
        ends = []
        for sign in (1, -1):
            weights = torch.full((n,), (1 - sign * step) / n, dtype=torch.float64)
            weights[k] += sign * step
            ends.append(weighted(weights))
        expected = (ends[0] - ends[1]) / (2 * step)
        assert (found[k] - found.mean()).item() == pytest.approx(expected, rel=1e-4)


def test_both_sides_contribute_alike():
    a, b = fit(features(60)), fit(features(80, seed=1))
    for one, other in zip(influence(a, b), reversed(influence(b, a)), strict=True):
        torch.testing.assert_close(one, other)
