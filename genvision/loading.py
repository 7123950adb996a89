"""What a command asks of the samplers of trained models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genvision.families.base import Family
from genvision.pipelines import load_named


def asked(family: Family, options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the family's sampler that a command was given; None means not given.

    The names of other models become families on the device of this one. Raises ConfigError for an option that means
    nothing to the family.
    """
    given = {name: value for name, value in options.items() if value is not None}
    family.check_options(given)
    device = next(family.parameters()).device
    named = [name for name in family.sample_models if name in given]
    return given | {name: load_named(f"--{name}", given[name]).to(device).generator for name in named}
