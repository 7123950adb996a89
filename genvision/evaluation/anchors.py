"""What gives a Fréchet distance its scale: images that any generator should beat, and images that none can.

At the same n, against the same reference: real training images are the floor, which is not zero; training images behind
a blur, and noise with the mean and deviation of each pixel, are the ceiling.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from genvision.evaluation.features import reference_features, reference_subset
from genvision.evaluation.frechet import distance, fit
from genvision.probability.randomness import Stream, generator

if TYPE_CHECKING:
    from genvision.data.image_set import ImageSet
    from genvision.evaluation.extractors import Extractor
    from genvision.evaluation.features import Features

BLUR = 1 / 16  # standard deviation of the blur as a share of the shorter side
SEED = 0


def anchors(train: ImageSet, reference: Features, extractor: Extractor, n: int) -> list[dict[str, Any]]:
    """[{"name", "value"}] of n images each, lowest first where all is well: real, blurred, per-pixel Gaussian.

    Features are cached like those of a reference, under the pixels they are of. Raises DataError where `train` has
    fewer than n images.
    """
    real = fit(reference.pool)
    return [
        {"name": name, "value": distance(fit(reference_features(images, extractor).pool), real)}
        for name, images in anchor_images(train, n).items()
    ]


def anchor_images(train: ImageSet, n: int) -> dict[str, ImageSet]:
    """The images behind each anchor; the same ones for the same training images and n."""
    some = reference_subset(train, n)
    return {
        "real training images": some,
        "blurred training images": replace(some, images=blurred(some.images)),
        "per-pixel Gaussian": replace(some, images=pixel_noise(train.images, n)),
    }


def blurred(images: Tensor, share: float = BLUR) -> Tensor:
    """Images (N,C,H,W) uint8 behind a Gaussian blur whose standard deviation is a share of the shorter side, their
    borders continued outwards."""
    deviation = share * min(images.shape[2:])
    reach = max(1, round(3 * deviation))
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = torch.exp(-offsets.square() / (2 * deviation**2))
    kernel = kernel / kernel.sum()
    x = F.pad(images.double(), (reach,) * 4, mode="replicate").flatten(0, 1)[:, None]
    x = F.conv2d(F.conv2d(x, kernel[None, None, None]), kernel[None, None, :, None])
    return x.reshape(images.shape).round().to(torch.uint8)


def pixel_noise(images: Tensor, n: int) -> Tensor:
    """n images (n,C,H,W) uint8 of independent normal pixels with the mean and deviation that each has in `images`."""
    x = images.double()
    normal = torch.from_numpy(generator(SEED, Stream.ANCHORS).standard_normal((n, *images.shape[1:])))
    return (x.mean(0) + x.std(0) * normal).round().clamp(0, 255).to(torch.uint8)
