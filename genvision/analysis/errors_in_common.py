"""Whether two classifiers err on the same images, and whether they go by shape or by texture."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

TILE = 8  # pixels per side of the texture that is repeated
INSIDE = 16  # of 255: what is brighter belongs to the object, on images whose ground is black


def cohens_kappa(one: Tensor, other: Tensor) -> float:
    """Agreement of (N,) bool, right or wrong, beyond what the two accuracies alone would give (Cohen 1960; Geirhos et
    al. 2020, "Beyond accuracy", equations 1 and 2): 1 the same errors, 0 independent ones. NaN where it must be 1."""
    p, q = one.double().mean().item(), other.double().mean().item()
    expected = p * q + (1 - p) * (1 - q)
    seen = (one == other).double().mean().item()
    return (seen - expected) / (1 - expected) if expected < 1 else float("nan")


def cue_conflict(images: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Objects in another object's texture: images (M,C,H,W) uint8, the labels of shape and of texture, unlike.

    The texture is the middle TILE x TILE pixels of the other image, repeated over the silhouette.
    """
    others = torch.from_numpy(rng.permutation(len(images)))
    unlike = labels != labels[others]
    shapes, textures = images[unlike], images[others][unlike]
    height, width = images.shape[2:]
    top, left = (height - TILE) // 2, (width - TILE) // 2
    tile = textures[:, :, top : top + TILE, left : left + TILE]
    covered = tile.repeat(1, 1, -(-height // TILE), -(-width // TILE))[:, :, :height, :width]
    return torch.where(shapes > INSIDE, covered, 0).to(torch.uint8), labels[unlike], labels[others][unlike]


def shape_bias(said: Tensor, shape: Tensor, texture: Tensor) -> float:
    """Of the answers (M,) that name one of the two, the share that names the shape; NaN where none does."""
    for_shape, for_texture = (said == shape).sum().item(), (said == texture).sum().item()
    return for_shape / (for_shape + for_texture) if for_shape + for_texture else float("nan")
