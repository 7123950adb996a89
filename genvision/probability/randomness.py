"""Keyed randomness: every number is a pure function of (seed, step, slot, stream), on any machine, in any batch.

Philox is a counter-based generator (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): a seed is its
key, and stream, step and slot are parts of its counter, so two different slots, steps, streams or seeds never share a
number, and nothing has to be stored to resume. Noise is Philox4x32-10 on the device of its slots; what a single stream
of numbers serves better, such as a permutation, is NumPy's Philox4x64-10.
"""

from __future__ import annotations

import math
from enum import IntEnum, unique

import numpy as np
import torch
from torch import Tensor

from genvision.spec import Draw

WORD = 2**32 - 1
FACTORS = 0xCD9E8D57, 0xD2511F53  # M1 and M0, of c2 and c0
STEPS = 0x9E3779B9, 0xBB67AE85  # by which the two words of the key grow every round


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
    """(B, *shape) float32 in [0, 1), on the device of `draw.slots`; the same bits on every device."""
    numbers = (_words(draw, stream, math.prod(shape)) >> 8).float() * 2.0**-24
    return numbers.unflatten(1, shape) if shape else numbers[:, 0]


def normal(draw: Draw, stream: int, *shape: int) -> Tensor:
    """(B, *shape) float32 standard normal, on the device of `draw.slots`.

    Box & Muller 1958, "A note on the generation of random normal deviates", in float64: devices, whose logarithms and
    cosines differ in the last bit, then round to one float32 but for about one number in 10^8. None exceeds 6.7.
    """
    n = math.prod(shape)
    first, second = _words(draw, stream, n + n % 2).unflatten(1, (-1, 2)).double().unbind(2)
    radius, angle = (-2 * torch.log((first + 1) * 2.0**-32)).sqrt(), second * (2 * math.pi * 2.0**-32)
    numbers = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], 2).flatten(1)[:, :n].float()
    return numbers.unflatten(1, shape) if shape else numbers[:, 0]


def _words(draw: Draw, stream: int, n: int) -> Tensor:
    """(B,n) int64, each a word of 32 random bits; step and slots are below 2**32, the seed below 2**64.

    Word i of a slot is word i mod 4 of Philox4x32-10 at the counter (i div 4, stream, step, slot).
    """
    slots = draw.slots
    even, odd = (slots.new_empty(2, len(slots), -(-n // 4), dtype=torch.int64) for _ in range(2))
    even[0], even[1] = torch.arange(even.shape[2], device=slots.device), draw.step
    odd[0], odd[1] = stream, slots[:, None]
    words = torch.stack([*philox(even, odd, draw.seed)], 3).permute(1, 2, 0, 3)  # (B, blocks, 2, 2)
    return words.flatten(1)[:, :n]


def philox(even: Tensor, odd: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Philox4x32-10 of counters (c0, c1, c2, c3) under the key `seed`; even (c0, c2), odd (c1, c3): (2,...) int64.

    Section 3.3 of the paper: a round multiplies c0 by M0 and c2 by M1 and mixes high and low words of the products.
    A product of two words fills an int64 to its last bit; the sign that a shift copies, the mask takes away. In place,
    because memory is what takes the time.
    """
    ones = [1] * (even.ndim - 1)
    rounds = [[(seed + r * STEPS[0]) & WORD, ((seed >> 32) + r * STEPS[1]) & WORD] for r in range(10)]
    factors = torch.tensor(FACTORS, device=even.device).view(2, *ones)
    for key in torch.tensor(rounds, device=even.device).view(10, 2, *ones):
        product = even.flip(0).mul_(factors)
        even = (product >> 32).bitwise_and_(WORD).bitwise_xor_(odd).bitwise_xor_(key)
        odd = product.bitwise_and_(WORD)
    return even, odd
