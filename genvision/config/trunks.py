"""Options of each trunk, and the table that says which trunk serves a backbone in each role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Position = Literal["none", "learned", "sincos", "rotary"]


@dataclass(frozen=True)
class ConvTrunkConfig:
    name: Literal["conv"] = "conv"
    width: int = 64
    depth: int = 4
    kernel: int = 3
    dropout: float = 0.0


@dataclass(frozen=True)
class UNetTrunkConfig:
    name: Literal["unet"] = "unet"
    width: int = 32
    multipliers: tuple[int, ...] = (1, 2, 2)  # width of each level, in units of `width`
    depth: int = 1  # residual blocks per level and direction
    attention: bool = True  # self-attention at the coarsest level
    head_width: int = 32
    dropout: float = 0.0


@dataclass(frozen=True)
class PixelCNNTrunkConfig:
    name: Literal["pixelcnn"] = "pixelcnn"
    width: int = 64
    depth: int = 8
    kernel: int = 5
    dropout: float = 0.0


@dataclass(frozen=True)
class PixelCNNPPTrunkConfig:
    name: Literal["pixelcnnpp"] = "pixelcnnpp"
    width: int = 40
    depth: int = 2  # pairs of blocks per scale on the way down; one more on the way up
    scales: int = 3  # resolutions, each half of the one before
    dropout: float = 0.0


@dataclass(frozen=True)
class ViTTrunkConfig:
    name: Literal["vit"] = "vit"
    width: int = 128
    depth: int = 6
    head_width: int = 32
    mlp_ratio: float = 4.0
    position: Position = "learned"
    class_token: bool = False
    attention: Literal["full"] = "full"
    dropout: float = 0.0


@dataclass(frozen=True)
class MixerTrunkConfig:
    name: Literal["mixer"] = "mixer"
    width: int = 128
    depth: int = 6
    token_ratio: float = 1.0  # hidden units of the token-MLP per token
    channel_ratio: float = 4.0  # hidden units of the channel-MLP per channel
    position: Position = "none"
    dropout: float = 0.0


TRUNK_CONFIGS = {
    "conv": ConvTrunkConfig,
    "unet": UNetTrunkConfig,
    "pixelcnn": PixelCNNTrunkConfig,
    "pixelcnnpp": PixelCNNPPTrunkConfig,
    "vit": ViTTrunkConfig,
    "mixer": MixerTrunkConfig,
}

# Each backbone in the form its own field would use. `trunk.name` overrides a cell.
BACKBONES = {
    "convnet": {"encoder": "conv", "decoder": "conv", "denoiser": "unet", "predictor": "pixelcnn"},
    "vit": {"encoder": "vit", "decoder": "vit", "denoiser": "vit", "predictor": "vit"},
    "mixer": {"encoder": "mixer", "decoder": "mixer", "denoiser": "mixer", "predictor": "mixer"},
}

# Which roles a trunk can serve: data, read by `build`, the tests and the docs.
TRUNK_ROLES = {
    "conv": ("encoder", "decoder", "denoiser"),
    "unet": ("denoiser",),
    "pixelcnn": ("predictor",),
    "pixelcnnpp": ("predictor",),
    "vit": ("encoder", "decoder", "denoiser", "predictor"),
    "mixer": ("encoder", "decoder", "denoiser", "predictor"),
}

FAMILY_ROLES = {"vae": ("encoder", "decoder"), "autoregressive": ("predictor",), "diffusion": ("denoiser",)}
