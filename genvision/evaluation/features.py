"""Features of an image set, and the cache of a reference's features under the hash of its pixels."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genvision.errors import DataError, NonFiniteError, StorageError
from genvision.probability.randomness import Stream, generator
from genvision.storage import replacing

if TYPE_CHECKING:
    from genvision.data.image_set import ImageSet
    from genvision.evaluation.extractors import Extractor

BATCH_SIZE = 64
CODE_VERSION = 1  # raise it when the same pixels and weights begin to give other features
BUNDLED = Path(__file__).parent / "bundled"  # reference features that ship with the package, under the same keys

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Features:
    """What an extractor saw in N images: pool (N,D) and logits (N,K), float32 on the CPU.

    A cached reference has no logits (N,0): only the generated images' class distribution is ever scored.
    """

    pool: Tensor
    logits: Tensor

    def __len__(self) -> int:
        return len(self.pool)


def extract(images: Tensor, extractor: Extractor, *, batch_size: int = BATCH_SIZE, progress: bool = False) -> Features:
    """Features of images (N,C,H,W) uint8, always in batches of exactly `batch_size`.

    The last batch is filled with copies of its last image and cut, because a row's last bits depend on the size of its
    batch. Raises DataError for no images, NonFiniteError for features that are not numbers.
    """
    if len(images) == 0:
        raise DataError("no images to extract features from; at least one is needed")
    from tqdm import tqdm

    parts = []
    for start in tqdm(range(0, len(images), batch_size), desc=extractor.name, unit="batch", disable=not progress):
        batch = images[start : start + batch_size]
        missing = batch_size - len(batch)
        found = extractor(torch.cat([batch, batch[-1:].expand(missing, -1, -1, -1)]) if missing else batch)
        parts.append((found.pool[: len(batch)], found.logits[: len(batch)]))
    pool, logits = (torch.cat(part) for part in zip(*parts, strict=True))
    if not (torch.isfinite(pool).all() and torch.isfinite(logits).all()):
        raise NonFiniteError(f"extractor {extractor.name} gave features that are not finite; check its weights file")
    return Features(pool, logits)


def reference_features(image_set: ImageSet, extractor: Extractor, n: int | None = None) -> Features:
    """Features of the reference images of a set, from the package, the cache, or computed now and cached.

    A damaged cache file is recomputed; a cache that cannot be written costs a warning, not the score.
    Raises DataError when the set has fewer than n images.
    """
    reference = reference_subset(image_set, n)
    key = reference_key(reference.fingerprint, extractor)
    for folder in (BUNDLED, cache_folder()):
        pool = _load(folder / f"{key}.safetensors", (len(reference), extractor.dim))
        if pool is not None:
            return _reference(pool)
    pool = extract(reference.images, extractor, progress=True).pool
    try:
        save_reference(pool, cache_folder() / f"{key}.safetensors")
    except StorageError as error:
        log.warning("reference features are not cached: %s", error)
    return _reference(pool)


def reference_subset(image_set: ImageSet, n: int | None = None) -> ImageSet:
    """The whole set, or n of its images by a fixed permutation: sets are often sorted by class.

    Raises DataError when the set has fewer than n images.
    """
    have = len(image_set)
    if n is None or n == have:
        return image_set
    if not 0 < n < have:
        raise DataError(f"reference {image_set.name}:{image_set.split} has {have} images; {n} were asked for")
    rows = torch.from_numpy(generator(0, Stream.ORDER).permutation(have)[:n]).sort().values
    labels = None if image_set.labels is None else image_set.labels[rows]
    return replace(image_set, images=image_set.images[rows], labels=labels)


def reference_key(fingerprint: str, extractor: Extractor) -> str:
    """Name of the cache entry: a hash of everything that the features depend on, and of no name a user could reuse.

    fingerprint  SHA-256 of the pixels of exactly the reference images (`ImageSet.fingerprint`)
    """
    parts = {
        "pixels": fingerprint,
        "extractor": extractor.name,
        "weights": extractor.weights_sha256,
        "resize": extractor.resize,
        "code": CODE_VERSION,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def cache_folder() -> Path:
    """$GENVISION_CACHE/features, or ~/.cache/genvision/features."""
    return Path(os.environ.get("GENVISION_CACHE", "~/.cache/genvision")).expanduser() / "features"


def save_reference(pool: Tensor, path: Path) -> None:
    """Write pool (N,D) float32 with its own hash: safetensors alone would accept a flipped bit. Raises StorageError."""
    from safetensors.torch import save

    with replacing(path) as temporary:
        temporary.write_bytes(save({"pool": pool.contiguous()}, {"sha256": _digest(pool)}))


def _load(path: Path, shape: tuple[int, int]) -> Tensor | None:
    if not path.is_file():
        return None
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            pool = file.get_tensor("pool").clone()  # not a view of a file that another process may replace
            written = (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        pool, written = torch.empty(0), None
    if tuple(pool.shape) == shape and pool.dtype == torch.float32 and written == _digest(pool):
        return pool
    log.warning("%s is damaged; its features are computed again", path)
    return None


def _digest(pool: Tensor) -> str:
    return hashlib.sha256(pool.contiguous().numpy().tobytes()).hexdigest()


def _reference(pool: Tensor) -> Features:
    return Features(pool, pool.new_empty(len(pool), 0))
