"""The gated two-stack PixelCNN trunk: causal by padding alone, without a blind spot (van den Oord et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from genvision.errors import ConfigError
from genvision.trunks.trunk import Trunk


@dataclass
class GatedLayerCache:
    """What a layer remembers between pixels: of rows above and of its own row only what its kernel reaches."""

    bias: Tensor  # (B,2D) of the vertical stack, from cond
    linked_bias: Tensor  # (B,2D) of the horizontal one
    taps: Tensor  # (columns*D,2D): the horizontal kernel as a matrix
    above: Tensor  # (B,rows,W,D): the last rows of the vertical stack, the newest below
    linked: Tensor  # (W,B,2D): what the vertical stack tells each pixel of this row
    row: Tensor  # (B,(columns-1+W)*D): this row of the horizontal stack, zeros to its left


class GatedLayer(nn.Module):
    """One layer of both stacks: v, h (B,D,H,W), cond (B,D) -> v, h.

    The vertical stack looks at rows above, at any column, the horizontal one at its own row to the left and at the
    vertical stack of its place. With kernel 5, what output o sees of its input in the first layer (left; the input
    itself is excluded, a mask of type A) and in later layers (right, type B):

        vertical   # # # # #        vertical    # # # # #
                   # # # # #                    # # # # #
                   # # # # #                    # # o # #
                   . . o . .        horizontal  # # o . .
        horizontal # # o . .

    Since v at row r already excludes row r, later layers may use v of their own row. Both windows are got by padding
    and cropping, so that no weight is masked away. The gate is equation 2 of the paper, with cond as its bias.

    Stepped, the exclusion of the input is the caller's: the first layer is handed the row above and the pixel to the
    left, so that in every layer both windows are simply the last that were handed in.
    """

    def __init__(self, width: int, kernel: int, *, first: bool, dropout: float = 0.0) -> None:
        super().__init__()
        rows, reach = kernel // 2 + 1, kernel // 2
        lag = int(first)
        columns = reach if first else reach + 1
        self.pad_vertical = (reach, reach, rows - 1 + lag, 0)  # left, right, top, bottom
        self.pad_horizontal = (columns - 1 + lag, 0, 0, 0)
        self.vertical = nn.Conv2d(width, 2 * width, (rows, kernel))
        self.horizontal = nn.Conv2d(width, 2 * width, (1, columns))
        self.link = nn.Conv2d(2 * width, 2 * width, 1)
        self.out = nn.Conv2d(width, width, 1)
        self.cond = nn.Linear(width, 4 * width)
        self.dropout = nn.Dropout(dropout)
        self.first = first

    def forward(self, v: Tensor, h: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        height, width = h.shape[2:]
        bias_v, bias_h = rearrange(self.cond(F.silu(cond)), "b (two d) -> two b d 1 1", two=2)
        above = self.vertical(F.pad(v, self.pad_vertical))[:, :, :height]
        left = self.horizontal(F.pad(h, self.pad_horizontal))[:, :, :, :width]
        gated = self.out(self.dropout(gate(left + self.link(above) + bias_h)))
        return gate(above + bias_v), gated if self.first else h + gated

    def start(self, cond: Tensor, width: int) -> GatedLayerCache:
        """An empty cache for images of so many columns under cond (B,D)."""
        n, d = cond.shape
        rows, columns = self.vertical.kernel_size[0], self.horizontal.kernel_size[1]
        bias_v, bias_h = rearrange(self.cond(F.silu(cond)), "b (two d) -> two b d", two=2)
        return GatedLayerCache(
            bias_v,
            bias_h + self.horizontal.bias,
            rearrange(self.horizontal.weight, "o d 1 k -> (k d) o"),
            cond.new_zeros(n, rows, width, d),
            cond.new_zeros(width, n, 2 * d),
            cond.new_zeros(n, (columns - 1 + width) * d),
        )

    def start_row(self, v: Tensor, cache: GatedLayerCache) -> Tensor:
        """The next row (B,W,D) of the vertical stack -> the same of the next layer; the horizontal one may follow."""
        cache.above = torch.cat([cache.above[:, 1:], v[:, None]], 1)
        above = F.pad(rearrange(cache.above, "b r w d -> b d r w"), self.pad_vertical[:2])
        above = self.vertical(above)  # (B,2D,1,W)
        cache.linked = rearrange(self.link(above), "b d 1 w -> w b d") + cache.linked_bias
        return gate(rearrange(above, "b d 1 w -> b w d") + cache.bias[:, None], -1)

    def step(self, h: Tensor, column: int, cache: GatedLayerCache) -> Tensor:
        """The next pixel (B,D) of the horizontal stack -> the same of the next layer."""
        d, reach = h.shape[1], len(cache.taps)
        window = cache.row[:, column * d : column * d + reach]
        window[:, -d:] = h
        gated = self.out(gate(torch.addmm(cache.linked[column], window, cache.taps), -1)[:, :, None, None])[..., 0, 0]
        return gated if self.first else h + gated


def gate(x: Tensor, dim: int = 1) -> Tensor:
    """(B,2D,H,W) -> (B,D,H,W), or along another axis: tanh of one half times the sigmoid of the other."""
    signal, strength = x.chunk(2, dim)
    return torch.tanh(signal) * torch.sigmoid(strength)


@dataclass
class PixelCNNCache:
    """What the trunk remembers between pixels."""

    layers: list[GatedLayerCache]
    row: Tensor  # (B,W,D): the pixels of the current row
    position: int = 0  # of the next pixel, in raster order


class PixelCNNTrunk(Trunk):
    """h (B,H,W,D), cond (B,D) -> (B,H,W,D); output i sees inputs < i in raster order, strictly.

    Options as in `genvision.config.trunks.PixelCNNTrunkConfig`: `depth` gated layers. A residual connection joins the
    horizontal stack from the second layer on; the first must not pass its own pixel through.
    """

    stem = "patch"
    channels_last = True  # convolutions without a norm are fastest so, in bfloat16 above all

    def __init__(
        self, grid: tuple[int, int], *, causal: bool = True, width: int, depth: int, kernel: int, dropout: float
    ) -> None:
        super().__init__()
        if kernel < 3:
            raise ConfigError(f"trunk.kernel={kernel}: a pixelcnn sees no pixel but its own with it; use 3 or more")
        self.width, self.grid = width, grid
        self.layers = nn.ModuleList(GatedLayer(width, kernel, first=i == 0, dropout=dropout) for i in range(depth))

    def forward(self, h: Tensor, cond: Tensor) -> Tensor:
        v = h = rearrange(h, "b h w d -> b d h w")
        for layer in self.layers:
            v, h = self.run(layer, v, h, cond)
        return rearrange(F.silu(h), "b d h w -> b h w d")

    def start(self, cond: Tensor) -> PixelCNNCache:
        """An empty cache for len(cond) images."""
        columns = self.grid[1]
        layers = [layer.start(cond, columns) for layer in self.layers]
        return PixelCNNCache(layers, cond.new_zeros(len(cond), columns, self.width))

    def step(self, h: Tensor | None, cache: PixelCNNCache) -> Tensor:
        """The pixel (B,D) before the next place, None at the first -> what `forward` gives at that place, (B,D).

        The taps on rows above are computed once a row, for all of it; those on the row itself once a pixel.
        """
        column, cache.position = cache.position % self.grid[1], cache.position + 1
        if h is not None:
            cache.row[:, column - 1] = h  # column -1 ends the row above
        if column == 0:
            v = cache.row
            for layer, layer_cache in zip(self.layers, cache.layers, strict=True):
                v = layer.start_row(v, layer_cache)
        x = cache.row[:, column - 1] if column else torch.zeros_like(cache.row[:, 0])
        for layer, layer_cache in zip(self.layers, cache.layers, strict=True):
            x = layer.step(x, column, layer_cache)
        return F.silu(x)
