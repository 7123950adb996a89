"""The gated residual block of PixelCNN++ around causal convolutions (Salimans et al. 2017)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from genvision.layers.causal_conv import PixelConv, RowConv


def concat_elu(x: Tensor) -> Tensor:
    """(B,C,...) -> (B,2C,...): ELU of x and of -x (Shang et al. 2016 did so with ReLU)."""
    return F.elu(torch.cat([x, -x], 1))


class BlockCache(NamedTuple):
    """Caches of both convolutions and the bias (B,2C) that the condition adds before the gate."""

    first: Any
    second: Any
    bias: Tensor


class GatedResidual(nn.Module):
    """x (B,C,H,W), cond (B,D) and `n_beside` further inputs (B,C,H,W) -> (B,C,H,W).

    Two convolutions of the given kind; the inputs from beside (the other stream, a skip) join after the first, the
    condition after the second, whose one half gates the other: x + a * sigmoid(b).
    """

    def __init__(
        self, conv: type[RowConv | PixelConv], width: int, cond_width: int, *, n_beside: int, dropout: float
    ) -> None:
        super().__init__()
        self.first, self.second = conv(2 * width, width), conv(2 * width, 2 * width)
        self.beside = nn.ModuleList(nn.Conv2d(2 * width, width, 1) for _ in range(n_beside))
        self.cond = nn.Linear(cond_width, 2 * width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, cond: Tensor, *beside: Tensor) -> Tensor:
        h = self.first(concat_elu(x))
        for layer, other in zip(self.beside, beside, strict=True):
            h = h + layer(concat_elu(other))
        bias = rearrange(self.cond(F.silu(cond)), "b c -> b c 1 1")
        return x + gate(self.second(self.dropout(concat_elu(h))) + bias)

    def start(self, cond: Tensor, columns: int) -> BlockCache:
        """An empty cache for images with so many columns."""
        caches = (layer.start(cond, columns) for layer in (self.first, self.second))
        return BlockCache(*caches, self.cond(F.silu(cond)))

    def project(self, k: int, other: Tensor) -> Tensor:
        """What the k-th input from beside, (B,C) or (B,C,W), adds to the first convolution's output."""
        layer = self.beside[k]
        weight = layer.weight[:, :, 0, 0]
        if other.ndim == 2:
            return F.linear(concat_elu(other), weight, layer.bias)
        return torch.einsum("oi,biw->bow", weight, concat_elu(other)) + layer.bias[:, None]

    def row(self, x: Tensor, beside: list[Tensor], cache: BlockCache) -> Tensor:
        """The next row x (B,C,W) and rows that `project` gave -> its output (B,C,W); for a block of RowConv."""
        h = sum(beside, self.first.row(concat_elu(x), cache.first))
        return x + gate(self.second.row(concat_elu(h), cache.second) + cache.bias[..., None])

    def begin_row(self, cache: BlockCache) -> None:
        """The row before is complete; for a block of PixelConv."""
        self.first.begin_row(cache.first)
        self.second.begin_row(cache.second)

    def pixel(self, x: Tensor, c: int, beside: list[Tensor], cache: BlockCache) -> Tensor:
        """The pixel x (B,C) at column c and what `project` gave -> its output (B,C); for a block of PixelConv."""
        h = sum(beside, self.first.pixel(concat_elu(x), c, cache.first))
        return x + gate(self.second.pixel(concat_elu(h), c, cache.second) + cache.bias)


def gate(x: Tensor) -> Tensor:
    """(B,2C,...) -> (B,C,...): one half times the sigmoid of the other."""
    signal, strength = x.chunk(2, 1)
    return signal * torch.sigmoid(strength)
