"""Paths: what is predicted and what it stands for, both ways; ends; diffusers' table; a scheduler's sigmas and back."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from cells import PATHS
from diffusers import DDPMScheduler, EDMEulerScheduler

from genvision.families.objective import OBJECTIVES
from genvision.probability.path import HIGHEST, LOWEST, LinearPath, make_path

ANYWHERE = ("x0", "epsilon", "v", "velocity")
PREDICTIONS = [
    *((path, prediction) for path in PATHS.values() for prediction in ANYWHERE),
    (PATHS["edm"], "preconditioned"),
]
ENDS = {name: torch.tensor([0.0, HIGHEST if name == "edm" else 1.0]) for name in PATHS}
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
    for given, wanted in itertools.permutations(ANYWHERE, 2):
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
    expected = {"x0": x0, "epsilon": noise, "v": alpha * noise - sigma * x0, "velocity": noise - x0}
    data2, norm2 = PATHS["edm"].sigma_data ** 2, sigma**2 + PATHS["edm"].sigma_data ** 2
    expected["preconditioned"] = (x0 - data2 / norm2 * xt) / (sigma * (data2 / norm2) ** 0.5)
    torch.testing.assert_close(target, expected[prediction], rtol=0, atol=1e-9)


def slope(path) -> torch.Tensor:
    """d xt / dt by central differences."""
    x0, eps = point()
    return (path.at(x0, eps, TIMES + 1e-6, "x0").xt - path.at(x0, eps, TIMES - 1e-6, "x0").xt) / 2e-6


def test_velocity_is_the_slope_of_the_flow_path() -> None:
    target = PATHS["flow"].at(*point(), TIMES, "velocity").target
    torch.testing.assert_close(slope(PATHS["flow"]), target, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("name", "rtol"), [("cosine", 1e-4), ("linear", 1e-3)])
def test_v_is_the_direction_of_a_variance_preserving_path(name, rtol) -> None:
    """alpha and sigma are a cosine and a sine, so that d xt / dt is v times the speed of their angle."""
    speeds = (slope(PATHS[name]) / PATHS[name].at(*point(), TIMES, "v").target).flatten(1)
    assert (speeds > 0).all()
    torch.testing.assert_close(speeds, speeds.median(1, keepdim=True)[0].expand_as(speeds), rtol=rtol, atol=0)


def test_epsilon_is_the_slope_of_the_edm_path() -> None:
    torch.testing.assert_close(slope(PATHS["edm"]), point()[1], rtol=0, atol=1e-7)


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


def test_the_linear_path_is_diffusers_table() -> None:
    table = DDPMScheduler(beta_schedule="linear", beta_start=1e-4, beta_end=0.02).alphas_cumprod.double()
    t = (torch.arange(1000, dtype=torch.float64) + 1) / 1000
    alpha, sigma = PATHS["linear"].alpha_sigma(t)
    torch.testing.assert_close(alpha, table.sqrt(), rtol=1e-4, atol=0)
    torch.testing.assert_close(sigma, (1 - table).sqrt(), rtol=1e-3, atol=0)
    between, _ = PATHS["linear"].alpha_sigma((t[1:] + t[:-1]) / 2)
    torch.testing.assert_close(between**2, alpha[1:] * alpha[:-1], rtol=1e-9, atol=0)
    assert PATHS["linear"].alpha_sigma(torch.zeros(1))[0].item() == 1


def test_both_tables_are_products_of_the_papers_betas_in_float64() -> None:
    """Ho et al. 2020, section 4, and Nichol & Dhariwal 2021, equation 17, whose beta ends at 0.999."""
    t = torch.arange(1001, dtype=torch.float64) / 1000
    f = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    betas = {
        "cosine": (1 - f[1:] / f[:-1]).clamp(max=0.999),
        "linear": torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64),
    }
    for name, beta in betas.items():
        alpha2 = (1 - beta).cumprod(0)
        alpha, sigma = PATHS[name].alpha_sigma(t[1:])
        torch.testing.assert_close(alpha, alpha2.sqrt(), rtol=0, atol=1e-7)
        torch.testing.assert_close(sigma, (1 - alpha2).sqrt(), rtol=0, atol=1e-7)
        torch.testing.assert_close(alpha[:-1], alpha2[:-1].sqrt(), rtol=1e-7, atol=0)  # the last is 5e-5


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_variance_is_preserved_and_small_noise_is_exact_in_single_precision(name) -> None:
    path, t = PATHS[name], torch.tensor([1e-5, 1e-4, 1e-3, 1e-2, 0.3, 0.99, 1.0])
    alpha, sigma = (c.double() for c in path.alpha_sigma(t))
    exact = path.alpha_sigma(t.double())
    torch.testing.assert_close(alpha, exact[0], rtol=1e-3, atol=0)  # where alpha is next to nothing
    torch.testing.assert_close(sigma, exact[1], rtol=1e-6, atol=0)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(alpha), rtol=0, atol=1e-6)


@pytest.mark.parametrize("sigma_data", [0.5, 1.3])
def test_edm_preconditioning_is_diffusers(sigma_data) -> None:
    """What the denoiser is fed, and the image that its output stands for, at noise levels over the whole range."""
    path, theirs = make_path("edm", sigma_data), EDMEulerScheduler(sigma_data=sigma_data)
    sigma = torch.logspace(-2.7, 1.9, len(TIMES), dtype=torch.float64)
    x0, eps = point()
    xt, _ = path.at(x0, eps, sigma, "x0")
    per_image = sigma.view(-1, 1, 1, 1)
    torch.testing.assert_close(path.fed_image(xt, sigma), theirs.precondition_inputs(xt, per_image))
    denoised = theirs.precondition_outputs(xt, eps, per_image)
    torch.testing.assert_close(path.x0_eps(xt, eps, sigma, "preconditioned")[0], denoised)
    c_skip, c_out = (c.view(-1, 1, 1, 1) for c in path.skip_out(sigma, "preconditioned"))
    torch.testing.assert_close(c_skip * xt + c_out * eps, denoised)
    c_noise = theirs.precondition_noise(torch.tensor([LOWEST, *sigma, HIGHEST], dtype=torch.float64))
    share = (c_noise[1:-1] - c_noise[0]) / (c_noise[-1] - c_noise[0])
    torch.testing.assert_close(path.fed_time(sigma), 1000 * share)


def test_edm_feeds_and_asks_for_unit_variance() -> None:
    """Equations 117 and 131 of Karras et al. 2022: data of deviation sigma_data, any noise level."""
    path, n = make_path("edm", 0.7), 20_000
    generator = torch.Generator().manual_seed(1)
    x0, eps = torch.randn(2, n, 1, 1, 1, generator=generator)
    for sigma in (0.01, 0.7, 30.0):
        t = torch.full((n,), sigma)
        xt, target = path.at(0.7 * x0, eps, t, "preconditioned")
        assert path.fed_image(xt, t).std().item() == pytest.approx(1, abs=0.02)
        assert target.std().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("name", PATHS)
def test_time_of_a_noise_level_is_the_inverse(name) -> None:
    path, t = PATHS[name], torch.linspace(0.001, 0.9999, 200, dtype=torch.float64)
    alpha, sigma = path.alpha_sigma(t)
    torch.testing.assert_close(path.time_of_level(sigma / alpha), t, rtol=0, atol=1e-9)
    single = path.time_of_level((sigma / alpha).float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), t, rtol=0, atol=1e-6)
    of_sigma = sigma if name == "flow" else sigma / alpha  # a scheduler's own convention
    torch.testing.assert_close(path.time_of_sigma(of_sigma), t, rtol=0, atol=1e-9)


@pytest.mark.parametrize("path", PATHS.values(), ids=lambda path: path.name)
def test_nothing_is_lost_to_infinity_at_the_ends(path) -> None:
    """At the end an epsilon says nothing about x0, at t = 0 an x0 nothing about epsilon: finite all the same."""
    x0, eps = (z[:2].float() for z in point())
    for prediction in OBJECTIVES[path.name].prediction:
        xt, target = path.at(x0, eps, ENDS[path.name], prediction)
        assert all(z.isfinite().all() for z in path.x0_eps(xt, target, ENDS[path.name], prediction))


@pytest.mark.parametrize("name", PATHS)
def test_the_denoiser_is_fed_times_up_to_a_thousand_and_images_of_any_size(name) -> None:
    path, edm = PATHS[name], name == "edm"
    t = torch.tensor([LOWEST, 0.4, HIGHEST] if edm else [0.0, 0.5, 1.0])
    torch.testing.assert_close(path.fed_time(t), torch.tensor([0.0, 500.0, 1000.0]), rtol=0, atol=0.01)
    x = torch.randn(3, 2, 4, 4)
    assert torch.equal(path.fed_image(x, t), x) != edm


def test_a_path_travels_with_its_family_to_any_device() -> None:
    """Costs are counted on the meta device; the table of the linear path follows, whoever asked for it first."""
    path = LinearPath()
    assert path.alpha_sigma(torch.zeros(2, device="meta"))[0].is_meta
    assert path.time_of_level(torch.ones(2, device="meta")).is_meta
    with torch.device("meta"):
        assert LinearPath().log_alpha2.device.type == "cpu"
