"""Bringing a decoded set to the asked channels and size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (19595, 38470, 7471)  # ITU-R 601 weights in 1/65536, as Pillow rounds them: both ways of reading agree
ROWS = 4096  # images resized together: bounds the memory of the intermediate


def with_channels(images: Tensor, channels: int) -> Tensor:
    """(N,1|3,H,W) uint8 -> (N,channels,H,W): 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha; alpha is opaque."""
    if images.shape[1] == channels:
        return images
    colours = 1 if channels <= 2 else 3
    if images.shape[1] == 3 and colours == 1:
        weights = torch.tensor(LUMA, dtype=torch.int32)[:, None, None]
        images = torch.cat([_gray(part, weights) for part in images.split(ROWS)])
    elif images.shape[1] == 1 and colours == 3:
        images = images.repeat(1, 3, 1, 1)
    if channels in (2, 4):
        images = torch.cat([images, torch.full_like(images[:, :1], 255)], dim=1)
    return images


def _gray(images: Tensor, weights: Tensor) -> Tensor:
    return ((images.int() * weights).sum(1, keepdim=True) + 0x8000).bitwise_right_shift(16).to(torch.uint8)


def with_size(images: Tensor, height: int, width: int) -> Tensor:
    """(N,C,H,W) uint8 -> (N,C,height,width): resized (bicubic, antialiased) until it covers, then centre-cropped."""
    if images.shape[-2:] == (height, width):
        return images
    scale = max(height / images.shape[-2], width / images.shape[-1])
    tall, wide = max(height, round(images.shape[-2] * scale)), max(width, round(images.shape[-1] * scale))
    top, left = (tall - height) // 2, (wide - width) // 2
    parts = (F.interpolate(part, (tall, wide), mode="bicubic", antialias=True) for part in images.split(ROWS))
    return torch.cat([part[..., top : top + height, left : left + width] for part in parts])
