"""Every scheduler on every path it serves: exact answers recovered, diffusers' steps taken, costs counted."""

from __future__ import annotations

import itertools
import re

import pytest
import torch
from cells import PATHS, Oracle, draw_of, gaussian_posterior, make_cell
from diffusers import DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from genvision.errors import ConfigError, NonFiniteError
from genvision.families.diffusion import solver_generators
from genvision.families.objective import OBJECTIVES
from genvision.families.schedulers import SCHEDULER_OUTPUT, SCHEDULERS, integrate, last, make_scheduler, path_times
from genvision.probability.path import HIGHEST, LOWEST
from genvision.probability.randomness import Stream, normal
from genvision.spec import Draw, ImageSpec

PAIRS = [(name, path) for name, paths in SCHEDULERS.items() for path in paths]
UNSERVED = [(name, path) for name in (*SCHEDULERS, "lms") for path in PATHS if (name, path) not in PAIRS]
DETERMINISTIC = [pair for pair in PAIRS if pair[0] != "ddpm"]
MEAN = torch.tensor([[[-0.5, 0.3], [0.0, 0.8]]])
STD = torch.tensor([[[0.2, 0.5], [0.1, 0.05]]])


def gaussian_denoiser(path, mean: Tensor = MEAN, std: Tensor = STD):
    """The best possible denoiser of images drawn from N(mean, std^2): the posterior mean, in closed form."""

    def denoise(xt: Tensor, t: Tensor) -> Tensor:
        x0, eps = gaussian_posterior(path, xt, t, mean.double(), std.double())
        return path.target(x0, eps, t.double(), SCHEDULER_OUTPUT[path.name]).to(xt.dtype)

    return denoise


def solve(*problem) -> Tensor:
    """Where a trajectory ends."""
    return last(integrate(*problem))


def noise_of(n: int) -> Tensor:
    return normal(draw_of(n), Stream.NOISE, 1, 2, 2)


def worst(name: str, path: str, steps: int) -> float:
    """Largest error of the solver's map from noise z to image, exactly mean + std z for this data (without noise)."""
    z = noise_of(64)
    x = solve(make_scheduler(name, PATHS[path], steps), PATHS[path], gaussian_denoiser(PATHS[path]), z, [])
    return ((x - (MEAN + STD * z)).abs() / (1 + z.abs())).max().item()


@pytest.mark.parametrize(("name", "path"), DETERMINISTIC)
def test_ode_solvers_recover_a_gaussian_pixel_by_pixel(name, path) -> None:
    first_order = name in ("euler", "ddim")
    assert worst(name, path, 50) < (0.03 if first_order else 0.02)
    assert worst(name, path, 200) < (0.008 if first_order else 0.006)


@pytest.mark.parametrize("path", PATHS)
def test_heun_converges_faster_than_euler(path) -> None:
    """Error against the solver's own limit over n and 2n steps: halved by Euler, quartered by Heun."""

    def end(name: str, steps: int) -> Tensor:
        z = noise_of(16)
        oracle = gaussian_denoiser(PATHS[path])
        return solve(make_scheduler(name, PATHS[path], steps), PATHS[path], oracle, z, [])

    for name, ratio in (("euler", 1.6), ("edm" if path == "edm" else "heun", 2.8)):
        limit = end(name, 400)
        errors = [(end(name, steps) - limit).abs().max().item() for steps in (20, 40)]
        assert errors[0] / errors[1] > ratio


@pytest.mark.parametrize(("name", "path"), PAIRS)
def test_samples_have_the_mean_and_deviation_of_the_data(name, path) -> None:
    n, steps = 2000, 100
    x = solve(
        make_scheduler(name, PATHS[path], steps),
        PATHS[path],
        gaussian_denoiser(PATHS[path]),
        noise_of(n),
        solver_generators(draw_of(n)) if name == "ddpm" else [],
    )
    assert ((x.mean(0) - MEAN).abs() < 4.5 * STD / n**0.5 + 0.005).all()
    # the variance of DDPM's steps is a lower bound (Ho et al. 2020, section 3.2), on steps as wide as these a loose one
    too_narrow = 0.03 if name == "ddpm" else 0.015
    assert ((x.std(0) - STD).abs() < 4.5 * STD / (2 * n) ** 0.5 + too_narrow).all()


