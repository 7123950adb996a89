"""Keyed randomness: every number is a pure function of (seed, step, slot, stream), on any machine, in any batch.

Philox is a counter-based generator (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): its key is the
seed and its 256-bit counter starts at (0, stream, step, slot), so two different slots, steps, streams or seeds never
share a number, and nothing has to be stored to resume.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum, unique

import numpy as np
import torch
from torch import Tensor

from genvision.spec import Draw


@unique
class Stream(IntEnum):
    """What a number is used for; one stream each, so that no two uses share one."""

    AUGMENT = 0
    TIMES = 1
    NOISE = 2
    LABELS = 3
    LATENT = 4
    PIXELS = 5
    SOLVER = 6
    ORDER = 7
    SAMPLE = 8  # offset: sampling never meets a training stream, even at equal seeds
    DEQUANTISE = 20
    PROBES = 21
    CODES = 22
    HALVES = 30  # of the images behind a score, for its interval
    SUBSETS = 31  # of generated images, at which a distance is taken to extrapolate it
    RESAMPLES = 32  # of a plain bootstrap
    ANCHORS = 33  # the noise that gives scores their scale
    STUDY = 40  # what studies draw: corruptions, choices, probes


def generator(seed: int, stream: int, step: int = 0, slot: int = 0) -> np.random.Generator:
    """The NumPy generator of one (seed, stream, step, slot); all four are non-negative integers below 2**63."""
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, stream, step, slot]))


def uniform(draw: Draw, stream: int, *shape: int) -> Tensor:
    """(B, *shape) float32 in [0, 1), on the device of `draw.slots`."""
    return _stack(draw, stream, shape, lambda g: g.random(shape, dtype=np.float32))


def normal(draw: Draw, stream: int, *shape: int) -> Tensor:
    """(B, *shape) float32 standard normal, on the device of `draw.slots`."""
    return _stack(draw, stream, shape, lambda g: g.standard_normal(shape, dtype=np.float32))


def _stack(
    draw: Draw, stream: int, shape: tuple[int, ...], sample: Callable[[np.random.Generator], np.ndarray]
) -> Tensor:
    if draw.slots.is_meta:  # counting parameters and MACs needs shapes only
        return torch.empty(len(draw.slots), *shape, device="meta")
    rows = [sample(generator(draw.seed, stream, draw.step, slot)) for slot in draw.slots.tolist()]
    return torch.from_numpy(np.stack(rows)).to(draw.slots.device)
