"""Bounds of the log-likelihood of latent variable models, and how much of the latents they use."""

from __future__ import annotations

import math

import torch
from einops import reduce
from torch import Tensor

from genvision.errors import ConfigError


def importance_samples(bound: str) -> int:
    """The K of "iwae:K"; 0 for "elbo". Raises ConfigError for anything else."""
    name, _, samples = bound.partition(":")
    if name == "iwae" and samples.isdigit() and int(samples):
        return int(samples)
    if bound != "elbo":
        raise ConfigError(f"bound {bound!r} is neither elbo nor iwae:K, such as iwae:64")
    return 0


def importance_weighted(log_weights: Tensor) -> Tensor:
    """(k,B) log p(x,z) - log q(z|x) of k draws of z -> (B,) nats: the log of their mean (Burda et al. 2016).

    A lower bound of log p(x) in expectation, the tighter the larger k; with k = 1 the evidence lower bound.
    """
    return log_weights.logsumexp(0) - math.log(len(log_weights))


def free_bits(kl: Tensor, bits: float) -> Tensor:
    """KL terms (B,F,h,w) -> (B,) nats: the sum over channels of max(bits, KL of the channel over its whole grid).

    A channel that tells less than `bits` about an image is not pushed to tell even less (Kingma et al. 2016, "Improving
    variational inference with inverse autoregressive flow", appendix C). There the maximum is taken of a mini-batch's
    mean; here of each example's own KL, so that no example's loss depends on which others share its batch. By Jensen's
    inequality the mean is no smaller than theirs.
    """
    return reduce(kl, "b f h w -> b f", "sum").clamp(min=bits * math.log(2)).sum(1)


def active_units(means: Tensor) -> int:
    """Posterior means (N,...) of N images -> how many latents vary: Var_x E[z|x] > 0.01 (Burda et al. 2016)."""
    return int((torch.var(means.double(), dim=0, correction=0) > ACTIVE_VARIANCE).sum())


ACTIVE_VARIANCE = 0.01
