"""Ways in and out of a trunk: patches for token trunks, overlapping convolutions for convolutional ones."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn


def prime_factors(n: int) -> list[int]:
    """Prime factors of n in ascending order; [] for 1."""
    factors, p = [], 2
    while n > 1:
        while n % p == 0:
            factors.append(p)
            n //= p
        p += 1
    return factors


class PatchStem(nn.Module):
    """(B,C,H,W) -> (B,H/p,W/p,D): cut into p x p patches, embed each linearly (Dosovitskiy et al. 2021)."""

    def __init__(self, c_in: int, width: int, patch: int) -> None:
        super().__init__()
        self.patch, self.linear = patch, nn.Linear(c_in * patch**2, width)

    def forward(self, x: Tensor) -> Tensor:
        p = self.patch
        return self.linear(rearrange(x, "b c (h p) (w q) -> b h w (c p q)", p=p, q=p))


class TokenStem(nn.Module):
    """Integers (B,C,H,W) below `levels` -> (B,H,W,D): the embeddings of a place's channels, added."""

    def __init__(self, c_in: int, width: int, levels: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(levels, width) for _ in range(c_in))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([table(x[:, c].long()) for c, table in enumerate(self.tables)]).sum(0)


class PatchHead(nn.Module):
    """(B,h,w,D) -> (B,C,h*p,w*p): one linear map per token, laid out as its patch."""

    def __init__(self, width: int, c_out: int, patch: int) -> None:
        super().__init__()
        self.patch, self.linear = patch, nn.Linear(width, c_out * patch**2)

    def forward(self, h: Tensor) -> Tensor:
        p = self.patch
        return rearrange(self.linear(h), "b h w (c p q) -> b c (h p) (w q)", p=p, q=p)

    def zero(self) -> None:
        """Start with an output of zero."""
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)


class ConvStem(nn.Module):
    """(B,C,H,W) -> (B,H/p,W/p,D): a 3x3 convolution, then overlapping strided ones, one per prime factor of p."""

    def __init__(self, c_in: int, width: int, patch: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(c_in, width, 3, padding=1)]
        for p in prime_factors(patch):
            layers += [nn.SiLU(), nn.Conv2d(width, width, 2 * p - 1, stride=p, padding=p - 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return rearrange(self.layers(x), "b d h w -> b h w d")


class ConvHead(nn.Module):
    """(B,h,w,D) -> (B,C,h*p,w*p): resize convolutions, free of checkerboards (Odena et al. 2016), then a 3x3 one."""

    def __init__(self, width: int, c_out: int, patch: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for p in prime_factors(patch):
            layers += [nn.Upsample(scale_factor=p), nn.Conv2d(width, width, 3, padding=1), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, c_out, 3, padding=1))

    def forward(self, h: Tensor) -> Tensor:
        return self.layers(rearrange(h, "b h w d -> b d h w"))

    def zero(self) -> None:
        """Start with an output of zero."""
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)


class GridToVector(nn.Module):
    """(B,C,h,w) -> (B,F,1,1): one linear map of a whole grid, whatever its size."""

    def __init__(self, c_in: int, grid: tuple[int, int], c_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(c_in * grid[0] * grid[1], c_out)

    def forward(self, x: Tensor) -> Tensor:
        return rearrange(self.linear(rearrange(x, "b c h w -> b (c h w)")), "b f -> b f 1 1")


class VectorToGrid(nn.Module):
    """(B,F,1,1) -> (B,C,h,w): the way back."""

    def __init__(self, c_in: int, grid: tuple[int, int], c_out: int) -> None:
        super().__init__()
        self.grid, self.linear = grid, nn.Linear(c_in, c_out * grid[0] * grid[1])

    def forward(self, z: Tensor) -> Tensor:
        h, w = self.grid
        return rearrange(self.linear(rearrange(z, "b f 1 1 -> b f")), "b (c h w) -> b c h w", h=h, w=w)


STEMS = {"patch": PatchStem, "conv": ConvStem}
HEADS = {"patch": PatchHead, "conv": ConvHead}
