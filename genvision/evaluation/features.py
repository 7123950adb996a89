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
from accelerate.utils import gather_object
from torch import Tensor

from genvision.errors import DataError, NonFiniteError, StorageError
from genvision.probability.randomness import Stream, generator
from genvision.sampling import processes
from genvision.sampling.sharing import shared
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
    """Features of images (N,C,H,W) uint8 on every process, each of which looks at its share of the batches.

    A batch has exactly `batch_size` images, the last one filled with copies of its last image and cut: a row's last
    bits depend on the size of its batch, and so features are the same bits from any number of processes. Raises
    DataError for no images, NonFiniteError for features that are not numbers.
    """
    if len(images) == 0:
        raise DataError("no images to extract features from; at least one is needed")

    def look(slots: Tensor) -> Tensor:
        found = extractor(images[slots.clamp(max=len(images) - 1)])
        return torch.cat([found.pool, found.logits], 1)

    found = shared(look, len(images), batch_size, title=extractor.name, unit="batch", progress=progress)
    pool, logits = found[:, : extractor.dim].contiguous(), found[:, extractor.dim :].contiguous()
    if not (torch.isfinite(pool).all() and torch.isfinite(logits).all()):
        raise NonFiniteError(f"extractor {extractor.name} gave features that are not finite; check its weights file")
    return Features(pool, logits)


def reference_features(reference: ImageSet, extractor: Extractor) -> Features:
    """Features of the images of a reference, from the package, the cache, or computed now and cached.

    A damaged cache file is recomputed; a cache that cannot be written costs a warning, not the score.
    """
    state = processes()
    key = reference_key(reference.fingerprint, extractor)
    places = [folder / f"{key}.safetensors" for folder in (BUNDLED, cache_folder())]
    loaded = (_load(place, (len(reference), extractor.dim)) for place in places)
    pool = next((found for found in loaded if found is not None), None)
    here = pool is not None
    if not all(gather_object([here]) if state.num_processes > 1 else [here]):  # all compute, or none
        pool = extract(reference.images, extractor, progress=True).pool
        if state.is_local_main_process:
            _keep(pool, places[-1])
        state.wait_for_everyone()
    assert pool is not None
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
    } | ({"source": extractor.source} if extractor.source else {})
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def cache_folder() -> Path:
    """$GENVISION_CACHE/features, or ~/.cache/genvision/features."""
    return Path(os.environ.get("GENVISION_CACHE", "~/.cache/genvision")).expanduser() / "features"


def save_reference(pool: Tensor, path: Path) -> None:
    """Write pool (N,D) float32 with its own hash: safetensors alone would accept a flipped bit. Raises StorageError."""
    from safetensors.torch import save

    with replacing(path) as temporary:
        temporary.write_bytes(save({"pool": pool.contiguous()}, {"sha256": _digest(pool)}))


def _keep(pool: Tensor, path: Path) -> None:
    try:
        save_reference(pool, path)
    except StorageError as error:
        log.warning("reference features are not cached: %s", error)


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
