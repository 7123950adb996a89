"""Log-densities by the probability-flow ODE: Gaussians in closed form, exact traces, every path, and the command."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch
from cells import Oracle, draw_of, make_cell, randomise, some_batch
from runs import fresh_launch, genvision, pictures, trained  # noqa: F401
from torch import Tensor
from torch.distributions import MultivariateNormal

from genvision import data, load
from genvision.families.objective import OBJECTIVES
from genvision.probability.ode import log_density
from genvision.probability.path import HIGHEST, LOWEST
from genvision.probability.randomness import Stream, uniform
from genvision.probability.units import to_pixels
from genvision.spec import Batch, Draw, ImageSpec

SHAPE, DIMS = (1, 2, 2), 4
TARGETS = [(path, prediction) for path, valid in OBJECTIVES.items() for prediction in valid.prediction]


def some_covariance() -> Tensor:
    """Of four correlated pixels, deviations of 0.05 to 0.5."""
    generator = torch.Generator().manual_seed(3)
    turn = torch.linalg.qr(torch.randn(DIMS, DIMS, generator=generator, dtype=torch.float64))[0]
    return turn @ torch.diag(torch.tensor([0.05, 0.1, 0.3, 0.5], dtype=torch.float64) ** 2) @ turn.T


MEAN, COVARIANCE = torch.tensor([-0.2, 0.1, 0.4, 0.0], dtype=torch.float64), some_covariance()


def gaussian_denoiser(x: Tensor, level: Tensor) -> Tensor:
    """E[x0 | x0 + r eps] of the correlated Gaussian."""
    noisy = COVARIANCE + level[0] ** 2 * torch.eye(DIMS)
    return (MEAN + (x.flatten(1) - MEAN) @ torch.linalg.solve(noisy, COVARIANCE)).view_as(x)


def curved_denoiser(x: Tensor, level: Tensor) -> Tensor:
    """No Gaussian's: every pixel bends with every other one, less so under more noise."""
    mixed = x.flatten(1) @ torch.linspace(-1, 1, DIMS**2, dtype=torch.float64).view(DIMS, DIMS)
    return (torch.tanh(mixed + 0.3 * x.flatten(1).sin()) / (1 + level[0])).view_as(x)


