"""The denoiser role: a noisy image and its time become a prediction of the same shape."""

from __future__ import annotations

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from genvision.networks.network import REPEATED_BLOCKS, grid_of, make_conditioner, make_head, make_stem, run_trunk
from genvision.spec import ImageSpec
from genvision.trunks import make_trunk


class Denoiser(ModelMixin, ConfigMixin):
    """xt (B,C,H,W), t (B,) as the path scales it (0..1000), y (B,) or None -> (B,C,H,W); starts at zero.

    spec   fields of ImageSpec
    trunk_config  {"name": ..., options}
    patch  pixels per token and side
    """

    _supports_gradient_checkpointing = True
    _repeated_blocks = REPEATED_BLOCKS

    @register_to_config
    def __init__(self, spec: dict, trunk_config: dict, patch: int = 1) -> None:
        super().__init__()
        image = ImageSpec(**spec)
        self.stem = make_stem(trunk_config, image.channels, patch)
        self.condition = make_conditioner(trunk_config, image, time=True)
        self.trunk = make_trunk(trunk_config, grid_of(image, patch))
        self.head = make_head(trunk_config, image.channels, patch)
        self.head.zero()

    def forward(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.stem(xt)  # (B,h,w,D)
        return self.head(run_trunk(self.trunk, h, self.condition(len(xt), y, t)))  # (B,C,H,W)