@pytest.mark.parametrize(("name", "path"), PAIRS)
@pytest.mark.parametrize("steps", [1, 2, 7, 20])
def test_an_oracle_of_one_image_draws_that_image(name, path, steps) -> None:
    for scale in (1, 5):  # latents are as large as that: no scheduler may clip them
        image = scale * MEAN
        oracle = gaussian_denoiser(PATHS[path], image, torch.zeros_like(STD))
        solver = make_scheduler(name, PATHS[path], steps)
        x = solve(solver, PATHS[path], oracle, noise_of(3), solver_generators(draw_of(3)))
        # diffusers' DDIM ends at entry 0 of its table where steps do not divide 1000: a hundredth of the noise is left;
        # and one step over all of the cosine path divides the rounding of float32 by its last alpha, 5e-5
        bound = 0.03 if name == "ddim" and 1000 % steps else 5e-3 if (path, steps) == ("cosine", 1) else 1e-4
        assert (x - image).abs().max() < bound * scale


@pytest.mark.parametrize("steps", [999, 1000])
def test_unipc_takes_as_many_steps_as_its_table_has(steps) -> None:
    """Two of so many timesteps are equal as whole numbers, and diffusers began at the second of them."""
    path, z = PATHS["flow"], noise_of(3)
    x = solve(make_scheduler("unipc", path, steps), path, gaussian_denoiser(path), z, [])
    assert (x - (MEAN + STD * z)).abs().max() < 1e-3


