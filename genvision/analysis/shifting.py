"""Shifts, what survives them, and the demonstration of shifts that one of the articles prints."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import convolve
from torch import Tensor
from torch.nn import functional as F

KERNEL = np.array([[1.0, 0.0, -1.0]] * 3)
SIDE, OBJECT = 100, slice(40, 60)  # the article's picture: a white square on black


def rolled(h: Tensor, down: int, right: int) -> Tensor:
    """(B,h,w,C) shifted, what leaves on one side enters on the other."""
    return h.roll((down, right), (1, 2))


def translated(h: Tensor, down: int, right: int) -> Tensor:
    """(B,h,w,C) shifted by numbers of either sign, zeros entering."""
    shifted = rolled(h, down, right).clone()
    for axis, by in ((1, down), (2, right)):
        size = h.shape[axis]
        lost = slice(0, min(by, size)) if by > 0 else slice(max(0, size + by), size)
        if by:
            shifted[(slice(None),) * axis + (lost,)] = 0
    return shifted


def relative(found: Tensor, expected: Tensor) -> float:
    """|found - expected| / |expected|, in norms over everything."""
    return ((found - expected).norm() / expected.norm()).item()


def picture() -> Tensor:
    """(1,100,100,1) float64."""
    image = torch.zeros(1, SIDE, SIDE, 1, dtype=torch.float64)
    image[:, OBJECT, OBJECT] = 1
    return image


def by_scipy(image: Tensor, mode: str = "constant") -> Tensor:
    """The picture convolved by SciPy, which turns the kernel round; its default beyond the border is "reflect"."""
    found = convolve(image[0, :, :, 0].numpy(), KERNEL, mode=mode)
    return torch.from_numpy(found)[None, :, :, None]


def by_pytorch(image: Tensor) -> Tensor:
    """The picture through conv2d, which does not turn the kernel round: here the sign differs, and nothing else."""
    kernel = torch.from_numpy(KERNEL)[None, None]
    return F.conv2d(image.permute(0, 3, 1, 2), kernel, padding=1).permute(0, 2, 3, 1)


CONVOLUTIONS = {"SciPy": by_scipy, "PyTorch": by_pytorch, "SciPy, reflecting": lambda x: by_scipy(x, "reflect")}


def demonstration(name: str, shift: int) -> tuple[Tensor, Tensor, Tensor]:
    """The picture convolved, convolved then shifted by (shift, shift), and shifted then convolved."""
    convolved, image = CONVOLUTIONS[name], picture()
    return (
        convolved(image),
        translated(convolved(image), shift, shift),
        convolved(translated(image, shift, shift)),
    )


def demonstrated(name: str, shift: int) -> float:
    """The largest difference between the two orders."""
    _, after, before = demonstration(name, shift)
    return (after - before).abs().max().item()
