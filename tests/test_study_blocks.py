"""Blocks with exchanged parts: equal weights, what they do to tokens, and verdicts on made-up tables."""

from __future__ import annotations

import pytest
import torch

from genvision.analysis import blocks
from genvision.analysis.perform import judged
from genvision.analysis.sweep import words
from genvision.analysis.variants import MIXINGS, VARIANTS, Pooling, block, prepare
from genvision.build import build
from genvision.config import load_config
from genvision.layers.masked import count_parameters
from genvision.spec import ImageSpec

GRID, WIDTH, HIDDEN = (7, 7), 32, 187


def opened(variant):
    """A block whose gates are open, so that its branches count."""
    torch.manual_seed(0)
    made = block(variant, WIDTH, GRID, HIDDEN).double().eval()
    torch.nn.init.normal_(made.modulation.weight, std=0.5)
    return made


def test_mixings_have_equal_weights():
    sizes = {name: count_parameters(block(name, WIDTH, GRID, HIDDEN)) for name in MIXINGS}
    assert max(sizes.values()) / min(sizes.values()) < 1.005, sizes


@pytest.mark.parametrize("variant", VARIANTS)
def test_who_hears_whom(variant):
    """The gradient of the middle token with respect to all: alone, its neighbourhood, or everybody."""
    h = torch.randn(1, 49, WIDTH, dtype=torch.float64, requires_grad=True)
    opened(variant)(h, torch.randn(1, WIDTH, dtype=torch.float64))[0, 24].square().sum().backward()
    heard = int((h.grad[0].abs().sum(1) > 0).sum())
    assert heard == {"identity": 1, "no token mixing": 1, "depthwise": 9, "pooling": 9}.get(variant, 49)


def test_pooling_of_what_is_the_same_everywhere_is_nothing():
    assert torch.equal(Pooling(GRID)(torch.full((2, 49, 3), 5.0)), torch.zeros(2, 49, 3))


def test_a_block_without_norm_is_not_blind_to_scale_and_one_without_skips_forgets():
    h, cond = torch.randn(2, 49, WIDTH, dtype=torch.float64), torch.zeros(2, WIDTH, dtype=torch.float64)
    fresh = {name: block(name, WIDTH, GRID, HIDDEN).double().eval() for name in VARIANTS}
    same = {name for name, made in fresh.items() if torch.equal(made(h, cond), h)}
    assert same == set(VARIANTS) - {"no residual"}, "closed gates leave the skip alone"
    away = {name: (made.mlp(10 * h) - made.mlp(h)).abs().max() for name, made in fresh.items()}
    assert away.pop("no channel mixing") == 0 and min(away.values()) > 0
    relu, gelu = fresh["ReLU"].mlp, fresh["attention"].mlp
    assert isinstance(relu[1], torch.nn.ReLU) and isinstance(gelu[1], torch.nn.GELU)
    bare = opened("no norm")
    assert torch.allclose(bare.norm1(3 * h), 3 * bare.norm1(h)) and not torch.allclose(
        bare.norm1(h), fresh["ReLU"].norm1(h)
    )


def test_only_the_trunk_of_one_family_is_exchanged():
    told = words(blocks.STUDY.presets["smoke"], "diffusion", "vit", 0)
    family, other = (build(load_config(None, told), ImageSpec(1, 14, 14, 10)) for _ in range(2))
    before = {name: value.clone() for name, value in family.state_dict().items() if ".trunk." not in name}
    prepare("token MLP", 0)(family)
    assert type(family.denoiser.trunk.blocks[0].mixing).__name__ == "TokenMLP"
    assert type(other.denoiser.trunk.blocks[0].mixing).__name__ == "Attention"
    assert all(torch.equal(value, family.state_dict()[name]) for name, value in before.items())


def table(better, jitter=0.0, seeds=3, kinds=1.01):
    """Loss of everything over the ViT's: `better` holds where the claims say that something is worse."""
    rows = []
    for seed in range(seeds):
        noise = jitter * (seed - 1)
        for name in VARIANTS:
            value = 1.0 if name == "attention" else better + noise
            rows.append({"part": "block", "what": name, "seed": seed, "value": value})
        for name, each in blocks.POSITIONS.items():
            for k, kind in enumerate(each):
                value = (
                    (better if name == "vit" else 2 - better) + noise if kind == "none" else 1 + (kinds - 1) * (k == 2)
                )
                value += abs(noise) * (k == 2 and name == "vit") * 0.8
                rows.append({"part": f"position, {name}", "what": kind, "seed": seed, "value": value})
    return rows


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (table(1.2), "supported"),
        (table(0.8, kinds=1.3), "not supported"),
        (table(1.0, jitter=0.1, kinds=1.05), "mixed"),
        (table(1.2, seeds=2), "not testable at this scale"),
    ],
)
def test_the_four_verdicts(rows, verdict):
    claims = judged(blocks.STUDY, rows)["claims"]
    assert [claim["verdict"] for claim in claims] == [verdict] * len(claims)