def some_gaussian(n: int) -> Tensor:
    eps = torch.randn(n, DIMS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (MEAN + eps @ torch.linalg.cholesky(COVARIANCE).T).view(n, *SHAPE)


def basis(n: int) -> Tensor:
    """(D,n,C,H,W) probes that give the exact trace: sqrt(D) times each unit vector."""
    return math.sqrt(DIMS) * torch.eye(DIMS, dtype=torch.float64).view(DIMS, 1, *SHAPE).expand(-1, n, -1, -1, -1)


def signs(n_probes: int, n: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 2, (n_probes, n, *SHAPE), generator=generator).double() * 2 - 1


def test_a_gaussian_s_density_is_reached_with_the_square_of_the_steps() -> None:
    """Images of the Gaussian under noise of the lowest level: their density is known."""
    x = some_gaussian(50)
    exact, smooth = (
        MultivariateNormal(MEAN, COVARIANCE + lowest**2 * torch.eye(DIMS)).log_prob(x.flatten(1))
        for lowest in (LOWEST, 0.3)
    )
    errors = [
        (log_density(x, gaussian_denoiser, basis(50), n) - exact).abs().mean().item() / DIMS for n in (16, 32, 64)
    ]
    assert errors[0] > 2.5 * errors[1] > 2.5**2 * errors[2]
    assert errors[2] < 0.01  # nats per dimension
    assert (log_density(x, gaussian_denoiser, basis(50), 64, 0.3) - smooth).abs().mean() / DIMS < 0.01
    # what no number of steps mends: under noise of level 80 the prior takes an image's mean for 0
    assert (log_density(x, gaussian_denoiser, basis(50), 200) - exact).abs().max() / DIMS < 5e-3


def heun_by_hand(x: Tensor, steps: int) -> Tensor:
    """The density under `curved_denoiser` with the trace of the whole Jacobian of each image."""
    u = torch.linspace(math.log(LOWEST), math.log(HIGHEST), steps + 1, dtype=torch.float64)

    def slope(y: Tensor, u: Tensor) -> Tensor:
        alpha = 1 / torch.sqrt(1 + torch.exp(2 * u))
        return alpha * (alpha * y - curved_denoiser(y / alpha, torch.exp(u).expand(len(y))))

    def trace(y: Tensor, u: Tensor) -> Tensor:
        jacobians = [torch.autograd.functional.jacobian(lambda one: slope(one[None], u)[0], image) for image in y]
        return torch.stack([j.reshape(DIMS, DIMS).trace() for j in jacobians])

    y, growth = x / math.sqrt(1 + LOWEST**2), 0.0
    for a, b in itertools.pairwise(u):
        ahead = y + (b - a) * slope(y, a)
        growth = growth + (b - a) / 2 * (trace(y, a) + trace(ahead, b))
        y = y + (b - a) / 2 * (slope(y, a) + slope(ahead, b))
    normal = -0.5 * (y**2 + math.log(2 * math.pi)).flatten(1).sum(1)
    return normal + growth - DIMS / 2 * math.log(1 + LOWEST**2)


def test_hutchinson_s_trace_is_unbiased_and_exact_on_a_basis() -> None:
    x, steps = some_gaussian(2), 6
    exact = heun_by_hand(x, steps)
    torch.testing.assert_close(log_density(x, curved_denoiser, basis(2), steps), exact)
    n = 200
    single = log_density(x.repeat_interleave(n, 0), curved_denoiser, signs(1, 2 * n), steps).view(2, n)
    assert ((single.mean(1) - exact).abs() < 4 * single.std(1) / n**0.5).all() and (single.std(1) > 0.1).all()
    many = log_density(x, curved_denoiser, signs(n, 2), steps)
    assert ((many - exact).abs() < 4 * single.std(1) / n**0.5).all()


def some_cell(path: str, prediction: str, spec: ImageSpec, mean: float = 0.1, std: float = 0.2):
    cell = make_cell("diffusion", ("vit",), spec, path=path, prediction=prediction, times="log_normal")
    cell.denoiser = Oracle(cell, mean, std)
    return cell


@pytest.mark.parametrize(("path", "prediction"), TARGETS)
def test_the_likelihood_of_gaussian_pixels_on_every_path(path, prediction) -> None:
    """P(pixel) is its density times the width of its bin, 2 / 15 at 16 levels, at a uniform point of the bin, of each
    image its own. Callers hold no gradients."""
    spec, n, mean, std = ImageSpec(1, 4, 4, levels=16), 6, 0.1, 0.2
    cell = some_cell(path, prediction, spec, mean, std)
    x = mean + std * torch.randn(n, *spec.shape, generator=torch.Generator().manual_seed(2))
    images, draw = to_pixels(x, spec.levels), draw_of(n, seed=4)
    with torch.no_grad():
        nats = cell.log_prob(Batch(images), draw)
        bits = cell.bits_per_dim(Batch(images), draw)
    inside = uniform(draw, Stream.DEQUANTISE, *spec.shape).double()
    z = ((images + inside - 0.5) * 2 / 15 - 1 - mean) / math.sqrt(std**2 + LOWEST**2)
    log_p = -0.5 * (z**2 + math.log(2 * math.pi * (std**2 + LOWEST**2))) + math.log(2 / 15)
    expected = log_p.flatten(1).sum(1)
    assert not nats.requires_grad and all(p.grad is None for p in cell.parameters())
    torch.testing.assert_close(nats.double(), expected, rtol=0, atol=0.02 * spec.dims)
    torch.testing.assert_close(bits, -nats / (math.log(2) * spec.dims))


def test_a_value_depends_on_its_image_and_slot_and_the_options_alone() -> None:
    spec = ImageSpec(1, 4, 4, classes=3)
    cell = randomise(make_cell("diffusion", ("vit",), spec), 0.2).eval()
    batch, options = some_batch(3, spec), {"steps": 4, "probes": 2}
    whole = cell.log_prob(batch, draw_of(3), **options)
    for k in range(3):
        one = Batch(batch.images[k : k + 1], batch.labels[k : k + 1])
        alone = cell.log_prob(one, Draw(0, 0, torch.tensor([k])), **options)
        torch.testing.assert_close(alone, whole[k : k + 1], rtol=1e-5, atol=1e-4)
    for changed in (
        cell.log_prob(batch, draw_of(3, seed=1), **options),
        cell.log_prob(batch._replace(labels=(batch.labels + 1) % 3), draw_of(3), **options),
        cell.log_prob(batch, draw_of(3), steps=4, probes=1),
        cell.log_prob(batch, draw_of(3), steps=5, probes=2),
    ):
        assert not torch.isclose(changed, whole, rtol=1e-4).any()


def test_nll_of_a_diffusion_run_is_an_estimate_that_names_its_steps_and_probes(trained, tmp_path) -> None:
    folder = trained("diffusion")
    assert json.loads(folder.result.read_text())["bits_per_dim"] is None  # a run itself makes none
    words = ("nll", folder.path, "--num-images", 3)
    said = genvision(*words, "--steps", 3, "--probes", 2, "--json", tmp_path / "a.json")
    assert said.code == 0, said.err
    found = json.loads((tmp_path / "a.json").read_text())
    about = {"kind": "estimate", "num_images": 3, "steps": 3, "probes": 2, "split": "test", "data": "folder"}
    assert {name: found[name] for name in about} == about and math.isfinite(found["value"])
    assert said.out == f"{found['value']:.4f} bits/dim (estimate, steps=3, probes=2), 3 images of folder:test\n"
    family, test = load(folder.path).generator, data.load(folder.read_config().data, "test")
    batch = Batch(test.images[:3], test.labels[:3])
    by_hand = family.bits_per_dim(batch, draw_of(3), steps=3, probes=2).mean().item()
    assert found["value"] == pytest.approx(by_hand, rel=1e-5)


def test_options_of_an_estimate_mean_nothing_to_an_exact_likelihood(trained) -> None:
    said = genvision("nll", trained("vae").path, "--probes", 2)
    assert said.code == 2 and "--probes means nothing to the bits/dim of family=vae; leave it out" in said.error
