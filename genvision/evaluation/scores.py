"""Scores of generated features against real ones, each with its interval.

Fréchet distance, FID-infinity and neighbourhoods: `frechet`, `extrapolation`, `neighbours`; torch-fidelity is their
oracle. Kernel distance: Binkowski et al. 2018 (cubic kernel, subsets); inception score: Salimans et al. 2016; both are
torch-fidelity's own. What an interval means: `intervals`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genvision.errors import DataError
from genvision.evaluation import frechet
from genvision.evaluation.extrapolation import frechet_infinity
from genvision.evaluation.features import Features
from genvision.evaluation.intervals import halved, smooth
from genvision.evaluation.neighbours import BLOCK, KEYS, NEIGHBORHOOD, Neighbours

SEED = 2020  # torch-fidelity's default: subsets of the kernel distance, shuffle of the inception score
KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000  # or all images, where there are fewer
SPLITS = 10
FEWEST = NEIGHBORHOOD + 1
FEWEST_FOR_INTERVALS = 2 * FEWEST  # a half of them must still have neighbourhoods

Metrics = dict[str, dict[str, Any]]


def score(generated: Features, real: Features, *, metric_name: str, device: torch.device | str = "cpu") -> Metrics:
    """All scores as {key: {"name", "value"[, "interval"][, "std"][, "rank_deficient"]}}.

    Keys: frechet, frechet_infinity, kid, precision, recall, density, coverage, inception_score. `metric_name` is the
    Fréchet distance's name, from which others are named. `rank_deficient` marks a Fréchet distance from no more images
    than features: its covariances are singular and it is biased upwards. Fewer than FEWEST_FOR_INTERVALS images on
    either side have neither intervals nor an extrapolation. Raises DataError for fewer than FEWEST.

    device  where images are compared with each other, which takes the square of their number
    """
    fewest = require_enough(len(generated), len(real))
    kernel_name, inception_name = _names(metric_name)
    metrics: Metrics = _frechet(generated, real, metric_name)
    near = generated.pool.to(device), real.pool.to(device)
    metrics["kid"] = {"name": kernel_name, **_kernel(generated, real, near)}
    metrics |= _neighbours(*near)
    if generated.logits.shape[1]:
        metrics["inception_score"] = {"name": inception_name, **_inception(generated)}
    if fewest < FEWEST_FOR_INTERVALS:
        metrics.pop("frechet_infinity")
        for metric in metrics.values():
            metric.pop("interval")
    return metrics


def require_enough(generated: int, real: int) -> int:
    """The smaller of two numbers of images; DataError where it is less than FEWEST."""
    fewest = min(generated, real)
    if fewest < FEWEST:
        raise DataError(f"{fewest} images are too few to score; at least {FEWEST} are needed on both sides")
    return fewest


def settings() -> dict[str, int]:
    """What the scores depend on beside the features; part of the protocol."""
    return {
        "seed": SEED,
        "kid_subsets": KID_SUBSETS,
        "kid_subset_size": KID_SUBSET_SIZE,
        "neighborhood": NEIGHBORHOOD,
        "inception_splits": SPLITS,
    }


def _names(metric_name: str) -> tuple[str, str]:
    if metric_name == "FID":
        return "KID", "IS"
    features = metric_name.removeprefix("FD-")
    return f"KD-{features}", f"IS-{features}"


def _frechet(generated: Features, real: Features, name: str) -> Metrics:
    drawn, true = frechet.fit(generated.pool), frechet.fit(real.pool)
    value, influences = frechet.distance(drawn, true), frechet.influence(drawn, true)
    found = {
        "frechet": {"name": name, "value": value, "interval": smooth(value, *influences)},
        "frechet_infinity": {"name": f"{name}-infinity"}
        | frechet_infinity(generated.pool, true, value, influences, SEED),
    }
    if not (drawn.full_rank and true.full_rank):
        found["frechet"]["rank_deficient"] = True
    return found


def _kernel(generated: Features, real: Features, near: tuple[Tensor, Tensor]) -> dict[str, Any]:
    from torch_fidelity import metric_kid

    found = metric_kid.kid_features_to_metric(
        generated.pool,
        real.pool,
        kid_subsets=KID_SUBSETS,
        kid_subset_size=min(KID_SUBSET_SIZE, len(generated), len(real)),
        rng_seed=SEED,
        verbose=False,
    )
    value = found[metric_kid.KEY_METRIC_KID_MEAN]
    influences = kernel_influence(*near).cpu(), kernel_influence(*near[::-1]).cpu()
    return {"value": value, "std": found[metric_kid.KEY_METRIC_KID_STD], "interval": smooth(value, *influences)}


def kernel_influence(own: Tensor, other: Tensor) -> Tensor:
    """(N,) derivative of the kernel distance to the weight of each image of `own`, up to a constant.

    The first term of a U-statistic (Gretton et al. 2012, "A kernel two-sample test", corollary 16): twice the mean
    kernel with the other images of its set less that with those of the other set.
    """

    def cubic(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    parts = []
    for x in own.split(BLOCK):
        itself = (x.square().mean(1) + 1) ** 3
        within = (cubic(x, own).sum(1) - itself) / (len(own) - 1)
        parts.append(2 * (within - cubic(x, other).mean(1)))
    return torch.cat(parts)


def _neighbours(generated: Tensor, real: Tensor) -> Metrics:
    found = Neighbours(generated, real)
    values = found.scores()
    intervals = halved(values, found.scores, len(generated), len(real), SEED)
    return {
        key: {"name": key, "value": value, "interval": [max(0.0, low), high if key == "density" else min(1.0, high)]}
        for key, value, (low, high) in zip(KEYS, values.tolist(), intervals, strict=True)
    }


def _inception(generated: Features) -> dict[str, Any]:
    from torch_fidelity import metric_isc

    splits = min(SPLITS, len(generated))
    found = metric_isc.isc_features_to_metric(generated.logits, splits=splits, shuffle=True, rng_seed=SEED)
    value, log_p = found[metric_isc.KEY_METRIC_ISC_MEAN], generated.logits.double().log_softmax(1)
    divergence = (log_p.exp() * (log_p - log_p.exp().mean(0).log())).sum(1)  # log IS is its mean
    return {"value": value, "std": found[metric_isc.KEY_METRIC_ISC_STD], "interval": smooth(value, value * divergence)}
