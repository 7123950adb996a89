"""The decoder role: a latent grid becomes features from which a likelihood head reads each pixel."""

from __future__ import annotations

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from genvision.networks.network import REPEATED_BLOCKS, grid_of, make_conditioner, make_head, make_stem, run_trunk
from genvision.probability.likelihood import make_likelihood
from genvision.spec import ImageSpec
from genvision.trunks import make_trunk


class Decoder(ModelMixin, ConfigMixin):
    """(B,F,H/patch,W/patch), y (B,) or None -> features (B,D,H,W) for `self.head`.

    spec             fields of ImageSpec
    trunk_config  {"name": ..., options}
    latent_channels  F
    patch            pixels per latent cell and side
    likelihood       {"name": ..., "mixtures": ...} of the likelihood head
    features         D
    """

    _supports_gradient_checkpointing = True
    _repeated_blocks = REPEATED_BLOCKS

    @register_to_config
    def __init__(
        self, spec: dict, trunk_config: dict, latent_channels: int, patch: int, likelihood: dict, features: int = 32
    ) -> None:
        super().__init__()
        image = ImageSpec(**spec)
        self.stem = make_stem(trunk_config, latent_channels, 1)
        self.condition = make_conditioner(trunk_config, image)
        self.trunk = make_trunk(trunk_config, grid_of(image, patch))
        self.expand = make_head(trunk_config, features, patch)
        self.head = make_likelihood(likelihood, features, image)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.stem(z)  # (B,h,w,D)
        return self.expand(run_trunk(self.trunk, h, self.condition(len(z), y)))  # (B,D,H,W)
