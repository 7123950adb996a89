"""The encoder role: an image becomes the moments of a latent grid, and that grid those of the latents above it."""

from __future__ import annotations

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from genvision.layers.resample import GridToVector
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
from genvision.probability.quantise import make_quantiser
from genvision.spec import ImageSpec
from genvision.trunks import make_trunk


class Encoder(ModelMixin, ConfigMixin):
    """(B,C,H,W) in [-1,1], y (B,) or None -> (B,F,H/patch,W/patch), or (B,F,1,1) with `vector`.

    spec          fields of ImageSpec
    trunk_config  {"name": ..., options}
    out_channels  F: twice the latent channels for a Gaussian posterior
    patch         pixels per latent cell and side
    vector        gather the whole grid in one cell
    top_channels  channels of the latents above the grid, which `top` finds: an encoder of the same trunk whose image is
                  the grid of F / 2 posterior means. 0: none
    top_patch     cells of the grid per cell above and side; None: one vector above the whole grid
    quantiser_config  options of `quantiser`, which makes tokens of the output; None: there is none
    """

    _supports_gradient_checkpointing = True
    _repeated_blocks = REPEATED_BLOCKS

    @register_to_config
    def __init__(
        self,
        spec: dict,
        trunk_config: dict,
        out_channels: int,
        patch: int,
        vector: bool = False,
        top_channels: int = 0,
        top_patch: int | None = None,
        quantiser_config: dict | None = None,
    ) -> None:
        super().__init__()
        image = ImageSpec(**spec)
        grid = grid_of(image, patch)
        self.stem = make_stem(trunk_config, image.channels, patch)
        self.condition = make_conditioner(trunk_config, image)
        self.trunk = make_trunk(trunk_config, grid)
        self.head = make_head(trunk_config, VECTOR_CHANNELS if vector else out_channels, 1)
        self.gather = GridToVector(VECTOR_CHANNELS, grid, out_channels) if vector else nn.Identity()
        self.quantiser = make_quantiser(quantiser_config) if quantiser_config else None
        self.top = None
        if top_channels:
            cells = cells_of(image, grid, out_channels // 2, top_patch)._asdict()
            self.top = Encoder(cells, trunk_config, 2 * top_channels, top_patch or 1, vector=top_patch is None)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.stem(x)  # (B,h,w,D)
        return self.gather(self.head(run_trunk(self.trunk, h, self.condition(len(x), y))))  # (B,F,h,w)
