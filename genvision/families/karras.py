"""The sampler of Karras et al. 2022 that diffusers lacks: deterministic, second order, on the "edm" path."""

from __future__ import annotations

import torch
from torch import Tensor

from genvision.probability.path import HIGHEST, LOWEST, EDMPath


def karras_sigmas(steps: int, highest: float, lowest: float, rho: float = 7.0) -> Tensor:
    """(n,) float64 noise levels from highest to lowest, closer together at the low end (Karras et al. 2022, eq. 5)."""
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    return (highest ** (1 / rho) + ramp * (lowest ** (1 / rho) - highest ** (1 / rho))) ** rho


class EDMHeun:
    """Algorithm 1 of Karras et al. 2022 behind the interface of diffusers' schedulers.

    A step is two calls, an Euler step and its correction by the slope at its end; the last one, to zero noise, is one.
    It expects the preconditioned output.
    """

    init_noise_sigma = HIGHEST

    def __init__(self, path: EDMPath) -> None:
        self.path = path

    def set_timesteps(self, steps: int) -> None:
        """sigma_0, then each later one twice: where the network is called; then 0."""
        first, later = karras_sigmas(steps, HIGHEST, LOWEST).split([1, steps - 1])
        self.timesteps = torch.cat([first, later.repeat_interleave(2)])
        self.sigmas = torch.cat([self.timesteps, first.new_zeros(1)])
        self.calls = 0

    def step(self, output: Tensor, sigma: Tensor, x: Tensor, return_dict: bool = False) -> tuple[Tensor]:
        """From x (B,C,H,W) at the noise level sigma: the end of an Euler step, or of the step that it corrects."""
        _, slope = self.path.x0_eps(x, output, sigma.to(x).expand(len(x)), "preconditioned")
        self.calls += 1
        if self.calls % 2:
            self.start, self.slope, self.length = x, slope, (self.sigmas[self.calls] - sigma).item()
            return (x + self.length * slope,)
        return (self.start + self.length * (self.slope + slope) / 2,)
