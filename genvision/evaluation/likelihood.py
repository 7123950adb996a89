"""Bits per dimension of a whole split, with its kind: one convention for all families (8-bit data, dims = C*H*W)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

from genvision.errors import DataError
from genvision.evaluation.batches import batches
from genvision.families.base import Family, require_finite

if TYPE_CHECKING:
    from genvision.data.image_set import ImageSet


# Kinds that cost a pass or a few. An estimate integrates an ODE, some hundred passes with gradients for every image.
QUICK = ("exact", "bound")


@torch.no_grad()
def bits_per_dim(
    family: Family,
    image_set: ImageSet,
    *,
    seed: int = 0,
    batch_size: int = 64,
    limit: int | None = None,
    progress: bool = False,
    **options: int | str,
) -> dict[str, Any] | None:
    """{"value", "kind", "split", "num_images", "standard_error"}, or None where the family has no likelihood.

    Beside them stand the family's `likelihood_options` as they were used: the defaults, or the given ones.

    value           mean over the first `limit` images (all by default), bits per dimension
    kind            exact, bound (the true value is no higher) or estimate
    standard_error  of that mean over images; null for a single image
    Image k draws its noise from (seed, k) alone, and batches have one size, the last one filled and cut: an image's
    value does not depend on how many others are measured.
    Raises NonFiniteError for a likelihood that is not a number, DataError for an empty split.
    """
    if family.likelihood is None:
        return None
    n = len(image_set.images) if limit is None else min(limit, len(image_set.images))
    if n <= 0:
        raise DataError(f"{image_set.name}:{image_set.split} has no images to measure bits per dimension on")
    options = {**family.likelihood_options, **options}
    was_training = family.training
    family.eval()
    try:
        found = batches(family, image_set, n, batch_size, seed=seed)
        bar = tqdm(found, "bits/dim", -(-n // batch_size), unit="batch", disable=not progress, leave=False)
        parts = [family.bits_per_dim(batch, draw, **options).double().cpu() for batch, draw in bar]
    finally:
        family.train(was_training)
    bits = require_finite(torch.cat(parts)[:n], f"bits per dimension on {image_set.name}:{image_set.split}")
    return {
        "value": bits.mean().item(),
        "kind": family.likelihood,
        "split": image_set.split,
        "num_images": n,
        "standard_error": bits.std().item() / math.sqrt(n) if n > 1 else None,
        **options,
    }