@pytest.mark.parametrize(("name", "path"), PAIRS)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_one_call_that_is_not_finite_is_enough(name, path, value) -> None:
    """Black must not come out of it, whatever the network predicts and however good its other calls are."""
    for prediction in OBJECTIVES[path].prediction:
        times = OBJECTIVES[path].times[0]
        cell = make_cell("diffusion", ("vit",), ImageSpec(1, 2, 2), path=path, prediction=prediction, times=times)
        calls = cell.network_evaluations(steps=5, scheduler=name)
        for broken in {0, calls // 2, calls - 1}:
            cell.denoiser = BreaksOnce(cell, broken, value)
            with pytest.raises(NonFiniteError, match="diverged"):
                cell.sample(2, chunk_size=2, steps=5, scheduler=name)


class BreaksOnce(Oracle):
    """The best denoiser of one image, but one number of its call `broken` is `value`."""

    def __init__(self, cell, broken: int, value: float) -> None:
        super().__init__(cell, MEAN, 0.0)
        self.calls, self.broken, self.value = itertools.count(), broken, value

    def forward(self, fed: Tensor, fed_t: Tensor, y: Tensor | None = None) -> Tensor:
        output = super().forward(fed, fed_t, y)
        if next(self.calls) == self.broken:
            output[0, 0, 0, 0] = self.value
        return output


@pytest.mark.parametrize(("name", "path"), PAIRS)
def test_the_denoiser_is_fed_the_path_s_own_point(name, path) -> None:
    """At every call xt = alpha(t) x0 + sigma(t) eps for one x0 and eps: unscaled, in the path's convention."""
    calls, z, x0 = [], noise_of(2), MEAN.expand(2, -1, -1, -1)
    oracle = gaussian_denoiser(PATHS[path], std=torch.zeros_like(STD))

    def denoise(xt: Tensor, t: Tensor) -> Tensor:
        calls.append((xt, t))
        return oracle(xt, t)

    solve(make_scheduler(name, PATHS[path], 10), PATHS[path], denoise, z, solver_generators(draw_of(2)))
    assert all(t.shape == (2,) for _, t in calls)
    eps = None
    for xt, t in calls:
        alpha, sigma = (c.view(-1, 1, 1, 1) for c in PATHS[path].alpha_sigma(t.double()))
        noise = (xt - alpha * x0) / sigma
        if eps is None:
            eps = noise  # from pure noise, all of it z; at the end of the edm path an image of a hundredth is left
            torch.testing.assert_close(eps, z.double(), rtol=0, atol=0.05)
        elif name == "ddpm":  # fresh noise, of the right size
            assert noise.std() < 2
        else:
            torch.testing.assert_close(xt.double(), alpha * x0 + sigma * eps, rtol=0, atol=0.02)


@pytest.mark.parametrize(("name", "path"), PAIRS)
def test_times_fall_from_one_to_near_zero(name, path) -> None:
    t = path_times(make_scheduler(name, PATHS[path], 20), PATHS[path])
    if path == "edm":
        assert (t[0].item(), t[-1].item()) == pytest.approx((HIGHEST, LOWEST), rel=1e-4)
    else:
        assert (0.71 if path == "linear" and name == "heun" else 0.99) < t[0] <= 1
        assert 0 < t[-1] <= 0.06
    assert (t.diff() <= 0).all()


@pytest.mark.parametrize("scheduler", ["ddim", "ddpm", "euler"])
def test_cosine_trajectories_are_diffusers_by_hand(scheduler) -> None:
    kind = {"ddim": DDIMScheduler, "ddpm": DDPMScheduler, "euler": EulerDiscreteScheduler}[scheduler]
    options = {} if scheduler == "euler" else {"clip_sample": False}
    theirs = kind(beta_schedule="squaredcos_cap_v2", timestep_spacing="trailing", **options)
    theirs.set_timesteps(25)
    denoise, z = gaussian_denoiser(PATHS["cosine"]), noise_of(4)
    generator = {"generator": solver_generators(draw_of(4))} if scheduler == "ddpm" else {}
    x = z * theirs.init_noise_sigma
    for step in theirs.timesteps:
        t = ((step + 1) / 1000).expand(4)
        x = theirs.step(denoise(theirs.scale_model_input(x, step), t), step, x, **generator).prev_sample
    generators = solver_generators(draw_of(4))
    ours = solve(make_scheduler(scheduler, PATHS["cosine"], 25), PATHS["cosine"], denoise, z, generators)
    torch.testing.assert_close(ours, x, rtol=0, atol=2e-3)


def test_flow_trajectories_are_diffusers_by_hand_and_euler_by_formula() -> None:
    theirs, n = FlowMatchEulerDiscreteScheduler(1000), 10
    theirs.set_timesteps(sigmas=[1 - i / n for i in range(n)])
    denoise, z = gaussian_denoiser(PATHS["flow"]), noise_of(4)
    x, by_formula = z, z
    for i, step in enumerate(theirs.timesteps):
        x = theirs.step(denoise(x, (step / 1000).expand(4)), step, x).prev_sample
        by_formula = by_formula - denoise(by_formula, torch.full((4,), 1 - i / n)) / n
    ours = solve(make_scheduler("euler", PATHS["flow"], n), PATHS["flow"], denoise, z, [])
    torch.testing.assert_close(ours, x, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours, by_formula, rtol=0, atol=1e-5)


def test_edm_trajectories_are_algorithm_1_by_hand() -> None:
    """Karras et al. 2022, algorithm 1 over equation 5, on the closed-form denoiser in float64."""
    path, n, z = PATHS["edm"], 12, noise_of(4)
    ramp = torch.arange(n, dtype=torch.float64) / (n - 1)
    sigmas = (80 ** (1 / 7) + ramp * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7

    def slope(x: Tensor, sigma: Tensor) -> Tensor:
        return (x - gaussian_posterior(path, x, sigma.expand(4), MEAN.double(), STD.double())[0]) / sigma

    x = 80 * z.double()
    for i, sigma in enumerate(sigmas):
        d = slope(x, sigma)
        if i == n - 1:
            x = x - sigma * d
            break
        ahead = x + (sigmas[i + 1] - sigma) * d
        x = x + (sigmas[i + 1] - sigma) * (d + slope(ahead, sigmas[i + 1])) / 2
    ours = solve(make_scheduler("edm", path, n), path, gaussian_denoiser(path), z, [])
    torch.testing.assert_close(ours.double(), x, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("name", "path"), UNSERVED)
def test_a_scheduler_that_cannot_serve_names_those_that_can(name, path) -> None:
    cell = make_cell("diffusion", ("vit",), ImageSpec(1, 4, 4), path=path, prediction="x0", times="log_normal")
    serving = ", ".join(key for key, paths in SCHEDULERS.items() if path in paths)
    expected = f"scheduler={name} cannot serve family.path={path}; use one of {serving}"
    with pytest.raises(ConfigError, match=re.escape(expected) + "$"):
        cell.sample(1, scheduler=name)


@pytest.mark.parametrize("steps", [0, -3, 1001])
def test_impossible_numbers_of_steps_are_refused(steps) -> None:
    for name, path in PAIRS:
        with pytest.raises(ConfigError, match="from 1 to 1000"):
            make_scheduler(name, PATHS[path], steps)


@pytest.mark.parametrize(("name", "path"), PAIRS)
@pytest.mark.parametrize(("guidance", "classes", "passes"), [(1.0, 3, 1), (2.0, 3, 2), (1.0, 0, 1)])
def test_network_evaluations_are_the_rows_that_pass_through(name, path, guidance, classes, passes) -> None:
    cell = make_cell(
        "diffusion", ("vit",), ImageSpec(1, 4, 4, classes=classes), path=path, prediction="x0", times="log_normal"
    )
    rows = []
    cell.denoiser.register_forward_hook(lambda _, args, __: rows.append(len(args[0])))
    options = {"steps": 4, "scheduler": name, "guidance": guidance}
    cell.sample(2, chunk_size=2, **options)
    assert sum(rows) / 2 == cell.network_evaluations(**options)
    assert cell.network_evaluations(**options) == passes * (2 * 4 - 1 if name in ("heun", "edm") else 4)


def test_evaluations_of_the_other_families() -> None:
    assert make_cell("vae", ("vit", "vit"), ImageSpec(1, 4, 6)).network_evaluations() == 1
    cell = make_cell("autoregressive", ("vit",), ImageSpec(1, 2, 3))
    calls, step = [], cell.predictor.step
    cell.predictor.step = lambda *args: (calls.append(1), step(*args))[1]
    cell.sample(1, chunk_size=1)
    assert len(calls) == cell.network_evaluations() == 6


def test_ancestral_noise_of_an_image_ignores_its_neighbours() -> None:
    path, oracle = PATHS["cosine"], gaussian_denoiser(PATHS["cosine"])

    def draw(*slots: int, seed: int = 0) -> Tensor:
        which = Draw(seed, 0, torch.tensor(slots))
        z = normal(which, Stream.NOISE, 1, 2, 2)
        return solve(make_scheduler("ddpm", path, 10), path, oracle, z, solver_generators(which))

    images = draw(5, 9, 2)
    for row, slot in zip(images, (5, 9, 2), strict=True):
        torch.testing.assert_close(draw(slot)[0], row, rtol=0, atol=1e-5)
        assert not torch.allclose(draw(slot, seed=1)[0], row, atol=1e-2)
    first, again = (g.initial_seed() for g in (*solver_generators(draw_of(1)), *solver_generators(draw_of(1))))
    assert first == again


@pytest.mark.parametrize(("name", "path"), PAIRS)
def test_a_small_error_of_the_network_stays_small_whatever_it_predicts(name, path) -> None:
    """Witness of x0 = (xt - sigma eps) / alpha unclipped: near t = 1 an error grew 20,000 fold."""
    for prediction in OBJECTIVES[path].prediction:
        times = OBJECTIVES[path].times[0]
        cell = make_cell("diffusion", ("vit",), ImageSpec(1, 2, 2), path=path, prediction=prediction, times=times)
        cell.denoiser = Oracle(cell, MEAN, 0.0, error=0.05)
        images = cell.sample(4, chunk_size=4, steps=20, scheduler=name).float() / 127.5 - 1
        assert (images - MEAN).abs().max() < 0.25, prediction
