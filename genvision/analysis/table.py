"""Every study by name: a literal table, as for trunks and families."""

from __future__ import annotations

from genvision.analysis import (
    augmentation,
    blocks,
    classify,
    coherence,
    cost,
    delta,
    distance,
    embeddings,
    epsilon,
    equivariance,
    explanations,
    fractions,
    generalise,
    latents,
    metric,
    places,
    probes,
    robustness,
    sight,
    similarity,
    skips,
    speed,
    stability,
    transfer,
    traversal,
)

STUDIES = {
    study.name: study
    for study in (
        metric.STUDY,
        cost.STUDY,
        speed.STUDY,
        equivariance.STUDY,
        augmentation.STUDY,
        similarity.STUDY,
        sight.STUDY,
        skips.STUDY,
        probes.STUDY,
        places.STUDY,
        explanations.STUDY,
        embeddings.STUDY,
        coherence.STUDY,
        latents.STUDY,
        traversal.STUDY,
        epsilon.STUDY,
        delta.STUDY,
        fractions.STUDY,
        generalise.STUDY,
        transfer.STUDY,
        classify.STUDY,
        robustness.STUDY,
        distance.STUDY,
        blocks.STUDY,
        stability.STUDY,
    )
}
