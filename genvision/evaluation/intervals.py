"""95 % intervals over features: where a score would lie for other images of the same number, drawn and real alike.

They leave the model, its sampling seed and its training seed as they are; bias that a small number brings stays in.

The bootstrap draws some images twice, which a Fréchet distance and a neighbourhood both take for structure. So:
smooth scores   the infinitesimal jackknife (Jaeckel 1972; Efron 1982, "The jackknife, the bootstrap and other
                resampling plans", ch. 6): the standard error of a bootstrap of the linearised score, in closed form
neighbourhoods  the bootstrap with weights 0 and 2, that is halves drawn without replacement (Praestgaard and Wellner
                1993, "Exchangeably weighted bootstraps of the general empirical process"; Politis and Romano 1994),
                percentiles of the deviations from their mean: a half has wider neighbourhoods than the whole
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from genvision.probability.randomness import Stream, generator

LEVEL = 0.95
NORMAL_QUANTILE = 1.959963984540054
HALVES = 200
RESAMPLES = 1000
ENDS = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)

Interval = list[float]  # [low, high]


def smooth(value: float, *influences: Tensor) -> Interval:
    """The interval of a score from the derivatives to the weights of its images: (N,) for each independent set."""
    error = sum((part.double().var() / len(part)).item() for part in influences) ** 0.5
    return [value - NORMAL_QUANTILE * error, value + NORMAL_QUANTILE * error]


def halved(values: Tensor, statistic: Callable[[Tensor, Tensor], Tensor], n: int, m: int, seed: int) -> list[Interval]:
    """The intervals of K scores of n and m images.

    values     (K,) float64 of all images
    statistic  masks (n,) and (m,) bool of those that stay -> (K,)
    """
    rng = generator(seed, Stream.HALVES)
    found = torch.stack([statistic(_half(n, rng), _half(m, rng)) for _ in range(HALVES)])
    return (values[:, None] + (found - found.mean(0)).quantile(ENDS, dim=0).T).tolist()


def percentile(statistic: Callable[..., Tensor], samples: Sequence[Tensor], seed: int) -> Interval:
    """The plain bootstrap's percentiles (Efron and Tibshirani 1993, ch. 13) of a statistic of independent numbers.

    statistic  (B,N), (B,M), .. of resampled `samples` (N,), (M,), .. -> (B,)
    """
    rng = generator(seed, Stream.RESAMPLES)
    drawn = [each[torch.from_numpy(rng.integers(len(each), size=(RESAMPLES, len(each))))] for each in samples]
    return statistic(*drawn).quantile(ENDS.to(drawn[0].dtype)).tolist()


def settings() -> dict[str, object]:
    """What the intervals are; stands in the protocol."""
    return {
        "kind": "bootstrap over features",
        "level": LEVEL,
        "smooth_scores": "infinitesimal jackknife",
        "neighbourhoods": f"{HALVES} halves without replacement",
    }


def _half(n: int, rng: np.random.Generator) -> Tensor:
    stays = torch.zeros(n, dtype=torch.bool)
    stays[torch.from_numpy(rng.permutation(n)[: n // 2])] = True
    return stays
