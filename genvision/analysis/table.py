"""Every study by name: a literal table, as for trunks and families."""

from __future__ import annotations

from genvision.analysis import (
    augmentation,
    coherence,
    cost,
    embeddings,
    equivariance,
    explanations,
    latents,
    metric,
    places,
    probes,
    sight,
    similarity,
    skips,
    speed,
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
    )
}
