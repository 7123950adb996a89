"""The gated residual block of PixelCNN++ around causal convolutions (Salimans et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

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

    Two convolutions of one kind; the inputs from beside (the other stream, a skip) join after the first, the condition
    after the second, whose one half gates the other: x + a * sigmoid(b).
    """

    conv: ClassVar[type[nn.Conv2d]]

    def __init__(self, width: int, cond_width: int, *, n_beside: int, dropout: float) -> None:
        super().__init__()
        self.first: Any = self.conv(2 * width, width)
        self.second: Any = self.conv(2 * width, 2 * width)
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
        first, second = self.first.start(cond, columns), self.second.start(cond, columns)
        return BlockCache(first, second, self.cond(F.silu(cond)))

    def project(self, k: int, other: Tensor) -> Tensor:
        """What the k-th input from beside, (B,C) or (B,C,W), adds to the first convolution's output."""
        layer = self.beside[k]
        weight = layer.weight[:, :, 0, 0]
        if other.ndim == 2:
            return F.linear(concat_elu(other), weight, layer.bias)
        return torch.einsum("oi,biw->bow", weight, concat_elu(other)) + layer.bias[:, None]


class RowResidual(GatedResidual):
    """A block of stream v, which can be computed row by row."""

    conv = RowConv

    def row(self, x: Tensor, beside: Sequence[Tensor], cache: BlockCache) -> Tensor:
        """The next row x (B,C,W) and rows that `project` gave -> its output (B,C,W)."""
        self.first.push(concat_elu(x), cache.first)
        self.second.push(concat_elu(sum(beside, self.first.row(cache.first))), cache.second)
        return x + gate(self.second.row(cache.second) + cache.bias[..., None])


class PixelResidual(GatedResidual):
    """A block of stream h, which can be computed pixel by pixel."""

    conv = PixelConv

    def begin_row(self, cache: BlockCache) -> None:
        """The row before is complete."""
        self.first.begin_row(cache.first)
        self.second.begin_row(cache.second)

    def pixel(self, x: Tensor, c: int, beside: Sequence[Tensor], cache: BlockCache) -> Tensor:
        """The pixel x (B,C) at column c and what `project` gave -> its output (B,C)."""
        self.first.push(concat_elu(x), c, cache.first)
        self.second.push(concat_elu(sum(beside, self.first.pixel(c, cache.first))), c, cache.second)
        return x + gate(self.second.pixel(c, cache.second) + cache.bias)


def gate(x: Tensor) -> Tensor:
    """(B,2C,...) -> (B,C,...): one half times the sigmoid of the other."""
    signal, strength = x.chunk(2, 1)
    return signal * torch.sigmoid(strength)
