"""Paths from an image to noise: x_t = alpha(t) x_0 + sigma(t) eps, t in [0, 1], and what a denoiser predicts on them.

A path owns its times: what the denoiser is fed, and how a diffusers scheduler's sigmas map to t and back.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

TINY = 1e-8  # keeps a division by alpha at t = 1, or by sigma at t = 0, from being 0 / 0


class PathSample(NamedTuple):
    """A point of the path and what the denoiser has to predict there, made from one and the same noise."""

    xt: Tensor
    target: Tensor


class Path:
    """Base of the paths. Subclasses give alpha, sigma and their derivatives; t is (B,) in [0, 1]."""

    name: str
    predictions: tuple[str, ...]

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) -> alpha (B,), sigma (B,)."""
        raise NotImplementedError

    def time_of_sigma(self, sigma: Tensor) -> Tensor:
        """A scheduler's sigma (in that scheduler's own convention for this path) -> t."""
        raise NotImplementedError

    def fed_time(self, t: Tensor) -> Tensor:
        """t in [0,1] -> what the denoiser's sinusoids expect, 0..1000."""
        return 1000 * t

    def at(self, x0: Tensor, eps: Tensor, t: Tensor, prediction: str) -> PathSample:
        """x0, eps (B,C,H,W), t (B,) -> the point at t and its target."""
        alpha, sigma = (rearrange(c, "b -> b 1 1 1") for c in self.alpha_sigma(t))
        xt = alpha * x0 + sigma * eps
        targets = {"x0": lambda: x0, "epsilon": lambda: eps, "v": lambda: alpha * eps - sigma * x0,
                   "velocity": lambda: eps - x0}  # fmt: skip
        return PathSample(xt, targets[prediction]())

    def x0_eps(self, xt: Tensor, output: Tensor, t: Tensor, prediction: str) -> tuple[Tensor, Tensor]:
        """The image and the noise that an output at (xt, t) stands for; the inverse of `at`."""
        alpha, sigma = (rearrange(c, "b -> b 1 1 1") for c in self.alpha_sigma(t))
        if prediction == "velocity":  # xt = alpha x0 + sigma eps and output = eps - x0
            x0 = (xt - sigma * output) / (alpha + sigma)
            return x0, x0 + output
        if prediction == "v":
            norm = alpha**2 + sigma**2
            return (alpha * xt - sigma * output) / norm, (sigma * xt + alpha * output) / norm
        if prediction == "epsilon":
            return (xt - sigma * output) / alpha.clamp(min=TINY), output
        return output, self.eps_of_x0(xt, output, t)

    def eps_of_x0(self, xt: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """The noise (B,C,H,W) that makes xt out of the image x0 at times t (B,) > 0."""
        alpha, sigma = (rearrange(c, "b -> b 1 1 1") for c in self.alpha_sigma(t))
        return (xt - alpha * x0) / sigma.clamp(min=TINY)


class FlowPath(Path):
    """The straight path of flow matching (Lipman et al. 2023; Liu et al. 2023): alpha = 1 - t, sigma = t.

    A flow scheduler's sigma is t itself.
    """

    name = "flow"
    predictions = ("velocity", "epsilon", "x0")

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - t, t

    def time_of_sigma(self, sigma: Tensor) -> Tensor:
        return sigma


class CosinePath(Path):
    """The cosine variance-preserving path (Nichol & Dhariwal 2021, equation 17): alpha^2 = f(t) / f(0).

    f(t) = cos^2((t + s) / (1 + s) * pi / 2), s = 0.008. Step i of a table of 1000 is t = (i + 1) / 1000. A scheduler's
    sigma is the noise of the unscaled image, sigma / alpha.
    """

    name = "cosine"
    predictions = ("epsilon", "v", "x0")
    offset = 0.008
    floor = 4.9282e-5  # alpha at t = 1, where the formula's 0 leaves no x0; the last entry of diffusers' table is this

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha = (torch.cos(self._angle(t)) / math.cos(self._angle(0.0))).clamp(self.floor, 1.0)
        return alpha, torch.sqrt(1 - alpha**2)

    def time_of_sigma(self, sigma: Tensor) -> Tensor:
        alpha = torch.rsqrt(1 + sigma**2)
        angle = torch.arccos((alpha * math.cos(self._angle(0.0))).clamp(-1, 1))
        return (angle * 2 / math.pi * (1 + self.offset) - self.offset).clamp(0, 1)

    def _angle(self, t):
        return (t + self.offset) / (1 + self.offset) * (math.pi / 2)


PATHS = {"flow": FlowPath(), "cosine": CosinePath()}
