"""Options of each trunk, and the table that says which trunk serves a backbone in each role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# all but the last two are added to tokens; a mixer has no queries and keys to turn or weigh
Position = Literal["none", "learned", "axial", "sincos", "sincos1d", "fourier", "rotary", "relative"]
Attention = Literal["full", "window", "linformer", "performer"]


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
    attention: bool = True  # self-attention between the two blocks in the middle
    attention_levels: tuple[int, ...] = ()  # 0 is the finest: self-attention after each of their blocks
    input_skips: bool = False  # each level's input is a skip too, with a block more on the way up
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
    attention: Attention = "full"
    window_size: int | None = None  # tokens per side of a window
    linformer_rank: int | None = None  # mixtures of tokens that a token attends to
    performer_features: int | None = None  # random features of queries and keys
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

# The option that a kind of attention has and others lack (null there), and its value where nobody sets it.
ATTENTION_OPTIONS = {
    "window": ("window_size", 7),
    "linformer": ("linformer_rank", 32),
    "performer": ("performer_features", 64),
}

# Which roles a kind can serve: a window sees tokens on all sides, a Linformer mixes all of them before it looks.
ATTENTION_ROLES = {
    "full": TRUNK_ROLES["vit"],
    "window": ("encoder", "decoder", "denoiser"),
    "linformer": ("encoder", "decoder", "denoiser"),
    "performer": TRUNK_ROLES["vit"],
}

FAMILY_ROLES = {"vae": ("encoder", "decoder"), "autoregressive": ("predictor",), "diffusion": ("denoiser",)}
