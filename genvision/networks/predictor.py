"""The causal predictor role: features of each pixel from the pixels before it."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from torch import Tensor

from genvision.errors import ConfigError
from genvision.layers.resample import PatchStem, TokenStem
from genvision.networks.network import REPEATED_BLOCKS, grid_of, make_conditioner, run_trunk
from genvision.probability.likelihood import make_likelihood
from genvision.probability.randomness import Stream, generator
from genvision.spec import ImageSpec
from genvision.trunks import make_trunk

ORDER_SEED = 0  # of the random pixel order: one for all runs, so that every backbone meets the same permutation


class CausalPredictor(ModelMixin, ConfigMixin):
    """(B,C,H,W) in [-1,1] or tokens, y (B,) or None -> features (B,D,H,W); at each pixel from the pixels before it, strictly.

    The stem is 1x1: anything wider would let a pixel see its neighbours before the trunk decides who may.

    spec          fields of ImageSpec
    trunk_config  {"name": ..., options}; D is its width
    likelihood    {"name": ..., "mixtures": ...} of the likelihood head
    order         in which pixels follow each other: "raster", or "random": one fixed permutation. The trunk then works
                  on the permuted image, positions and all, and no backbone finds a neighbour where it expects one
    """

    _supports_gradient_checkpointing = True
    _repeated_blocks = REPEATED_BLOCKS

    @register_to_config
    def __init__(self, spec: dict, trunk_config: dict, likelihood: dict, order: str = "raster") -> None:
        super().__init__()
        image = ImageSpec(**spec)
        stem = PatchStem if image.ordinal else TokenStem
        self.stem = stem(image.channels, trunk_config["width"], 1 if image.ordinal else image.levels)
        self.condition = make_conditioner(trunk_config, image)
        self.trunk = make_trunk(trunk_config, grid_of(image, 1), causal=True)
        self.head = make_likelihood(likelihood, trunk_config["width"], image)
        self.places = pixel_order(order, image.height, image.width)
        self.permuted = order != "raster"

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.stem(x)  # (B,H,W,D)
        cond = self.condition(len(x), y)
        if self.permuted:
            order = torch.tensor([i * x.shape[3] + j for i, j in self.places], device=h.device)
            h = reorder(run_trunk(self.trunk, reorder(h, order), cond), order.argsort())
        else:
            h = run_trunk(self.trunk, h, cond)
        return rearrange(h, "b h w d -> b d h w")

    def start(self, n: int, y: Tensor | None = None) -> Any:
        """The trunk's cache for n images that are drawn pixel by pixel, in eval mode."""
        return self.trunk.start(self.condition(n, y))

    def step(self, x: Tensor | None, cache: Any) -> Tensor:
        """The pixel drawn last, (B,C) as `forward` takes it, None at first -> features (B,D,1,1) of the next of `places`."""
        h = None if x is None else self.stem(rearrange(x, "b c -> b c 1 1"))[:, 0, 0]
        return rearrange(self.trunk.step(h, cache), "b d -> b d 1 1")


def pixel_order(name: str, height: int, width: int) -> list[tuple[int, int]]:
    """(row, column) of every pixel, in the order in which they are predicted. Raises ConfigError for an unknown name."""
    if name not in ("raster", "random"):
        raise ConfigError(f"family.order={name} is unknown; orders are raster, random")
    raster = [(i, j) for i in range(height) for j in range(width)]
    ranks = (
        range(len(raster)) if name == "raster" else generator(ORDER_SEED, Stream.ORDER).random(len(raster)).argsort()
    )
    return [raster[k] for k in ranks]


def reorder(h: Tensor, order: Tensor) -> Tensor:
    """(B,H,W,D) -> the same with token order[i] at the i-th place of the grid."""
    tokens = rearrange(h, "b h w d -> b (h w) d")[:, order]
    return rearrange(tokens, "b (h w) d -> b h w d", h=h.shape[1])
