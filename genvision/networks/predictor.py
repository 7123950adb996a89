"""The causal predictor role: features of each pixel from the pixels before it."""

from __future__ import annotations

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from torch import Tensor

from genvision.layers.resample import PatchStem
from genvision.networks.network import REPEATED_BLOCKS, grid_of, make_conditioner, run_trunk
from genvision.probability.likelihood import make_likelihood
from genvision.spec import ImageSpec
from genvision.trunks import make_trunk


class CausalPredictor(ModelMixin, ConfigMixin):
    """(B,C,H,W) in [-1,1], y (B,) or None -> features (B,D,H,W); at raster i from pixels < i only, strictly.

    The stem is 1x1: anything wider would let a pixel see its neighbours before the trunk decides who may.

    spec        fields of ImageSpec
    trunk_config  {"name": ..., options}; D is its width
    likelihood  {"name": ..., "mixtures": ...} of the likelihood head
    """

    _supports_gradient_checkpointing = True
    _repeated_blocks = REPEATED_BLOCKS

    @register_to_config
    def __init__(self, spec: dict, trunk_config: dict, likelihood: dict) -> None:
        super().__init__()
        image = ImageSpec(**spec)
        self.stem = PatchStem(image.channels, trunk_config["width"], 1)
        self.condition = make_conditioner(trunk_config, image)
        self.trunk = make_trunk(trunk_config, grid_of(image, 1), causal=True)
        self.head = make_likelihood(likelihood, trunk_config["width"], image)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.stem(x)  # (B,H,W,D)
        h = run_trunk(self.trunk, h, self.condition(len(x), y))
        return rearrange(h, "b h w d -> b d h w")
