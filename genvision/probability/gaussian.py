"""The diagonal Gaussian of a VAE's posteriors and priors."""

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

    @classmethod
    def standard(cls, like: Tensor) -> DiagonalGaussian:
        """N(0, I) of the shape of `like`."""
        return cls(torch.zeros_like(like), torch.zeros_like(like))

    def sample(self, noise: Tensor) -> Tensor:
        """mean + std * noise (Kingma & Welling 2014, section 2.4)."""
        return self.mean + torch.exp(0.5 * self.log_var) * noise

    def kl(self, prior: DiagonalGaussian) -> Tensor:
        """KL(self || prior) in nats, elementwise (Kingma & Welling 2014, appendix B, for any second Gaussian)."""
        gap = self.log_var - prior.log_var
        return 0.5 * ((self.mean - prior.mean) ** 2 / prior.log_var.exp() + gap.exp() - 1 - gap)

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z) in nats, elementwise."""
        return -0.5 * (self.log_var + (z - self.mean) ** 2 / self.log_var.exp() + LOG_TWO_PI)


LOG_TWO_PI = 1.8378770664093453
