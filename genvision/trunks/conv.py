"""The isotropic ConvNet trunk: residual convolution blocks at one resolution (He et al. 2016, identity mappings)."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from genvision.layers.residual import ResidualBlock, group_norm
from genvision.trunks.trunk import Trunk


class ConvTrunk(Trunk):
    """h (B,H,W,D), cond (B,D) -> (B,H,W,D). Options as in `genvision.config.trunks.ConvTrunkConfig`.

    Works in (B,D,H,W) memory: GroupNorm over few channels in bfloat16 is several times slower in channels_last.
    """

    stem = "conv"
    channels_last = False

    def __init__(self, grid: tuple[int, int], *, width: int, depth: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.blocks = nn.ModuleList(
            ResidualBlock(width, width, width, kernel=kernel, dropout=dropout) for _ in range(depth)
        )
        self.norm = group_norm(width)

    def forward(self, h: Tensor, cond: Tensor) -> Tensor:
        x = rearrange(h, "b h w d -> b d h w")
        for block in self.blocks:
            x = self.run(block, x, cond)
        return rearrange(F.silu(self.norm(x)), "b d h w -> b h w d")
