"""The ways in which tokens exchange information, side by side at one width."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genvision.layers.attention import Attention
from genvision.layers.linformer import LinformerAttention
from genvision.layers.performer import PerformerAttention

WIDTH, HEAD = 64, 32  # D, and channels of a head
KERNEL, RANK, FEATURES = 3, 32, 32


class Convolution(nn.Module):
    """(B,L,D) as a square image -> the same through one convolution: what mixes tokens in a ConvNet."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(WIDTH, WIDTH, KERNEL, padding=KERNEL // 2)

    def forward(self, h: Tensor) -> Tensor:
        side = math.isqrt(h.shape[1])
        return self.conv(h.mT.unflatten(2, (side, side))).flatten(2).mT


def make_mixing(name: str, tokens: int) -> nn.Module:
    """(B,tokens,D) -> the same: "convolution", or attention that is "full", "linformer" or "performer"."""
    if name == "convolution":
        return Convolution()
    if name == "linformer":
        return LinformerAttention(WIDTH, HEAD, tokens=tokens, rank=RANK)
    return Attention(WIDTH, HEAD) if name == "full" else PerformerAttention(WIDTH, HEAD, features=FEATURES)


MIXINGS = ("convolution", "full", "linformer", "performer")


def explicit(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v for (B,heads,L,d) as it is written, with its L x L matrix in memory."""
    return (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1) @ v


ATTENDING = {"explicit": explicit, "fused": F.scaled_dot_product_attention}


class Attending(nn.Module):
    """One of ATTENDING as a module."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return ATTENDING[self.name](q, k, v)


def tokens_of(tokens: int, n: int = 1) -> Tensor:
    """n sequences (n,tokens,D) of zeros."""
    return torch.zeros(n, tokens, WIDTH)
