"""The U-Net trunk: an hourglass of residual convolution blocks with skips (Ronneberger et al. 2015; Ho et al. 2020)."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from genvision.errors import ConfigError
from genvision.layers.attention import Attention
from genvision.layers.residual import ResidualBlock, group_norm
from genvision.trunks.trunk import Trunk


class SpatialAttention(nn.Module):
    """x (B,C,H,W) -> (B,C,H,W): normalised self-attention over all positions, beside a skip."""

    def __init__(self, channels: int, head_width: int) -> None:
        super().__init__()
        self.norm, self.attention = group_norm(channels), Attention(channels, head_width)
        nn.init.zeros_(self.attention.out.weight)
        nn.init.zeros_(self.attention.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.attention(rearrange(self.norm(x), "b c h w -> b (h w) c"))
        return x + rearrange(tokens, "b (h w) c -> b c h w", h=x.shape[2])


class UNetTrunk(Trunk):
    """h (B,H,W,D), cond (B,D) -> (B,H,W,D), for any H and W: 28 -> 14 -> 7 -> 4 and back to the size of each skip.

    Mean pooling halves a level (half sizes round up). Every block on the way down leaves a skip that its mirror on the
    way up concatenates; with `input_skips` so does the input of every level (Ho et al. 2020). Self-attention sits
    between two blocks at the coarsest level, and after every block of `attention_levels` (0 is the finest). Options as
    in `genvision.config.trunks.UNetTrunkConfig`; works in (B,D,H,W) memory for the reason given in `ConvTrunk`.

    Raises ConfigError where `attention_levels` names a level that is not there.
    """

    stem = "conv"
    channels_last = False

    def __init__(
        self,
        grid: tuple[int, int],
        *,
        width: int,
        multipliers: tuple[int, ...],
        depth: int,
        attention: bool,
        attention_levels: tuple[int, ...] = (),
        input_skips: bool = False,
        head_width: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if not set(attention_levels) <= set(range(len(multipliers))):
            levels = f"trunk.attention_levels={list(attention_levels)}"
            raise ConfigError(f"{levels}: the {len(multipliers)} levels are 0 to {len(multipliers) - 1}")
        self.width, self.input_skips = width, input_skips
        widths, cond_width = [width * m for m in multipliers], 4 * width
        self.cond = nn.Sequential(nn.Linear(width, cond_width), nn.SiLU(), nn.Linear(cond_width, cond_width))

        def block(c_in: int, c_out: int) -> ResidualBlock:
            return ResidualBlock(c_in, c_out, cond_width, dropout=dropout)

        def mixings(level: int, count: int) -> nn.ModuleList:
            attends = level in attention_levels
            return nn.ModuleList(
                SpatialAttention(widths[level], head_width) if attends else nn.Identity() for _ in range(count)
            )

        self.down, self.up, self.expand = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.down_mixings, self.up_mixings = nn.ModuleList(), nn.ModuleList()
        c = width
        for level, c_level in enumerate(widths):
            self.down.append(nn.ModuleList(block(c if i == 0 else c_level, c_level) for i in range(depth)))
            self.down_mixings.append(mixings(level, depth))
            c = c_level
        mixing = SpatialAttention(c, head_width) if attention else nn.Identity()
        self.middle = nn.ModuleList([block(c, c), mixing, block(c, c)])
        for level, c_level in reversed(list(enumerate(widths))):
            skips = [c_level] * depth + [widths[level - 1] if level else width] * input_skips
            self.up.append(nn.ModuleList(block(c_level + c_skip, c_level) for c_skip in skips))
            self.up_mixings.append(mixings(level, len(skips)))
            if level:  # narrow before the finer level: its convolutions are the expensive ones
                self.expand.append(nn.Conv2d(c_level, widths[level - 1], 3, padding=1))
        self.out = nn.Sequential(group_norm(widths[0]), nn.SiLU(), nn.Conv2d(widths[0], width, 1))

    def forward(self, h: Tensor, cond: Tensor) -> Tensor:
        x, cond, skips = rearrange(h, "b h w d -> b d h w"), self.cond(F.silu(cond)), []
        for level, (blocks, mixings) in enumerate(zip(self.down, self.down_mixings, strict=True)):
            if level:
                x = F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
            if self.input_skips:
                skips.append(x)
            for block, mixing in zip(blocks, mixings, strict=True):
                x = self.run(mixing, self.run(block, x, cond))
                skips.append(x)
        first, mixing, last = self.middle
        x = self.run(last, self.run(mixing, self.run(first, x, cond)), cond)
        for level, (blocks, mixings) in enumerate(zip(self.up, self.up_mixings, strict=True)):
            if level:
                x = self.expand[level - 1](F.interpolate(x, size=skips[-1].shape[2:]))
            for block, mixing in zip(blocks, mixings, strict=True):
                x = self.run(mixing, self.run(block, x, cond, skips.pop()))
        return rearrange(self.out(x), "b d h w -> b h w d")
