"""Sizes: at one size the three backbones of a family cost the same, and every size is what its head comment says."""

from __future__ import annotations

import pytest

from genvision.build import cost
from genvision.config import load_config
from genvision.config.trunks import BACKBONES, FAMILY_ROLES
from genvision.spec import ImageSpec


def parameters(family, size, spec):
    """Weights that can act, per backbone; counted on the meta device."""
    options = [f"family={family}", f"size={size}"]
    return [cost(load_config(None, [*options, f"backbone={backbone}"]), spec).parameters for backbone in BACKBONES]


@pytest.mark.parametrize("family", FAMILY_ROLES)
@pytest.mark.parametrize(
    ("size", "spec", "least", "most"),
    [("small", ImageSpec(1, 28, 28, 10), 1.15e6, 1.45e6), ("base", ImageSpec(3, 32, 32, 10), 9e6, 11e6)],
)
def test_the_backbones_of_a_family_cost_the_same(family, size, spec, least, most):
    counts = parameters(family, size, spec)
    assert max(counts) / min(counts) < 1.1
    assert least < min(counts) and max(counts) < most


@pytest.mark.parametrize("family", FAMILY_ROLES)
def test_tiny_is_tiny(family):
    assert max(parameters(family, "tiny", ImageSpec(1, 8, 8, 10))) < 100_000
