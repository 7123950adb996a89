"""Log-density of a diffusion model by its probability-flow ODE (Song et al. 2021, section 4.3 and appendix D.2).

All paths meet in one: with noise level r = sigma / alpha, y = x_t / sqrt(alpha^2 + sigma^2) has the variance-preserving
alpha = 1 / sqrt(1 + r^2). In u = log r, where both ends are flat, the ODE is

    dy/du = alpha (alpha y - x0(y, u)),    d log p(y) / du = - div of it,

and at the high end y is standard normal.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from genvision.probability.gaussian import LOG_TWO_PI
from genvision.probability.path import HIGHEST, LOWEST


def log_density(
    x: Tensor, denoise: Callable[[Tensor, Tensor], Tensor], probes: Tensor, steps: int, lowest: float = LOWEST
) -> Tensor:
    """(B,) nats: the model's log-density of images x (B,C,H,W) under the noise of level `lowest`.

    denoise  (x + r eps, r (B,)) -> the image it stands for, differentiable in its first argument
    probes   (P,B,C,H,W) of zero mean and unit covariance: the divergence is the mean of v J v over them (Hutchinson)
    steps    of Heun's method, each two calls of `denoise`; the error falls with their square
    """

    def slope_divergence(y: Tensor, u: float) -> tuple[Tensor, Tensor]:
        level = math.exp(u)
        alpha = (1 + level**2) ** -0.5
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            slope = alpha * (alpha * y - denoise(y / alpha, y.new_full((len(y),), level)))
            products = [torch.autograd.grad((slope * v).sum(), y, retain_graph=True)[0] * v for v in probes]
        return slope.detach(), torch.stack(products).mean(0).flatten(1).double().sum(1)

    times = torch.linspace(math.log(lowest), math.log(HIGHEST), steps + 1, dtype=torch.float64).tolist()
    scale = (1 + lowest**2) ** -0.5
    y, growth = scale * x, torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for u, next_u in itertools.pairwise(times):
        h = next_u - u
        slope, divergence = slope_divergence(y, u)
        slope_there, divergence_there = slope_divergence(y + h * slope, next_u)
        y = y + h / 2 * (slope + slope_there)
        growth = growth + h / 2 * (divergence + divergence_there)
    dims = x[0].numel()
    prior = -0.5 * (y.double().square().flatten(1).sum(1) + dims * LOG_TWO_PI)
    return prior + growth + dims * math.log(scale)
