"""Paths from an image to noise: x_t = alpha(t) x_0 + sigma(t) eps, and what a denoiser is fed and predicts on them.

A path owns its times: what the denoiser is fed, and how noise levels and a diffusers scheduler's sigmas map to t. It
owns the preconditioning too: a prediction is a pair (a, b) with target = a x_0 + b eps, so that the image it stands for
is x_0 = c_skip x_t + c_out output with c_skip = b / det, c_out = -sigma / det, det = alpha b - sigma a.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

TINY = 1e-8  # keeps a division by alpha at t = 1, or by sigma at t = 0, from being 0 / 0
LOWEST, HIGHEST = 0.002, 80.0  # noise levels between which everything happens (Karras et al. 2022, table 1)


class PathSample(NamedTuple):
    """A point of the path and what the denoiser has to predict there, made from one and the same noise."""

    xt: Tensor
    target: Tensor


class Path:
    """Base of the paths. Subclasses give alpha, sigma and the time of a noise level; t is (B,), 0 at the image."""

    name: str

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) -> alpha (B,), sigma (B,)."""
        raise NotImplementedError

    def time_of_level(self, level: Tensor) -> Tensor:
        """A noise level sigma / alpha, the deviation of the noise on the unscaled image -> t."""
        raise NotImplementedError

    def time_of_sigma(self, sigma: Tensor) -> Tensor:
        """A scheduler's sigma (in that scheduler's own convention for this path) -> t."""
        return self.time_of_level(sigma)

    def fed_time(self, t: Tensor) -> Tensor:
        """t -> what the denoiser's sinusoids expect, 0..1000."""
        return 1000 * t

    def fed_image(self, xt: Tensor, t: Tensor) -> Tensor:
        """xt -> what the denoiser is fed, of about unit variance."""
        return xt

    def coefficients(self, alpha: Tensor, sigma: Tensor, prediction: str) -> tuple[Tensor, Tensor]:
        """(a, b), each like alpha: the denoiser's target is a x0 + b eps."""
        zero, one = torch.zeros_like(alpha), torch.ones_like(alpha)
        known = {"x0": (one, zero), "epsilon": (zero, one), "v": (-sigma, alpha), "velocity": (-one, one)}
        return known[prediction]

    def at(self, x0: Tensor, eps: Tensor, t: Tensor, prediction: str) -> PathSample:
        """x0, eps (B,C,H,W), t (B,) -> the point at t and its target."""
        alpha, sigma = (_per_image(c) for c in self.alpha_sigma(t))
        return PathSample(alpha * x0 + sigma * eps, self.target(x0, eps, t, prediction))

    def target(self, x0: Tensor, eps: Tensor, t: Tensor, prediction: str) -> Tensor:
        """What a denoiser has to predict at t where the image is x0 and the noise eps."""
        alpha, sigma = (_per_image(c) for c in self.alpha_sigma(t))
        a, b = self.coefficients(alpha, sigma, prediction)
        return a * x0 + b * eps

    def x0_eps(self, xt: Tensor, output: Tensor, t: Tensor, prediction: str) -> tuple[Tensor, Tensor]:
        """The image and the noise that an output at (xt, t) stands for; the inverse of `at`."""
        alpha, sigma, a, b, det = (_per_image(c) for c in self._system(t, prediction))
        return (b * xt - sigma * output) / det, (alpha * output - a * xt) / det

    def skip_out(self, t: Tensor, prediction: str) -> tuple[Tensor, Tensor]:
        """(c_skip, c_out), each (B,): x0 = c_skip xt + c_out output. |c_out| is what an error of the output becomes."""
        _, sigma, _, b, det = self._system(t, prediction)
        return b / det, -sigma / det

    def eps_of_x0(self, xt: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """The noise (B,C,H,W) that makes xt out of the image x0 at times t (B,) > 0."""
        alpha, sigma = (_per_image(c) for c in self.alpha_sigma(t))
        return (xt - alpha * x0) / sigma.clamp(min=TINY)

    def _system(self, t: Tensor, prediction: str) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """alpha, sigma, a, b and the determinant alpha b - sigma a, none of it at a singular end."""
        alpha, sigma = (c.clamp(min=TINY) for c in self.alpha_sigma(t))
        a, b = self.coefficients(alpha, sigma, prediction)
        return alpha, sigma, a, b, alpha * b - sigma * a


class FlowPath(Path):
    """The straight path of flow matching (Lipman et al. 2023; Liu et al. 2023): alpha = 1 - t, sigma = t.

    A flow scheduler's sigma is t itself.
    """

    name = "flow"

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - t, t

    def time_of_level(self, level: Tensor) -> Tensor:
        return level / (1 + level)

    def time_of_sigma(self, sigma: Tensor) -> Tensor:
        return sigma


class CosinePath(Path):
    """The cosine variance-preserving path (Nichol & Dhariwal 2021, equation 17): alpha^2 = f(t) / f(0).

    f(t) = cos^2((t + s) / (1 + s) * pi / 2), s = 0.008. Step i of a table of 1000 is t = (i + 1) / 1000.
    """

    name = "cosine"
    offset = 0.008
    start = offset / (1 + offset) * (math.pi / 2)  # the angle at t = 0
    floor = 4.9282e-5  # alpha at t = 1, where the formula's 0 leaves no x0; the last entry of diffusers' table is this

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        start, turn = self.start, t / (1 + self.offset) * (math.pi / 2)
        alpha = (torch.cos(start + turn) / math.cos(start)).clamp(self.floor, 1.0)
        # 1 - alpha^2 by cos^2 a - cos^2 b = sin(b - a) sin(b + a): nothing cancels near t = 0
        return alpha, torch.sqrt(torch.sin(turn) * torch.sin(turn + 2 * start)) / math.cos(start)

    def time_of_level(self, level: Tensor) -> Tensor:
        alpha = torch.rsqrt(1 + level.double() ** 2)
        angle = torch.arccos((alpha * math.cos(self.start)).clamp(-1, 1))
        return ((angle - self.start) * (1 + self.offset) * 2 / math.pi).clamp(0, 1).to(level.dtype)


class LinearPath(Path):
    """The variance-preserving path of DDPM's linear betas (Ho et al. 2020, section 4): alpha^2 = prod (1 - beta).

    Step i of the table of 1000 is t = (i + 1) / 1000; between two steps, and before the first, log alpha^2 is linear.
    """

    name = "linear"
    first_beta, last_beta, n_steps = 1e-4, 0.02, 1000

    @cached_property
    def log_alpha2(self) -> Tensor:
        """(1001,) float64: log alpha^2 at t = 0, 1/1000, .., 1."""
        with torch.device("cpu"):
            betas = torch.linspace(self.first_beta, self.last_beta, self.n_steps, dtype=torch.float64)
            return torch.cat([betas.new_zeros(1), torch.log1p(-betas).cumsum(0)])

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        table, n = self.log_alpha2.to(t.device), t.double() * self.n_steps
        below = n.floor().clamp(0, self.n_steps - 1).long()
        log_alpha2 = torch.lerp(table[below], table[below + 1], n - below)
        return torch.exp(log_alpha2 / 2).to(t.dtype), torch.sqrt(-torch.expm1(log_alpha2)).to(t.dtype)

    def time_of_level(self, level: Tensor) -> Tensor:
        table, log_alpha2 = self.log_alpha2.to(level.device), -torch.log1p(level.double() ** 2)
        below = (torch.searchsorted(-table, -log_alpha2) - 1).clamp(0, self.n_steps - 1)
        share = (log_alpha2 - table[below]) / (table[below + 1] - table[below])
        return ((below + share.clamp(0, 1)) / self.n_steps).to(level.dtype)


class EDMPath(Path):
    """Noise added to an unscaled image, t = sigma (Karras et al. 2022, table 1, column "Ours"): alpha = 1.

    sigma_data  standard deviation of the data, which scales what the denoiser is fed and its "preconditioned" output F:
                x0 = c_skip xt + c_out F(c_in xt, c_noise)
    c_noise = log(sigma) / 4 reaches the denoiser stretched, its range over [LOWEST, HIGHEST] to 0..1000.
    """

    name = "edm"

    def __init__(self, sigma_data: float) -> None:
        self.sigma_data = sigma_data

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), t

    def time_of_level(self, level: Tensor) -> Tensor:
        return level

    def fed_time(self, t: Tensor) -> Tensor:
        return 1000 * torch.log(t.clamp(min=TINY) / LOWEST) / math.log(HIGHEST / LOWEST)

    def fed_image(self, xt: Tensor, t: Tensor) -> Tensor:
        return xt * _per_image(torch.rsqrt(t**2 + self.sigma_data**2))  # c_in

    def coefficients(self, alpha: Tensor, sigma: Tensor, prediction: str) -> tuple[Tensor, Tensor]:
        if prediction != "preconditioned":
            return super().coefficients(alpha, sigma, prediction)
        # F = (x0 - c_skip xt) / c_out with c_skip = sigma_data^2 / norm^2 and c_out = sigma sigma_data / norm
        norm = torch.sqrt(sigma**2 + self.sigma_data**2)
        return sigma / (self.sigma_data * norm), -self.sigma_data / norm


def _per_image(c: Tensor) -> Tensor:
    """(B,) -> (B,1,1,1)."""
    return rearrange(c, "b -> b 1 1 1")


PATHS: dict[str, type[Path]] = {path.name: path for path in (FlowPath, CosinePath, LinearPath, EDMPath)}


def make_path(name: str, sigma_data: float) -> Path:
    """The path of a name; only "edm" has to know the standard deviation of the data."""
    return EDMPath(sigma_data) if name == EDMPath.name else PATHS[name]()
