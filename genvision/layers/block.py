"""The pre-norm residual block around a mixing, steered by a conditioning vector (adaLN-Zero)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F


def modulate(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Shift and scale a normalised h; a scale of 0 leaves it as it is."""
    return h * (1 + scale) + shift


class MLP(nn.Sequential):
    """Linear, GELU, Linear over the channel axis."""

    def __init__(self, width: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width))


class BlockCache(NamedTuple):
    """What a block remembers between tokens: its mixing's cache and what it computed from cond."""

    mixing: Any
    steer: tuple[Tensor, ...]  # shift, 1 + scale and gate (B,D) of the mixing, then of the MLP


class Block(nn.Module):
    """h (B,T,D), cond (B,D) -> (B,T,D): mixing over tokens, then an MLP over channels.

    Both residual branches are normalised, shifted, scaled and gated by a linear map of cond that starts at zero, so
    that the block starts as the identity (Peebles & Xie 2023, "Scalable diffusion models with transformers",
    section 3.2). With gates of one and the affine part of a LayerNorm as shift and scale it is the pre-norm
    transformer layer.
    """

    def __init__(self, width: int, mixing: nn.Module, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.mixing = mixing
        self.mlp = MLP(width, hidden, dropout)
        self.dropout = nn.Dropout(dropout)
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, h: Tensor, cond: Tensor) -> Tensor:
        steer = rearrange(self.modulation(F.silu(cond)), "b (six d) -> six b 1 d", six=6)
        shift1, scale1, gate1, shift2, scale2, gate2 = steer
        h = h + gate1 * self.dropout(self.mixing(modulate(self.norm1(h), shift1, scale1)))
        return h + gate2 * self.dropout(self.mlp(modulate(self.norm2(h), shift2, scale2)))

    def start(self, cond: Tensor, tokens: int) -> BlockCache:
        """An empty cache for sequences of `tokens` tokens under cond (B,D)."""
        steer = rearrange(self.modulation(F.silu(cond)), "b (six d) -> six b d", six=6)
        shift1, scale1, gate1, shift2, scale2, gate2 = steer
        mixing = self.mixing.start(len(cond), tokens, cond.shape[1])
        return BlockCache(mixing, (shift1, 1 + scale1, gate1, shift2, 1 + scale2, gate2))

    def step(self, h: Tensor, cache: BlockCache) -> Tensor:
        """The next token (B,D) -> what `forward` gives at its place, in eval mode, around a causal mixing."""
        shift1, scale1, gate1, shift2, scale2, gate2 = cache.steer
        h = torch.addcmul(h, gate1, self.mixing.step(torch.addcmul(shift1, self.norm1(h), scale1), cache.mixing))
        return torch.addcmul(h, gate2, self.mlp(torch.addcmul(shift2, self.norm2(h), scale2)))
