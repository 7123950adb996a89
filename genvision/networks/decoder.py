"""The decoder role: a latent grid becomes features from which a likelihood head reads each pixel."""

from __future__ import annotations

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from genvision.layers.resample import VectorToGrid
from genvision.networks.network import (
    REPEATED_BLOCKS,
    VECTOR_CHANNELS,
    cells_of,
    grid_of,
    make_conditioner,
    make_head,
    make_stem,
    run_trunk,
)
from genvision.probability.likelihood import make_likelihood
from genvision.spec import ImageSpec
from genvision.trunks import make_trunk


class Decoder(ModelMixin, ConfigMixin):
    """(B,F,H/patch,W/patch), or (B,F,1,1) with `vector`, y (B,) or None -> features (B,D,H,W) for `self.head`.

    spec             fields of ImageSpec
    trunk_config  {"name": ..., options}
    latent_channels  F
    patch            pixels per latent cell and side
    likelihood       {"name": ..., options} of the likelihood head; None: the features are what is asked for
    features         D
    vector           the latents are one cell that is spread over the whole grid
    top_channels     channels of the latents above the grid, from which `top` tells the prior of the grid: a decoder of
                     the same trunk whose features are its 2 F moments. 0: none
    top_patch        cells of the grid per cell above and side; None: one vector above the whole grid
    """

    _supports_gradient_checkpointing = True
    _repeated_blocks = REPEATED_BLOCKS

    @register_to_config
    def __init__(
        self,
        spec: dict,
        trunk_config: dict,
        latent_channels: int,
        patch: int,
        likelihood: dict | None = None,
        features: int = 32,
        vector: bool = False,
        top_channels: int = 0,
        top_patch: int | None = None,
    ) -> None:
        super().__init__()
        image = ImageSpec(**spec)
        grid = grid_of(image, patch)
        self.spread = VectorToGrid(latent_channels, grid, VECTOR_CHANNELS) if vector else nn.Identity()
        self.stem = make_stem(trunk_config, VECTOR_CHANNELS if vector else latent_channels, 1)
        self.condition = make_conditioner(trunk_config, image)
        self.trunk = make_trunk(trunk_config, grid)
        self.expand = make_head(trunk_config, features, patch)
        self.head = make_likelihood(likelihood, features, image) if likelihood else None
        self.top = None
        if top_channels:
            cells, moments = cells_of(image, grid, latent_channels, top_patch)._asdict(), 2 * latent_channels
            self.top = Decoder(
                cells, trunk_config, top_channels, top_patch or 1, features=moments, vector=top_patch is None
            )

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.stem(self.spread(z))  # (B,h,w,D)
        return self.expand(run_trunk(self.trunk, h, self.condition(len(z), y)))  # (B,D,H,W)
