"""Paths: what is predicted and what it stands for, both ways; ends; diffusers' table; a scheduler's sigmas and back."""

from __future__ import annotations

import itertools

import pytest
import torch
from diffusers import DDPMScheduler

from genvision.probability.path import PATHS

PREDICTIONS = [(path, prediction) for path in PATHS.values() for prediction in ("x0", "epsilon", "v", "velocity")]
TIMES = torch.linspace(0.02, 0.98, 25, dtype=torch.float64)


def point(n: int = len(TIMES)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, n, 2, 3, 3, generator=generator, dtype=torch.float64).unbind()


@pytest.mark.parametrize(("path", "prediction"), PREDICTIONS, ids=lambda v: getattr(v, "name", v))
def test_image_and_noise_come_back_from_every_target(path, prediction) -> None:
    x0, eps = point()
    xt, target = path.at(x0, eps, TIMES, prediction)
    found_x0, found_eps = path.x0_eps(xt, target, TIMES, prediction)
    torch.testing.assert_close(found_x0, x0, rtol=0, atol=1e-10)
    torch.testing.assert_close(found_eps, eps, rtol=0, atol=1e-10)


@pytest.mark.parametrize("path", PATHS.values(), ids=lambda path: path.name)
def test_every_prediction_turns_into_every_other(path) -> None:
    x0, eps = point()
    for given, wanted in itertools.permutations(("x0", "epsilon", "v", "velocity"), 2):
        xt, output = path.at(x0, eps, TIMES, given)
        again = path.at(*path.x0_eps(xt, output, TIMES, given), TIMES, wanted)
        torch.testing.assert_close(again.xt, xt, rtol=0, atol=1e-10)
        torch.testing.assert_close(again.target, path.at(x0, eps, TIMES, wanted).target, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("path", "prediction"), PREDICTIONS, ids=lambda v: getattr(v, "name", v))
def test_point_and_target_are_of_one_noise(path, prediction) -> None:
    """The definition of each target, from the very xt it is returned with."""
    x0, eps = point()
    xt, target = path.at(x0, eps, TIMES, prediction)
    alpha, sigma = (c.view(-1, 1, 1, 1) for c in path.alpha_sigma(TIMES))
    noise = (xt - alpha * x0) / sigma
    expected = {"x0": x0, "epsilon": noise, "v": alpha * noise - sigma * x0, "velocity": noise - x0}[prediction]
    torch.testing.assert_close(target, expected, rtol=0, atol=1e-9)


def slope(path) -> torch.Tensor:
    """d xt / dt by central differences."""
    x0, eps = point()
    return (path.at(x0, eps, TIMES + 1e-6, "x0").xt - path.at(x0, eps, TIMES - 1e-6, "x0").xt) / 2e-6


def test_velocity_is_the_slope_of_the_flow_path() -> None:
    target = PATHS["flow"].at(*point(), TIMES, "velocity").target
    torch.testing.assert_close(slope(PATHS["flow"]), target, rtol=0, atol=1e-7)


def test_v_is_the_direction_of_the_cosine_path() -> None:
    """alpha and sigma are a cosine and a sine, so that d xt / dt is v times the speed of their angle."""
    speeds = (slope(PATHS["cosine"]) / PATHS["cosine"].at(*point(), TIMES, "v").target).flatten(1)
    assert (speeds > 0).all()
    torch.testing.assert_close(speeds, speeds.median(1, keepdim=True)[0].expand_as(speeds), rtol=1e-4, atol=0)


def test_ends_of_the_flow_path() -> None:
    alpha, sigma = PATHS["flow"].alpha_sigma(torch.tensor([0.0, 0.25, 1.0]))
    assert alpha.tolist() == [1, 0.75, 0]
    assert sigma.tolist() == [0, 0.25, 1]


def test_ends_of_the_cosine_path_and_its_unit_variance() -> None:
    path = PATHS["cosine"]
    alpha, sigma = path.alpha_sigma(torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert alpha.tolist() == pytest.approx([1, path.floor])
    assert sigma.tolist() == pytest.approx([0, 1], abs=1e-6)
    alpha, sigma = path.alpha_sigma(TIMES)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(TIMES))
    assert (alpha.diff() < 0).all()


def test_the_cosine_path_is_diffusers_table() -> None:
    """Step i of their table is t = (i + 1) / 1000; the last entry, where their beta is capped, is our floor."""
    table = DDPMScheduler(beta_schedule="squaredcos_cap_v2").alphas_cumprod.double()
    alpha, sigma = PATHS["cosine"].alpha_sigma((torch.arange(1000, dtype=torch.float64) + 1) / 1000)
    torch.testing.assert_close(alpha**2, table, rtol=0, atol=1e-5)
    # relatively too: where alpha is next to nothing, an absolute comparison says nothing
    torch.testing.assert_close(alpha, table.sqrt(), rtol=1e-4, atol=0)
    torch.testing.assert_close(sigma, (1 - table).sqrt(), rtol=1e-3, atol=1e-5)


def test_time_of_sigma_is_the_inverse() -> None:
    t = torch.linspace(0.001, 0.9999, 200, dtype=torch.float64)
    assert torch.equal(PATHS["flow"].time_of_sigma(PATHS["flow"].alpha_sigma(t)[1]), t)
    alpha, sigma = PATHS["cosine"].alpha_sigma(t)
    torch.testing.assert_close(PATHS["cosine"].time_of_sigma(sigma / alpha), t, rtol=0, atol=1e-9)


@pytest.mark.parametrize("path", PATHS.values(), ids=lambda path: path.name)
def test_nothing_is_lost_to_infinity_at_the_ends(path) -> None:
    """At t = 1 an epsilon says nothing about x0, at t = 0 an x0 nothing about epsilon: finite all the same."""
    x0, eps = (z[:2].float() for z in point())
    for prediction in path.predictions:
        xt, target = path.at(x0, eps, torch.tensor([0.0, 1.0]), prediction)
        assert all(z.isfinite().all() for z in path.x0_eps(xt, target, torch.tensor([0.0, 1.0]), prediction))


@pytest.mark.parametrize("path", PATHS.values(), ids=lambda path: path.name)
def test_the_denoiser_is_fed_times_up_to_a_thousand(path) -> None:
    assert path.fed_time(torch.tensor([0.0, 0.5, 1.0])).tolist() == [0, 500, 1000]
