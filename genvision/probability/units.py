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


def to_pixels(x: Tensor, levels: int = 256) -> Tensor:
    """Floats in [-1, 1] -> uint8 pixels, rounded to the nearest level and clamped. Not-a-number must not reach here."""
    return ((x + 1) * ((levels - 1) / 2)).round().clamp(0, levels - 1).to(torch.uint8)
