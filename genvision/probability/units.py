"""The only unit conversions in the project: nats to bits per dimension, uint8 to [-1, 1] and back."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genvision.spec import ImageSpec


def nats_to_bits_per_dim(nats: Tensor, spec: ImageSpec) -> Tensor:
    """(B,) nats per image -> (B,) bits per dimension, dims = C*H*W."""
    return nats / (math.log(2) * spec.dims)


def psnr_db(images: Tensor, others: Tensor, levels: int = 256) -> Tensor:
    """Peak signal-to-noise ratio (B,) in decibels of two sets of integer images (B,C,H,W); 100 where they are equal."""
    peak = (levels - 1) ** 2
    mse = (images.double() - others.double()).square().flatten(1).mean(1)
    return 10 * torch.log10(peak / mse.clamp(min=1e-10 * peak))


def to_unit(images: Tensor, levels: int = 256, dtype: torch.dtype = torch.float32) -> Tensor:
    """Integer pixels 0..levels-1 -> floats in [-1, 1], both ends reached."""
    return images.to(dtype) * (2 / (levels - 1)) - 1


def dequantised(images: Tensor, u: Tensor, levels: int = 256) -> tuple[Tensor, float]:
    """Integer pixels -> floats at the point u in [0,1) of each one's bin, and the log-volume of an image's bin in nats.

    The bins are those around the values of `to_unit`, 2 / (levels - 1) wide; the floats have the type of u.
    """
    width = 2 / (levels - 1)
    return (images + u - 0.5) * width - 1, images[0].numel() * math.log(width)


def stem_input(x: Tensor, spec: ImageSpec, dtype: torch.dtype) -> Tensor:
    """Integers of this geometry as a network's stem takes them: floats in [-1, 1]; names stay as they are."""
    return to_unit(x, spec.levels, dtype) if spec.ordinal else x


def pixel_dtype(levels: int) -> torch.dtype:
    """How values 0..levels-1 are stored: uint8 for images, int64 for tokens of a larger codebook."""
    return torch.uint8 if levels <= 256 else torch.int64


def to_pixels(x: Tensor, levels: int = 256) -> Tensor:
    """Floats in [-1, 1] -> uint8 pixels, rounded to the nearest level and clamped. Not-a-number must not reach here."""
    return ((x + 1) * ((levels - 1) / 2)).round().clamp(0, levels - 1).to(torch.uint8)
