"""Trained models by what names them, and what a command asks of their samplers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genvision import pipelines
from genvision.families.base import Family
from genvision.pipelines import ImageGenerationPipeline
from genvision.training import checkpoint


def load(path_or_hub_id: str | Path, **hub: Any) -> ImageGenerationPipeline:
    """The pipeline of a run folder, of one of its checkpoints (EMA weights too), of an exported folder, or of a Hub id.

    A checkpoint takes geometry and options from the model that its run has exported. Raises RunError.
    """
    path = Path(path_or_hub_id)
    if not checkpoint.is_checkpoint(path):
        return pipelines.load(path_or_hub_id, **hub)
    pipeline = pipelines.load(path.resolve().parents[1])
    checkpoint.load_averaged(pipeline.generator, path)
    return pipeline


def asked(family: Family, options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the family's sampler that a command was given; None means not given.

    The names of other models become families on the device of this one. Raises ConfigError for an option that means
    nothing to the family.
    """
    given = {name: value for name, value in options.items() if value is not None}
    family.check_options(given)
    device = next(family.parameters()).device
    models = {name: load(given[name]).to(device).generator for name in family.sample_models if name in given}
    return given | models
