"""What every trunk costs, as formulas: weights, multiply-adds and numbers kept for backward, for one image.

Layers add up, and each says what it keeps beside its own input where that is kept already by the layer before.
    dense        C_in C_out + C_out weights, C_in C_out multiply-adds a place
    convolution  K^2 C_in C_out + C_out weights, K^2 C_in C_out multiply-adds a place
    attention    2 L^2 D multiply-adds beside its dense layers; a fused kernel keeps no L x L matrix
Multiply-adds are those of matrix products and convolutions, which is what is counted; norms and gates are not in them.
Kept numbers are those of float32 training without dropout (`genvision.activations` counts their bytes).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Grid = tuple[int, int]
Options = Mapping[str, Any]


@dataclass(frozen=True)
class Cost:
    """weights that can act, multiply-adds of a forward pass, and numbers kept for the backward pass."""

    parameters: int = 0
    macs: int = 0
    kept: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.parameters + other.parameters, self.macs + other.macs, self.kept + other.kept)

    def __rmul__(self, times: int) -> Cost:
        return Cost(times * self.parameters, times * self.macs, times * self.kept)


def keeps(numbers: int) -> Cost:
    """Something that only remembers."""
    return Cost(kept=numbers)


def dense(places: int, c_in: int, c_out: int, *, kept: int | None = None) -> Cost:
    """A linear map at every place; it keeps its input, or the given number."""
    return Cost(c_in * c_out + c_out, places * c_in * c_out, places * c_in if kept is None else kept)


def conv(taps: int, c_in: int, c_out: int, places: int, inputs: int | None = None) -> Cost:
    """A convolution of so many taps at `places` outputs; it keeps its `inputs` places, padding included where it was
    made by hand."""
    kept = (places if inputs is None else inputs) * c_in
    return Cost(taps * c_in * c_out + c_out, taps * places * c_in * c_out, kept)


def group_norm(places: int, channels: int) -> Cost:
    """It keeps its input, and mean and deviation of each of its groups."""
    return Cost(2 * channels, 0, places * channels + 2 * math.gcd(8, channels))


def attention(tokens: int, width: int, heads: int, *, kept_input: bool = True) -> Cost:
    """Full attention through a fused kernel: queries, keys, values, outputs and one sum a query and head are kept."""
    qkv = dense(tokens, width, 3 * width, kept=tokens * width if kept_input else 0)
    matrix = Cost(0, 2 * tokens**2 * width, 4 * tokens * width + tokens * heads)
    return qkv + matrix + dense(tokens, width, width, kept=0)


def token_mlp(tokens: int, width: int, ratio: float, *, causal: bool) -> Cost:
    """An MLP along the tokens, the same for every channel; half of the weights of a causal one are masked away."""
    hidden = max(1, round(tokens * ratio))
    weights = 2 * tokens * hidden if not causal else int(ratio) * tokens * (tokens + 1)
    return Cost(weights + hidden + tokens, 2 * width * tokens * hidden, tokens * width + 2 * hidden * width)


def block(tokens: int, width: int, hidden: int, mixing: Cost) -> Cost:
    """The pre-norm block around a mixing: two norms, shifts, scales, gates, and the MLP over channels."""
    steering = dense(1, width, 6 * width) + keeps(8 * width)  # its six vectors, and 1 + scale twice
    around = keeps(2 * (tokens * width + 2 * tokens) + 2 * tokens * width + tokens * width)  # norms, normed, branch
    mlp = dense(tokens, width, hidden) + keeps(tokens * hidden) + dense(tokens, hidden, width)
    return steering + around + mixing + mlp + keeps(tokens * width)


def positions(grid: Grid, o: Options) -> Cost:
    """What is added to tokens, or what turns them (a table of `relative` belongs to its attention)."""
    tokens, width = grid[0] * grid[1], o["width"]
    if o["position"] == "fourier":
        return Cost(width, tokens * width) + dense(tokens, width, width, kept=0)  # the same for all images
    vectors = {"learned": tokens, "axial": grid[0] + grid[1]}
    return Cost(vectors.get(o["position"], 0) * width)


def token_trunk(grid: Grid, o: Options, mixing: Cost, hidden: int, prefix: int, causal: bool) -> Cost:
    """Positions, blocks, and a norm over the tokens of the grid."""
    tokens, width = grid[0] * grid[1], o["width"]
    norm = Cost(2 * width, 0, (tokens + prefix) * width + 2 * tokens)
    rotated = 2 * (tokens + prefix) * width * o["depth"] if o["position"] == "rotary" else 0
    blocks = o["depth"] * block(tokens + prefix, width, hidden, mixing)
    vectors = Cost((prefix + causal) * width)
    return positions(grid, o) + vectors + blocks + norm + keeps(width + rotated)  # the condition is kept once


def relative(grid: Grid, width: int, heads: int, prefix: int) -> Cost:
    """A number for each offset and head. A mask that learns has no fused kernel on a CPU: beside what that would keep
    are scaled queries and keys, and the weight of every pair in place of a sum a query."""
    tokens = grid[0] * grid[1] + prefix
    kept = 2 * tokens * width + heads * (tokens**2 - tokens)
    return Cost((2 * grid[0] - 1) * (2 * grid[1] - 1) * heads, 0, kept)


def vit(grid: Grid, o: Options, causal: bool) -> Cost:
    """Full attention."""
    prefix, width = int(o["class_token"]), o["width"]
    mixing = attention(grid[0] * grid[1] + prefix, width, heads := width // o["head_width"])
    if o["position"] == "relative":
        mixing += relative(grid, width, heads, prefix)
    return token_trunk(grid, o, mixing, round(o["mlp_ratio"] * width), prefix, causal)


def mixer(grid: Grid, o: Options, causal: bool) -> Cost:
    mixing = token_mlp(grid[0] * grid[1], o["width"], o["token_ratio"], causal=causal)
    return token_trunk(grid, o, mixing, round(o["channel_ratio"] * o["width"]), 0, causal)


def residual(places: int, c_in: int, c_out: int, cond: int, kernel: int = 3) -> Cost:
    """Norm, SiLU, convolution, twice; the second norm is steered."""
    skip = Cost(c_in * c_out + c_out, places * c_in * c_out) if c_in != c_out else Cost()
    first = group_norm(places, c_in) + keeps(places * c_in) + conv(kernel**2, c_in, c_out, places)
    steering = dense(1, cond, 2 * c_out) + keeps(places * c_out + c_out)
    second = group_norm(places, c_out) + keeps(places * c_out) + conv(kernel**2, c_out, c_out, places)
    return first + steering + second + skip


def conv_trunk(grid: Grid, o: Options, causal: bool) -> Cost:
    places, width = grid[0] * grid[1], o["width"]
    blocks = o["depth"] * residual(places, width, width, width, o["kernel"])
    return blocks + group_norm(places, width) + keeps(places * width + width)


def spatial_attention(places: int, channels: int, head_width: int) -> Cost:
    return group_norm(places, channels) + attention(places, channels, channels // head_width)


def unet(grid: Grid, o: Options, causal: bool) -> Cost:
    """Levels of half the size each, blocks with the skips of their mirrors on the way up."""
    width, depth, cond = o["width"], o["depth"], 4 * o["width"]
    widths = [width * multiplier for multiplier in o["multipliers"]]
    sizes = [math.prod(-(-side // 2**level) for side in grid) for level in range(len(widths))]
    total = dense(1, width, cond, kept=2 * width) + dense(1, cond, cond, kept=2 * cond) + keeps(cond)
    c = width
    for level, (c_level, places) in enumerate(zip(widths, sizes, strict=True)):
        attends = level in o["attention_levels"]
        mixing = spatial_attention(places, c_level, o["head_width"]) if attends else Cost()
        skips = [c_level] * depth + [widths[level - 1] if level else width] * o["input_skips"]
        total += residual(places, c, c_level, cond) + (depth - 1) * residual(places, c_level, c_level, cond)
        for skip in skips:
            total += residual(places, c_level + skip, c_level, cond)
        total += (depth + len(skips)) * mixing
        if level:
            total += keeps(sizes[level - 1] * c)  # what is pooled
            total += conv(9, c_level, c, sizes[level - 1])  # the way back to the finer level
        c = c_level
    middle = spatial_attention(sizes[-1], c, o["head_width"]) if o["attention"] else Cost()
    out = group_norm(sizes[0], widths[0]) + keeps(sizes[0] * widths[0]) + conv(1, widths[0], width, sizes[0])
    return total + 2 * residual(sizes[-1], c, c, cond) + middle + out


def pixelcnn(grid: Grid, o: Options, causal: bool) -> Cost:
    layers = [gated_layer(grid, o["width"], o["kernel"], first=k == 0) for k in range(o["depth"])]
    return sum(layers, keeps(grid[0] * grid[1] * o["width"] + o["width"]))


def gated_layer(grid: Grid, d: int, kernel: int, *, first: bool) -> Cost:
    """Two stacks, causal by padding; the first layer is a place further away from its own."""
    (h, w), reach, lag = grid, kernel // 2, int(first)
    rows, columns = reach + 1, reach + 1 - lag
    vertical = conv(rows * kernel, d, 2 * d, (h + lag) * w, (h + rows - 1 + lag) * (w + 2 * reach))
    horizontal = conv(columns, d, 2 * d, h * (w + lag), h * (w + columns - 1 + lag))
    link = conv(1, 2 * d, 2 * d, h * w, (h + lag) * w)
    gates = keeps(2 * 2 * h * w * d)  # a tanh and a sigmoid of each stack
    return vertical + horizontal + link + gates + conv(1, d, d, h * w) + dense(1, d, 4 * d)


def pixelcnnpp(grid: Grid, o: Options, causal: bool) -> Cost:
    """Two streams through an hourglass; `below` and `beside` are the image moved on by a row, by a column."""
    (h, w), d = grid, o["width"]
    above = conv(6, d, d, h * w, (h + 1) * (w + 2)) + conv(3, d, d, h * w, (h + 1) * w)
    left = conv(1, d, d, h * w, h * (w + 1))
    return above + left + scale(grid, d, o["depth"], o["scales"]) + keeps(h * w * d + d)


def scale(grid: Grid, d: int, depth: int, scales: int) -> Cost:
    """`depth` pairs of blocks down, as many and one more up where a coarser scale lies between."""
    (h, w), ups = grid, depth + (scales > 1)
    total = depth * (gated(grid, d, 0, rows=True) + gated(grid, d, 1, rows=False))
    total += ups * (gated(grid, d, 1, rows=True) + gated(grid, d, 2, rows=False))
    if scales == 1:
        return total
    half = -(-h // 2), -(-w // 2)
    cells = half[0] * half[1]
    shrink = conv(6, d, d, cells, (h + 1) * (w + 2)) + conv(4, d, d, cells, (h + 1) * (w + 1))
    return total + shrink + scale(half, d, depth, scales - 1) + 2 * conv(1, d, 4 * d, cells)


def gated(grid: Grid, d: int, beside: int, *, rows: bool) -> Cost:
    """A gated residual block of either stream, with 1x1 convolutions of what stands beside it."""
    (h, w), taps = grid, 6 if rows else 4
    padded = (h + 1) * (w + (2 if rows else 1))
    places = h * w
    first = keeps(2 * places * d) + conv(taps, 2 * d, d, places, padded)  # what the ELU of +-x was of, and its output
    second = keeps(2 * places * d) + conv(taps, 2 * d, 2 * d, places, padded)
    others = beside * (keeps(2 * places * d) + conv(1, 2 * d, d, places))
    return first + second + others + keeps(3 * places * d) + dense(1, d, 2 * d)


CLOSED_FORMS: dict[str, Callable[[Grid, Options, bool], Cost]] = {
    "conv": conv_trunk,
    "unet": unet,
    "pixelcnn": pixelcnn,
    "pixelcnnpp": pixelcnnpp,
    "vit": vit,
    "mixer": mixer,
}
