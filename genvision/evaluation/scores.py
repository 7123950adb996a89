"""Scores of generated features against real ones; torch-fidelity computes them, or is the oracle of those that do.

Fréchet distance: `frechet`. Kernel distance: Binkowski et al. 2018 (cubic kernel, subsets). Precision, recall, density
and coverage: `neighbours`. Inception score: Salimans et al. 2016.
"""

from __future__ import annotations

from typing import Any

from genvision.errors import DataError
from genvision.evaluation import frechet as gaussians
from genvision.evaluation.features import Features
from genvision.evaluation.neighbours import KEYS, NEIGHBORHOOD, Neighbours

SEED = 2020  # torch-fidelity's default: subsets of the kernel distance, shuffle of the inception score
KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000  # or all images, where there are fewer
SPLITS = 10

Metrics = dict[str, dict[str, Any]]


def score(generated: Features, real: Features, *, metric_name: str, seed: int = SEED) -> Metrics:
    """All scores as {key: {"name", "value"[, "std"][, "rank_deficient"]}}.

    Keys: frechet, kid, precision, recall, density, coverage, inception_score. `metric_name` is the Fréchet distance's
    name, from which others are named. `rank_deficient` marks a Fréchet distance from no more images than features: its
    covariances are singular and it is biased upwards. Raises DataError where there are too few images for a
    neighbourhood.
    """
    fewest = min(len(generated), len(real))
    if fewest <= NEIGHBORHOOD:
        raise DataError(f"{fewest} images are too few to score; at least {NEIGHBORHOOD + 1} are needed on both sides")
    kernel_name, inception_name = _names(metric_name)
    metrics: Metrics = {"frechet": {"name": metric_name, "value": frechet(generated, real)}}
    if fewest <= generated.pool.shape[1]:
        metrics["frechet"]["rank_deficient"] = True
    metrics["kid"] = {"name": kernel_name, **_kernel(generated, real, seed)}
    for key, value in zip(KEYS, Neighbours(generated.pool, real.pool).scores().tolist(), strict=True):
        metrics[key] = {"name": key, "value": value}
    if generated.logits.shape[1]:
        metrics["inception_score"] = {"name": inception_name, **_inception(generated, seed)}
    return metrics


def frechet(generated: Features, real: Features) -> float:
    """The Fréchet distance between Gaussians fitted to the pooled features, in float64."""
    return gaussians.distance(gaussians.fit(generated.pool), gaussians.fit(real.pool))


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


def _kernel(generated: Features, real: Features, seed: int) -> dict[str, float]:
    from torch_fidelity import metric_kid

    found = metric_kid.kid_features_to_metric(
        generated.pool,
        real.pool,
        kid_subsets=KID_SUBSETS,
        kid_subset_size=min(KID_SUBSET_SIZE, len(generated), len(real)),
        rng_seed=seed,
        verbose=False,
    )
    return {"value": found[metric_kid.KEY_METRIC_KID_MEAN], "std": found[metric_kid.KEY_METRIC_KID_STD]}


def _inception(generated: Features, seed: int) -> dict[str, float]:
    from torch_fidelity import metric_isc

    splits = min(SPLITS, len(generated))
    found = metric_isc.isc_features_to_metric(generated.logits, splits=splits, shuffle=True, rng_seed=seed)
    return {"value": found[metric_isc.KEY_METRIC_ISC_MEAN], "std": found[metric_isc.KEY_METRIC_ISC_STD]}
