"""The mixing of the MLP-Mixer: an MLP along the token axis, with triangular weights where it must be causal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from genvision.errors import ConfigError
from genvision.layers.masked import MaskedLinear


@dataclass
class TokenMLPCache:
    """What a causal token-MLP remembers of the tokens it was given one by one."""

    up: Tensor  # (hidden,T) and
    down: Tensor  # (T,hidden): the weights under their masks
    tokens: Tensor  # (T,B*D)
    hidden: Tensor  # (hidden,B*D), activated
    position: int = 0  # of the next token


class TokenMLP(nn.Module):
    """(B,T,D) -> (B,T,D), the same two-layer MLP over T for every channel (Tolstikhin et al. 2021, equation 1).

    tokens  T
    ratio   hidden units per token
    causal  hidden unit j belongs to token floor(j / ratio) and sees tokens up to it; token i sees hidden units of
            tokens up to i. With ratio 1 both weight matrices are lower triangular:

                1 . . .
                1 1 . .
                1 1 1 .
                1 1 1 1

            A ratio below 1 would leave tokens that no later token can see, and is refused.
    """

    def __init__(self, tokens: int, ratio: float, *, causal: bool = False) -> None:
        super().__init__()
        if causal and (ratio < 1 or ratio != int(ratio)):
            raise ConfigError(f"trunk.token_ratio={ratio} must be a whole number >= 1 in a causal mixer")
        hidden = max(1, round(tokens * ratio))
        if causal:
            owner = np.arange(hidden) // int(ratio)
            mask = owner[:, None] >= np.arange(tokens)[None]
            later = np.arange(tokens)[:, None] >= owner[None]
            self.up, self.down = MaskedLinear(mask), MaskedLinear(later)
        else:
            self.up, self.down = nn.Linear(tokens, hidden), nn.Linear(hidden, tokens)

    def forward(self, h: Tensor) -> Tensor:
        h = rearrange(h, "b t d -> b d t")
        return rearrange(self.down(F.gelu(self.up(h))), "b d t -> b t d")

    def start(self, n: int, tokens: int, width: int) -> TokenMLPCache:
        """An empty cache for n sequences of `tokens` tokens."""
        up, down = self.up.masked_weight(), self.down.masked_weight()
        return TokenMLPCache(up, down, up.new_empty(tokens, n * width), up.new_empty(len(up), n * width))

    def step(self, h: Tensor, cache: TokenMLPCache) -> Tensor:
        """The next token (B,D) -> what the causal `forward` gives at its place.

        Row i of the triangles: the hidden units of token i from the tokens so far, its output from the hidden units so
        far. Adding column i to all sums to come would move as many numbers twice, once to read and once to write.
        """
        i, cache.position = cache.position, cache.position + 1
        ratio = len(cache.hidden) // len(cache.tokens)
        own, done = slice(ratio * i, ratio * (i + 1)), ratio * (i + 1)
        cache.tokens[i] = h.flatten()
        bias = rearrange(self.up.bias[own], "j -> j 1")
        cache.hidden[own] = F.gelu(torch.addmm(bias, cache.up[own, : i + 1], cache.tokens[: i + 1]))
        out = torch.addmm(self.down.bias[i], cache.down[i : i + 1, :done], cache.hidden[:done])
        return out.view_as(h)
