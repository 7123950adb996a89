"""EfficientNet-Lite0 (Tan and Le 2019), whose weights a package ships: features without any download."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class EfficientNetLite0(nn.Module):
    """timm's tf_efficientnet_lite0 on uint8 images, resized to 224 px and scaled to [-1, 1].

    The resize is antialiased bicubic, Pillow's definition (a = -0.5): images above 224 px do not alias, and pixels keep
    their float values instead of being rounded to 8 bits again.
    """

    net: Any  # one of timm's classes, which share these methods but no type

    def __init__(self, state: dict[str, Tensor]) -> None:
        import timm

        super().__init__()
        self.net = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        names = self.net.state_dict()  # same tensors in the same order, under timm's names
        self.net.load_state_dict(dict(zip(names, state.values(), strict=True)), strict=True)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B,1|3,H,W) uint8 -> (B,1280), (B,1000)."""
        x = F.interpolate(images.float(), size=(224, 224), mode="bicubic", antialias=True, align_corners=False)
        x = (x / 127.5 - 1).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        pool = self.net.forward_head(self.net.forward_features(x), pre_logits=True)
        return pool, self.net.get_classifier()(pool)
