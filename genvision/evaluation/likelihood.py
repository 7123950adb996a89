"""Bits per dimension of a whole split, with its kind: one convention for all families (8-bit data, dims = C*H*W)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from genvision.errors import DataError
from genvision.evaluation.batches import batches
from genvision.families.base import Family, require_finite
from genvision.probability.bounds import importance_weighted
from genvision.probability.units import nats_to_bits_per_dim
from genvision.spec import Batch, Draw

if TYPE_CHECKING:
    from genvision.data.image_set import ImageSet


@torch.no_grad()
def bits_per_dim(
    family: Family,
    image_set: ImageSet,
    *,
    seed: int = 0,
    batch_size: int = 64,
    limit: int | None = None,
    importance_samples: int | None = None,
) -> dict[str, Any] | None:
    """{"value", "kind", "bound", "split", "num_images", "standard_error"}, or None where the family has no likelihood.

    value           mean over the first `limit` images (all by default), bits per dimension
    kind            exact, bound (the true value is no higher) or estimate
    bound           "elbo", or "iwae:K" with K `importance_samples` (Burda et al. 2016); null where kind is not bound
    standard_error  of that mean over images; null for a single image
    Image k draws its noise from (seed, k) alone, and batches have one size, the last one filled and cut: an image's
    value does not depend on how many others are measured.
    Raises NonFiniteError for a likelihood that is not a number, DataError for an empty split, ConfigError for
    importance samples of a family without latents.
    """
    if family.likelihood is None:
        return None
    n = len(image_set.images) if limit is None else min(limit, len(image_set.images))
    if n <= 0:
        raise DataError(f"{image_set.name}:{image_set.split} has no images to measure bits per dimension on")
    was_training = family.training
    family.eval()
    try:
        found = batches(family, image_set, n, batch_size, seed=seed)
        parts = [_bits(family, batch, draw, importance_samples).double().cpu() for batch, draw in found]
    finally:
        family.train(was_training)
    bits = require_finite(torch.cat(parts)[:n], f"bits per dimension on {image_set.name}:{image_set.split}")
    return {
        "value": bits.mean().item(),
        "kind": family.likelihood,
        "bound": bound_name(importance_samples) if family.likelihood == "bound" else None,
        "split": image_set.split,
        "num_images": n,
        "standard_error": bits.std().item() / math.sqrt(n) if n > 1 else None,
    }


def _bits(family: Family, batch: Batch, draw: Draw, importance_samples: int | None) -> torch.Tensor:
    """(B,) bits per dimension of a batch."""
    if importance_samples is None:
        return family.bits_per_dim(batch, draw)
    draws = (draw._replace(step=k) for k in range(importance_samples))
    return nats_to_bits_per_dim(-importance_weighted(family.log_weights(batch, draws)), family.spec)


def bound_name(importance_samples: int | None) -> str:
    """What a bound is called: "elbo", or "iwae:K"."""
    return "elbo" if importance_samples is None else f"iwae:{importance_samples}"
