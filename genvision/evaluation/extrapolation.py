"""FID-infinity: the Fréchet distance that endlessly many generated images would have.

Chong and Forsyth 2020, "Effectively unbiased FID and inception score and where to find them": the distance of N images
is that of infinitely many plus a bias in proportion to 1/N; a line through the distances at several N has the unbiased
one where it meets 1/N = 0. The real images are the same at every N: the bias that their own number brings stays in.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genvision.evaluation import frechet
from genvision.evaluation.frechet import Gaussian
from genvision.evaluation.intervals import smooth
from genvision.probability.randomness import Stream, generator

POINTS = 6
WIDEST = 0.1  # the paper goes down to a tenth of the images, 5,000 of 50,000
IMAGES_PER_FEATURE = 2.5  # but these are 2.5 for each of its 2,048 features; with fewer the bias is no line in 1/N
NARROWEST = 0.5  # and a line needs a lever


def counts(n: int, dim: int) -> list[int]:
    """The numbers of images at which the distance is taken, ascending, the last is n."""
    smallest = max(WIDEST * n, min(IMAGES_PER_FEATURE * dim, NARROWEST * n))
    return torch.linspace(smallest, n, POINTS).round().long().unique().tolist()


def settings() -> dict[str, Any]:
    """What decides where the line is laid; stands in the protocol."""
    return {
        "points": POINTS,
        "smallest_share": WIDEST,
        "largest_smallest_share": NARROWEST,
        "images_per_feature": IMAGES_PER_FEATURE,
    }


def frechet_infinity(
    pool: Tensor, real: Gaussian, at_all: float, influences: tuple[Tensor, Tensor], seed: int
) -> dict[str, Any]:
    """{"value", "interval"[, "rank_deficient"]} of generated features (N,D), N >= 4.

    at_all, influences  distance and `frechet.influence` of all N images
    rank_deficient      marks a line that begins at no more images than features, where it is bent
    """
    n, dim = pool.shape
    steps = counts(n, dim)
    inverse = 1 / torch.tensor(steps, dtype=torch.float64)
    design = torch.stack([torch.ones_like(inverse), inverse], 1)
    at_zero = torch.linalg.pinv(design)[0]  # the line's value at 1/N = 0 from the distances
    rng = generator(seed, Stream.SUBSETS)
    distances, shares = [], torch.zeros(n, dtype=torch.float64)
    for count, weight in zip(steps, at_zero.tolist(), strict=True):
        chosen = torch.from_numpy(rng.permutation(n)[:count])
        distances.append(at_all if count == n else frechet.distance(frechet.fit(pool[chosen]), real))
        shares[chosen] += weight * n / count
    value = (at_zero @ torch.tensor(distances, dtype=torch.float64)).item()
    drawn, true = influences
    found: dict[str, Any] = {"value": value, "interval": smooth(value, shares * (drawn - drawn.mean()), true)}
    return found | ({"rank_deficient": True} if steps[0] <= dim else {})
