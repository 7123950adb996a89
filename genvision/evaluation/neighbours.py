"""Precision, recall, density and coverage: who lies in whose neighbourhood, found in one pass over the distances.

Precision and recall: Kynkäänniemi et al. 2019, "Improved precision and recall metric for assessing generative models".
Density and coverage: Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models", eq. 3 and 4.
A neighbourhood is the closed ball around an image that reaches its k-th nearest other image of the same set.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NEIGHBORHOOD = 3
KEYS = ("precision", "recall", "density", "coverage")
LISTED = 32  # nearest images kept of each: half of the images may leave, and the k-th of those that stay is among them
BLOCK = 1000  # rows of a distance matrix at a time


class Balls(NamedTuple):
    """The images of one set as centres, and which images of the other set may lie in their balls.

    near      (N,L) indices of the L nearest images of the own set, itself first; distances  (N,L) to them, ascending
    centre    (P,) and other (P,): pairs of a centre and an image of the other set no farther than the L-th nearest
    distance  (P,) between the two
    """

    near: Tensor
    distances: Tensor
    centre: Tensor
    other: Tensor
    distance: Tensor

    def holding(self, stays: Tensor, others_stay: Tensor) -> tuple[Tensor, Tensor]:
        """(centre, other) of the pairs where a ball holds an image, among images that stay, (N,) and (M,) bool."""
        enough = stays[self.near].cumsum(1) > NEIGHBORHOOD  # the centre itself counts, at distance zero
        enough[:, -1] = True
        radius = self.distances.gather(1, enough.int().argmax(1, keepdim=True))[:, 0]
        held = (self.distance <= radius[self.centre]) & stays[self.centre] & others_stay[self.other]
        return self.centre[held], self.other[held]


class Neighbours:
    """The neighbourhoods of generated (N,D) and real (M,D) features, both with more than NEIGHBORHOOD images.

    Distances are taken where the features are; what is found lies on the CPU.
    """

    def __init__(self, generated: Tensor, real: Tensor) -> None:
        self.generated, self.real = _balls(generated, real), _balls(real, generated)

    def scores(self, generated: Tensor | None = None, real: Tensor | None = None) -> Tensor:
        """(4,) float64 in the order of KEYS: all in [0, 1] but density, which is at least 0 and has no upper bound.

        generated  (N,) bool, real  (M,) bool: score these images alone, at least NEIGHBORHOOD + 1 of each; None: all
        """
        drawn = torch.ones(len(self.generated.near), dtype=torch.bool) if generated is None else generated
        true = torch.ones(len(self.real.near), dtype=torch.bool) if real is None else real
        real_centre, inside = self.real.holding(true, drawn)
        _, recalled = self.generated.holding(drawn, true)
        n, m = int(drawn.sum()), int(true.sum())
        return torch.tensor(
            [
                len(inside.unique()) / n,
                len(recalled.unique()) / m,
                len(inside) / (NEIGHBORHOOD * n),
                len(real_centre.unique()) / m,
            ],
            dtype=torch.float64,
        )


def _balls(centres: Tensor, others: Tensor) -> Balls:
    listed = min(LISTED, len(centres))
    parts = []
    for start in range(0, len(centres), BLOCK):
        block = centres[start : start + BLOCK]
        distances, near = torch.cdist(block, centres).topk(listed, largest=False)
        across = torch.cdist(block, others)
        centre, other = (across <= distances[:, -1:]).nonzero(as_tuple=True)
        found = near, distances, centre + start, other, across[centre, other]
        parts.append([each.cpu() for each in found])
    return Balls(*(torch.cat(part) for part in zip(*parts, strict=True)))
