"""The encoder role: an image becomes the moments of a latent grid."""

from __future__ import annotations

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from genvision.networks.network import REPEATED_BLOCKS, grid_of, make_conditioner, make_head, make_stem, run_trunk
from genvision.spec import ImageSpec
from genvision.trunks import make_trunk


class Encoder(ModelMixin, ConfigMixin):
    """(B,C,H,W) in [-1,1], y (B,) or None -> (B,F,H/patch,W/patch).

    spec          fields of ImageSpec
    trunk_config  {"name": ..., options}
    out_channels  F: twice the latent channels for a Gaussian posterior
    patch         pixels per latent cell and side
    """

    _supports_gradient_checkpointing = True
    _repeated_blocks = REPEATED_BLOCKS

    @register_to_config
    def __init__(self, spec: dict, trunk_config: dict, out_channels: int, patch: int) -> None:
        super().__init__()
        image = ImageSpec(**spec)
        self.stem = make_stem(trunk_config, image.channels, patch)
        self.condition = make_conditioner(trunk_config, image)
        self.trunk = make_trunk(trunk_config, grid_of(image, patch))
        self.head = make_head(trunk_config, out_channels, 1)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.stem(x)  # (B,h,w,D)
        return self.head(run_trunk(self.trunk, h, self.condition(len(x), y)))  # (B,F,h,w)
