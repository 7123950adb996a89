"""The diagonal Gaussian posterior of a VAE."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class DiagonalGaussian(NamedTuple):
    """mean and log-variance, both of one shape (B, ...)."""

    mean: Tensor
    log_var: Tensor

    @classmethod
    def from_moments(cls, moments: Tensor) -> DiagonalGaussian:
        """Split (B,2F,h,w) into mean and log-variance; the latter is kept where its exponential is harmless."""
        mean, log_var = moments.to(torch.promote_types(moments.dtype, torch.float32)).chunk(2, dim=1)
        return cls(mean, log_var.clamp(-20, 10))

    def sample(self, noise: Tensor) -> Tensor:
        """mean + std * noise (Kingma & Welling 2014, section 2.4)."""
        return self.mean + torch.exp(0.5 * self.log_var) * noise

    def kl(self) -> Tensor:
        """KL(q || N(0, I)) in nats, elementwise (Kingma & Welling 2014, appendix B)."""
        return 0.5 * (self.mean**2 + self.log_var.exp() - 1 - self.log_var)

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z) in nats, elementwise."""
        return -0.5 * (self.log_var + (z - self.mean) ** 2 / self.log_var.exp() + LOG_TWO_PI)


LOG_TWO_PI = 1.8378770664093453
