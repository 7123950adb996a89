"""The mixing of the MLP-Mixer: an MLP along the token axis, with triangular weights where it must be causal."""

from __future__ import annotations

import numpy as np
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from genvision.errors import ConfigError
from genvision.layers.masked import MaskedLinear


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
