"""U-Nets whose attention is exchanged, and verdicts on made-up tables."""

from __future__ import annotations

import pytest
import torch

from genvision.analysis import hybrids
from genvision.analysis.perform import judged
from genvision.analysis.sweep import words
from genvision.build import build
from genvision.config import load_config
from genvision.layers.attention import Attention
from genvision.layers.masked import count_parameters
from genvision.layers.token_mlp import TokenMLP
from genvision.spec import ImageSpec
from genvision.trunks.unet import SpatialAttention

TOLD = [*words(hybrids.STUDY.presets["smoke"], "diffusion", "convnet", 0), "trunk.attention_levels=[1,2]"]


def unet(mixing):
    family = build(load_config(None, TOLD), ImageSpec(1, 14, 14, 10))
    hybrids.exchange(mixing, 0, family)
    return family.denoiser


def test_every_attention_is_exchanged_at_equal_weights_and_fits_its_map():
    plain, mixed = unet(hybrids.ATTENTION), unet(hybrids.MLP)
    places = [part.attention for part in mixed.trunk.modules() if isinstance(part, SpatialAttention)]
    assert [part.up.in_features for part in places] == [49, 16, 16, 49, 16]  # down, up from the coarsest, the middle
    assert not any(isinstance(part, Attention) for part in mixed.modules())
    for part in plain.trunk.modules():
        if isinstance(part, SpatialAttention):
            weights = count_parameters(part.attention)
            assert abs(count_parameters(hybrids.token_mlp(16, weights)) - weights) <= 17
    assert count_parameters(mixed.trunk) == pytest.approx(count_parameters(plain.trunk), rel=0.02)
    assert not any(part.down.weight.any() or part.down.bias.any() for part in places), "they start as nothing"
    assert [type(part.trunk.middle[1]).__name__ for part in (plain, mixed)] == ["SpatialAttention"] * 2


def test_nothing_leaves_convolutions_alone():
    bare = unet(hybrids.NOTHING)
    assert not any(isinstance(part, SpatialAttention | TokenMLP) for part in bare.modules())
    assert bare(torch.randn(1, 1, 14, 14), torch.full((1,), 500.0)).shape == (1, 1, 14, 14)


def table(mlp, nothing, jitter=0.0, seeds=3):
    """Losses over that with attention."""
    rows = []
    for seed in range(seeds):
        for name, loss in (
            (hybrids.ATTENTION, 1.0),
            (hybrids.MLP, mlp + jitter * (seed - 1)),
            (hybrids.NOTHING, nothing),
        ):
            rows.append({"part": "loss", "what": name, "seed": seed, "value": loss, "weights": 1000})
    return rows


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (table(1.0, 1.1), "supported"),
        (table(1.1, 1.0), "not supported"),
        (table(1.02, 1.02, jitter=0.05), "mixed"),
        (table(1.0, 1.1, seeds=2), "not testable at this scale"),
    ],
)
def test_the_four_verdicts(rows, verdict):
    assert [claim["verdict"] for claim in judged(hybrids.STUDY, rows)["claims"]] == [verdict] * 2
