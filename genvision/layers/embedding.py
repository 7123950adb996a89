"""Embeddings: where a token is, which class it belongs to, how noisy its image is."""

from __future__ import annotations

import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps, get_2d_sincos_pos_embed
from einops import rearrange
from torch import Tensor, nn

from genvision.errors import ConfigError


class PositionEmbedding(nn.Module):
    """Adds a position to tokens (B,H,W,D). kind: "learned", "sincos" (fixed), or anything else for none here."""

    def __init__(self, kind: str, grid: tuple[int, int], width: int) -> None:
        super().__init__()
        if kind == "learned":
            self.table = nn.Parameter(0.02 * torch.randn(*grid, width))
        elif kind == "sincos":
            if width % 4:
                raise ConfigError(f"trunk.width={width} must be a multiple of 4 for trunk.position=sincos")
            table = get_2d_sincos_pos_embed(width, grid, output_type="pt").float()
            self.register_buffer("table", rearrange(table, "(h w) d -> h w d", h=grid[0]), persistent=False)
        else:
            self.table = None

    def forward(self, h: Tensor) -> Tensor:
        return h if self.table is None else h + self.table.to(h.dtype)

    def tokens(self) -> Tensor | None:
        """What is added to each token (h*w,D) in raster order; None for nothing."""
        return None if self.table is None else rearrange(self.table, "h w d -> (h w) d")


class Conditioner(nn.Module):
    """Class label and, for denoisers, time -> one vector (B,D).

    classes  number of labels K; the label K, like y=None, means "no label" and has a learned vector of its own
    time     whether `t` (B,) float, as the path scales it (0..1000), is embedded too (sinusoids, then an MLP)
    """

    def __init__(self, width: int, classes: int, *, time: bool = False) -> None:
        super().__init__()
        self.label = nn.Embedding(classes + 1, width)
        if time:  # beside the time, whose embedding starts small (Peebles & Xie 2023); alone it must be heard
            nn.init.normal_(self.label.weight, std=0.02)
        self.sinusoids = Timesteps(width, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time = TimestepEmbedding(width, width) if time else None

    def forward(self, n: int, y: Tensor | None = None, t: Tensor | None = None) -> Tensor:
        table = self.label.weight
        cond = self.label(y) if y is not None else table[-1].expand(n, -1)
        if self.time is not None:
            cond = cond + self.time(self.sinusoids(t).to(table.dtype))
        return cond
