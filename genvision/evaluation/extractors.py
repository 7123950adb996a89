"""Feature extractors, always named and never guessed: Inception (FID) and EfficientNet-Lite0 (FD-EffNetLite0).

Heusel et al. 2017, "GANs trained by a two time-scale update rule", define FID on the 2048 pooled features of one
particular Inception network; torch-fidelity's port of it is used. EfficientNet-Lite0 (Tan and Le 2019) needs
no download; distances between its 1280 pooled features are not comparable with FID and never carry that name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genvision.errors import ConfigError, DataError
from genvision.evaluation import weights as files
from genvision.evaluation.inception import Inception
from genvision.evaluation.weights import Weights

if TYPE_CHECKING:
    from genvision.evaluation.features import Features

COLOR_RULE = "gray replicated to RGB"
CHANNELS = (1, 3)  # what an extractor takes


class ExtractorStatus(NamedTuple):
    """Whether an extractor can be had right now without network, and why not."""

    name: str
    ready: bool
    reason: str


class Extractor:
    """A frozen float32 network in eval mode: uint8 images in, pooled features and class logits out.

    name            as the configuration calls it
    metric_name     what a Fréchet distance on its features is called; "FID" for Inception alone
    weights_sha256  of the weights file
    resize          how images reach the network's size, in words; part of the protocol
    dim             D, the number of pooled features
    """

    def __init__(self, kind: Kind, module: nn.Module, weights_sha256: str, device: torch.device | str) -> None:
        self.name, self.metric_name, self.resize, self.dim = kind.name, kind.metric_name, kind.resize, kind.dim
        self.weights_sha256 = weights_sha256
        self.device = torch.device(device)
        # channels_last is 1.5x faster on CPU for both networks and never slower on a GPU
        self._module = module.eval().requires_grad_(False).to(self.device, memory_format=torch.channels_last)

    def __call__(self, images: Tensor) -> Features:
        """images (B,1|3,H,W) uint8 -> pool (B,D) and logits (B,K), float32 on the CPU.

        Raises DataError for any other dtype or number of channels.
        """
        from genvision.evaluation.features import Features

        if images.ndim != 4 or images.dtype != torch.uint8 or images.shape[1] not in CHANNELS:
            shape = "x".join(map(str, images.shape))
            raise DataError(
                f"extractor {self.name}: images are {shape} {images.dtype}; it takes uint8 (N,1,H,W) or (N,3,H,W)"
            )
        with _exact_float32(self.device.type):
            pool, logits = self._module(images.to(self.device))
        return Features(pool.float().cpu(), logits.float().cpu())


class Kind(NamedTuple):
    """One row of EXTRACTORS: how to find the weights of an extractor and how to build it from them."""

    name: str
    metric_name: str
    resize: str
    dim: int
    find: Callable[[str | None], Weights]
    build: Callable[[Weights], nn.Module]


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


def _read(weights: Weights) -> dict[str, Tensor]:
    return torch.load(weights.path, map_location="cpu", weights_only=True)


EXTRACTORS = {
    kind.name: kind
    for kind in (
        Kind(
            "inception", "FID", "299 px bilinear as in TensorFlow 1, inside the network", 2048,
            files.inception_weights, lambda found: Inception(_read(found)),
        ),
        Kind(
            "efficientnet-lite0", "FD-EffNetLite0", "224 px bicubic, antialiased, float32", 1280,
            files.efficientnet_weights, lambda found: EfficientNetLite0(_read(found)),
        ),
    )
}  # fmt: skip


def available() -> list[ExtractorStatus]:
    """The state of every extractor; downloads nothing."""
    return [_status(kind) for kind in EXTRACTORS.values()]


def require_extractor(name: str, weights: str | None = None) -> None:
    """The check before training: fetch and verify the weights, build nothing.

    Raises ConfigError for an unknown name, DataError (one line with the alternative) when the weights cannot be had.
    """
    _kind(name).find(weights)


def make_extractor(name: str, weights: str | None = None, device: torch.device | str = "cpu") -> Extractor:
    """The named extractor on `device`, from `weights` (a path) or from where it usually lies.

    Raises ConfigError for an unknown name, DataError when it cannot be had.
    """
    kind = _kind(name)
    found = kind.find(weights)
    return Extractor(kind, kind.build(found), found.sha256, device)


def _kind(name: str) -> Kind:
    if name not in EXTRACTORS:
        raise ConfigError(f"score.extractor={name}: no such extractor; choose one of {', '.join(EXTRACTORS)}")
    return EXTRACTORS[name]


def _status(kind: Kind) -> ExtractorStatus:
    cache = files.inception_cache()
    if kind.name == "inception" and not cache.is_file():
        return ExtractorStatus(kind.name, False, f"no {cache}; downloaded (95 MB) when first asked for")
    try:
        found = kind.find(None)
    except DataError as error:
        return ExtractorStatus(kind.name, False, str(error))
    return ExtractorStatus(kind.name, True, f"{kind.metric_name} from {found.path} (SHA-256 {found.sha256[:8]}…)")


@contextmanager
def _exact_float32(device_type: str) -> Iterator[None]:
    """No autocast, no TF32, no gradients: a score must not depend on how the model was trained."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with (
            torch.no_grad(),
            torch.autocast(device_type, enabled=False),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
