"""Self-attention that weighs how far apart two tokens lie, whatever they show."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genvision.layers.attention import Attention, attend


class RelativeAttention(Attention):
    """(B,P+h*w,D) -> (B,P+h*w,D): each head adds a learned number, which starts at 0, to the score of a query and a
    key, one for every offset between their places (Liu et al. 2021, "Swin", equation 4; Shaw et al. 2018 without their
    clipping). Offsets (down, right) of the keys around a query q:

        (-1,-1) (-1,0) (-1,1)
        (0,-1)    q    (0,1)
        (1,-1)  (1,0)  (1,1)

    grid  (h, w) tokens; the P of `prefix` before it have no place, and nothing is added for them
    A mask that learns has no fused kernel on a CPU, so that training keeps the weights of all pairs.
    """

    def __init__(self, width: int, head_width: int, *, grid: tuple[int, int], prefix: int = 0, **options) -> None:
        super().__init__(width, head_width, prefix=prefix, **options)
        self.prefix = prefix
        h, w = grid
        self.relative = nn.Parameter(torch.zeros(2 * h - 1, 2 * w - 1, width // head_width))
        rows, columns = (place.flatten() for place in torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"))
        down, right = (place[None, :] - place[:, None] for place in (rows, columns))
        self.register_buffer("offsets", (down + h - 1) * (2 * w - 1) + right + w - 1, persistent=False)

    def bias(self, queries: slice = slice(None), keys: slice = slice(None)) -> Tensor:
        """What is added to the scores, (heads,queries,keys), for tokens of the grid in raster order."""
        return self.relative.flatten(0, 1)[self.offsets[queries, keys]].movedim(2, 0)

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        mask = F.pad(self.bias(), (self.prefix, 0, self.prefix, 0))
        if self.causal:
            mask = mask.masked_fill(torch.ones_like(mask[0], dtype=torch.bool).triu(1), -torch.inf)
        return attend(q, k, v, p_drop=self.p_drop, mask=mask)

    def mix_next(self, qkv: Tensor, past: Tensor, i: int) -> Tensor:
        past.narrow(3, i, 1).copy_(qkv.narrow(1, 1, 2))
        k, v = past.narrow(3, 0, i + 1).unbind(1)
        if (place := i - self.prefix) < 0:
            return F.scaled_dot_product_attention(qkv.select(1, 0), k, v)
        mask = F.pad(self.bias(slice(place, place + 1), slice(place + 1)), (self.prefix, 0))
        return F.scaled_dot_product_attention(qkv.select(1, 0), k, v, mask)
