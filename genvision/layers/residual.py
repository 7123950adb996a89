"""The residual convolution block of the ConvNet trunks, steered by a conditioning vector."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from genvision.layers.block import modulate


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with 8 groups, or the most that divide the channels."""
    return nn.GroupNorm(math.gcd(8, channels), channels, eps=1e-5)


class ResidualBlock(nn.Module):
    """x (B,C,H,W), cond (B,D) -> (B,C',H,W): norm, SiLU, convolution, twice, beside a skip.

    `beside`, where given, are further channels of x (concatenated here, so that nobody has to keep both).

    The second norm is shifted and scaled by cond (Dhariwal & Nichol 2021, "adaptive group normalization"); the last
    convolution starts at zero, so that the block starts as its skip.
    """

    def __init__(self, c_in: int, c_out: int, cond_width: int, *, kernel: int = 3, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1, self.norm2 = group_norm(c_in), group_norm(c_out)
        self.conv1 = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2)
        self.conv2 = nn.Conv2d(c_out, c_out, kernel, padding=kernel // 2)
        self.modulation = nn.Linear(cond_width, 2 * c_out)
        self.dropout = nn.Dropout(dropout)
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()
        for layer in (self.conv2, self.modulation):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, cond: Tensor, beside: Tensor | None = None) -> Tensor:
        if beside is not None:
            x = torch.cat([x, beside], 1)
        shift, scale = rearrange(self.modulation(F.silu(cond)), "b (two c) -> two b c 1 1", two=2)
        h = self.conv1(F.silu(self.norm1(x)))
        h = modulate(self.norm2(h), shift, scale)
        return self.skip(x) + self.conv2(self.dropout(F.silu(h)))
