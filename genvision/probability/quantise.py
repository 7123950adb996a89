"""Quantisers: a grid of vectors becomes a grid of tokens, and tokens become vectors again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

DECAY = 0.99  # of the codebook's running averages (van den Oord et al. 2017, appendix A.1)
REVIVE_BELOW = 0.1  # of the usage of a code when all are used alike


class Quantised(NamedTuple):
    """What a quantiser makes of h (B,F,h,w).

    z           (B,F,h,w) the codes, at least float32; the gradient goes straight through them to h
    tokens      (B,h,w) int64, the names of the codes
    commitment  (B,) mean squared distance from h to its codes, which do not move for it
    """

    z: Tensor
    tokens: Tensor
    commitment: Tensor


def straight_through(z: Tensor, h: Tensor) -> Tensor:
    """The value of z, to the bit, with the gradient going to h as if it were z (Bengio et al. 2013)."""
    return z.detach() + (h - h.detach())


class FiniteScalar(nn.Module):
    """Each channel is bounded by tanh and rounded to its own number of levels (Mentzer et al. 2023).

    Nothing is learned. Levels of a channel lie evenly on [-1, 1], both ends among them; a token counts through them,
    channel 0 fastest.
    """

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.codes = math.prod(levels)
        steps = torch.tensor(levels) - 1
        self.register_buffer("steps", steps, persistent=False)
        self.register_buffer("radix", torch.cumprod(torch.tensor([1, *levels[:-1]]), 0), persistent=False)

    def forward(self, h: Tensor, priority: Tensor | None = None) -> Quantised:
        bounded = torch.tanh(rearrange(h.to(torch.promote_types(h.dtype, torch.float32)), "b f h w -> b h w f"))
        digits = ((bounded.detach() + 1) / 2 * self.steps).round().long()
        tokens = (digits * self.radix).sum(-1)
        z = straight_through(self.lookup(tokens).to(bounded.dtype), rearrange(bounded, "b h w f -> b f h w"))
        return Quantised(z, tokens, z.new_zeros(len(z)))

    def lookup(self, tokens: Tensor) -> Tensor:
        """Tokens (B,h,w) -> codes (B,F,h,w)."""
        digits = tokens[..., None] // self.radix % (self.steps + 1)
        return rearrange(2 * digits / self.steps - 1, "b h w f -> b f h w")

    def after_step(self, gather: Callable[[Tensor], Tensor]) -> None:
        """Nothing moves."""


class VectorQuantiser(nn.Module):
    """Each vector is replaced by the nearest code of a codebook (van den Oord et al. 2017, equation 1).

    A code is the running mean of the vectors it stands for (their appendix A.1). Training only adds to `seen` and
    `pool`; the codebook moves in `after_step`, once a step, by what all micro-batches and processes saw, so that how a
    batch is cut does not matter. A code that is hardly used any more starts anew as a vector of the batch, drawn at
    random (Dhariwal et al. 2020, Jukebox, "random restarts"); in the first step that is nearly every code.

    codebook  (V,F)
    average   (V,1+F) running means of each code's count of vectors and of their sum
    seen      (V,1+F) counts and sums of the vectors since the last step
    pool      (V,1+F) the V vectors with the highest priorities since the last step, each behind its priority
    """

    def __init__(self, codes: int, channels: int) -> None:
        super().__init__()
        self.codes = codes
        self.register_buffer("codebook", torch.randn(codes, channels))
        for name in ("average", "seen", "pool"):
            self.register_buffer(name, torch.zeros(codes, 1 + channels))

    def forward(self, h: Tensor, priority: Tensor | None = None) -> Quantised:
        """`priority` (B,h,w) in (0,1), in training: which vectors the pool takes. None: nothing is learned from h."""
        h = h.to(self.codebook.dtype)
        kind = "cpu" if h.is_meta else h.device.type  # costs are counted on the meta device, which knows no autocast
        with torch.autocast(kind, enabled=False), torch.no_grad():
            vectors = rearrange(h, "b f h w -> (b h w) f")
            distances = self.codebook.square().sum(1) - 2 * vectors @ self.codebook.T  # less |h|^2, the same for all
            flat = distances.argmin(1)
            if priority is not None:
                self.seen.index_add_(0, flat, torch.cat([torch.ones_like(vectors[:, :1]), vectors], 1))
                entries = torch.cat([priority.to(vectors).reshape(-1, 1), vectors], 1)
                self.pool.copy_(highest(torch.cat([self.pool, entries]), self.codes))
        tokens = rearrange(flat, "(b h w) -> b h w", b=len(h), h=h.shape[2])
        z = self.lookup(tokens)
        return Quantised(straight_through(z, h), tokens, (h - z).square().flatten(1).mean(1))

    def lookup(self, tokens: Tensor) -> Tensor:
        """Tokens (B,h,w) -> codes (B,F,h,w)."""
        return rearrange(self.codebook[tokens], "b h w f -> b f h w")

    @torch.no_grad()
    def after_step(self, gather: Callable[[Tensor], Tensor]) -> None:
        """Move the codebook; `gather` stacks a tensor of every process, (...) -> (P,...)."""
        self.average.lerp_(gather(self.seen).sum(0), 1 - DECAY)
        usage = self.average[:, :1]
        self.codebook.copy_(torch.where(usage > 0, self.average[:, 1:] / usage, self.codebook))
        pool = highest(rearrange(gather(self.pool), "p v f -> (p v) f"), self.codes)
        dead = usage < REVIVE_BELOW * usage.mean()
        ready = pool[(dead.cumsum(0) - 1)[:, 0]]  # the n-th dead code takes the n-th entry
        dead &= ready[:, :1] > 0  # a small batch has fewer vectors than there are codes
        fresh = torch.cat([torch.ones_like(usage), ready[:, 1:]], 1)
        self.average.copy_(torch.where(dead, usage.mean() * fresh, self.average))
        self.codebook.copy_(torch.where(dead, fresh[:, 1:], self.codebook))
        self.seen.zero_()
        self.pool.zero_()


def highest(entries: Tensor, n: int) -> Tensor:
    """The n rows (n,1+F) of entries (N,1+F) that begin with the highest numbers, in their order."""
    return entries[entries[:, 0].topk(n).indices]


def make_quantiser(options: dict) -> FiniteScalar | VectorQuantiser:
    """{"levels": [..]} or {"codes": V, "channels": F}."""
    return FiniteScalar(**options) if "levels" in options else VectorQuantiser(**options)
