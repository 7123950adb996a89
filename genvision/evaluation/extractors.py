"""Feature extractors, always named and never guessed: Inception (FID), and others whose distances are called FD.

Heusel et al. 2017, "GANs trained by a two time-scale update rule", define FID on the 2048 pooled features of one
particular Inception network; torch-fidelity's port of it is used. Distances between features of any other network are
not comparable with FID and never carry that name. EfficientNet-Lite0 needs no download.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from genvision.errors import ConfigError, DataError
from genvision.evaluation import weights as files
from genvision.evaluation.efficientnet import EfficientNetLite0
from genvision.evaluation.inception import Inception
from genvision.evaluation.registered import registered, registered_names, registered_weights, source_sha256
from genvision.evaluation.transformers import Clip, DinoV2
from genvision.evaluation.weights import Weights
from genvision.fingerprint import weights_sha256

if TYPE_CHECKING:
    from genvision.evaluation.features import Features

COLOR_RULE = "gray replicated to RGB"
CHANNELS = (1, 3)  # what an extractor takes
RESIZE = "{} px bilinear as in TensorFlow 1, inside the network"


class ExtractorStatus(NamedTuple):
    """Whether an extractor can be had right now without network, and why not."""

    name: str
    ready: bool
    reason: str


class Extractor:
    """A frozen float32 network in eval mode: uint8 images in, pooled features and class logits out.

    name            as the configuration calls it
    metric_name     what a Fréchet distance on its features is called; "FID" for Inception alone
    weights_sha256  of the weights file; of the tensors themselves where a user's own extractor has none
    resize          how images reach the network's size, in words; part of the protocol
    dim             D, the number of pooled features
    source          hash of the code of a user's own extractor, else empty
    """

    def __init__(self, kind: Kind, module: nn.Module, weights_sha256: str, device: torch.device | str) -> None:
        self.name, self.metric_name, self.resize, self.dim = kind.name, kind.metric_name, kind.resize, kind.dim
        self.weights_sha256, self.source = weights_sha256, kind.source
        self.device = torch.device(device)
        # channels_last is 1.5x faster on CPU for both networks and never slower on a GPU
        self._module = module.eval().requires_grad_(False).to(self.device, memory_format=torch.channels_last)

    def __call__(self, images: Tensor) -> Features:
        """images (B,1|3,H,W) uint8 -> pool (B,D) and logits (B,K), float32 on the CPU; K = 0 without classes.

        Raises DataError for any other dtype or number of channels, and for features of another shape.
        """
        from genvision.evaluation.features import Features

        if images.ndim != 4 or images.dtype != torch.uint8 or images.shape[1] not in CHANNELS:
            shape = "x".join(map(str, images.shape))
            raise DataError(
                f"extractor {self.name}: images are {shape} {images.dtype}; it takes uint8 (N,1,H,W) or (N,3,H,W)"
            )
        with _exact_float32(self.device.type):
            found = self._module(images.to(self.device))
        pool, logits = found if isinstance(found, tuple) else (found, found.new_empty(len(found), 0))
        if tuple(pool.shape) != (len(images), self.dim):
            shape = "x".join(map(str, pool.shape))
            raise DataError(f"extractor {self.name}: its features are {shape}; it states {len(images)}x{self.dim}")
        return Features(pool.float().cpu(), logits.float().cpu())


class Kind(NamedTuple):
    """One row of EXTRACTORS: how to find the weights of an extractor and how to build it from them."""

    name: str
    metric_name: str
    resize: str
    dim: int
    find: Callable[..., Any]  # (given path or None, download=True) -> Weights; None of a user's own without a file
    build: Callable[[Any], nn.Module]
    source: str = ""


def _read(weights: Weights) -> dict[str, Tensor]:
    return torch.load(weights.path, map_location="cpu", weights_only=True)


def _offered(publish: Callable[[], files.Published]) -> Callable[..., Weights]:
    return lambda given, download=True: publish().find(given, download=download)


def _dinov2(letter: str, dim: int, architecture: str) -> Kind:
    return Kind(
        f"dinov2-vit-{letter}-14", f"FD-DINOv2-{letter.upper()}", RESIZE.format(224), dim,
        _offered(lambda: files.dinov2(f"dinov2_vit{letter}14")), lambda found: DinoV2(architecture, _read(found)),
    )  # fmt: skip


def _clip(network: str, side: int, dim: int) -> Kind:
    name = f"clip-{network}"
    return Kind(
        name, f"FD-CLIP-{network}", RESIZE.format(side), dim,
        _offered(lambda: files.clip(name)), lambda found: Clip(name, found.path),
    )  # fmt: skip


EXTRACTORS = {
    kind.name: kind
    for kind in (
        Kind(
            "inception", "FID", RESIZE.format(299), 2048,
            _offered(files.inception), lambda found: Inception(_read(found)),
        ),
        Kind(
            "efficientnet-lite0", "FD-EffNetLite0", "224 px bicubic, antialiased, float32", 1280,
            lambda given, **_: files.efficientnet_weights(given), lambda found: EfficientNetLite0(_read(found)),
        ),
        _dinov2("s", 384, "vit_small_patch14_dinov2"),
        _dinov2("b", 768, "vit_base_patch14_dinov2"),
        _dinov2("l", 1024, "vit_large_patch14_dinov2"),
        _dinov2("g", 1536, "vit_giant_patch14_dinov2"),
        _clip("rn50", 224, 1024),
        _clip("rn101", 224, 512),
        _clip("rn50x4", 288, 640),
        _clip("rn50x16", 384, 768),
        _clip("rn50x64", 448, 1024),
        _clip("vit-b-32", 224, 512),
        _clip("vit-b-16", 224, 512),
        _clip("vit-l-14", 224, 768),
        _clip("vit-l-14-336px", 336, 768),
    )
}  # fmt: skip


def available() -> list[ExtractorStatus]:
    """The state of every extractor; downloads nothing and imports no package of a user's."""
    own = [ExtractorStatus(name, True, "of your own") for name in registered_names()]
    return [_status(kind) for kind in EXTRACTORS.values()] + own


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
    module = kind.build(found)
    return Extractor(kind, module, found.sha256 if found else weights_sha256(module), device)


def _kind(name: str) -> Kind:
    if name in EXTRACTORS:
        return EXTRACTORS[name]
    cls = registered(name)
    if cls is None:
        known = ", ".join([*EXTRACTORS, *registered_names()])
        raise ConfigError(f"score.extractor={name}: no such extractor; choose one of {known}")
    return Kind(
        name, cls.metric_name, cls.resize, cls.dim,
        lambda given: registered_weights(cls, given), lambda found: cls(found.path if found else None),
        source_sha256(cls),
    )  # fmt: skip


def _status(kind: Kind) -> ExtractorStatus:
    try:
        found = kind.find(None, download=False)
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
