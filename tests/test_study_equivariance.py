"""Shifts: the demonstration of the article, equivariant networks told from others, verdicts of made-up tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from genvision.analysis import equivariance, equivariance_table
from genvision.analysis.equivariance_table import NETWORKS, POOLS, SIDE, Named, blocks, pools, reach
from genvision.analysis.estimates import over_seeds
from genvision.analysis.perform import judged
from genvision.analysis.shifting import by_pytorch, by_scipy, demonstrated, demonstration, picture, rolled, translated


def translated_by_loops(image, down, right):
    """As the article prints it: pixel by pixel, with a check of the bounds."""
    found = np.zeros_like(image)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            if 0 <= y - down < image.shape[0] and 0 <= x - right < image.shape[1]:
                found[y, x] = image[y - down, x - right]
    return found


@pytest.mark.parametrize(("down", "right"), [(0, 0), (2, 0), (0, -3), (-1, 4), (5, 6), (-5, 9), (-12, 0)])
def test_translation_is_that_of_the_loops(down, right):
    image = torch.arange(1.0, 31.0).reshape(1, 5, 6, 1)
    expected = translated_by_loops(image[0, :, :, 0].numpy(), down, right)
    np.testing.assert_array_equal(translated(image, down, right)[0, :, :, 0].numpy(), expected)


@pytest.mark.parametrize("name", ["SciPy", "PyTorch"])
def test_the_articles_demonstration(name):
    assert [demonstrated(name, shift) for shift in range(41)] == [0.0] * 41
    assert demonstrated(name, 41) == 3.0
    convolved, after, before = demonstration(name, 20)
    assert torch.equal(after, before) and convolved.abs().max() == 3 and (after != convolved).any()


def test_scipy_turns_the_kernel_and_reflects_by_default():
    assert torch.equal(by_scipy(picture()), -by_pytorch(picture()))
    assert [shift for shift in range(60) if demonstrated("SciPy, reflecting", shift)] == [40]


@pytest.fixture(scope="module")
def table():
    return list(blocks({"seeds": (0, 1), "images": 2, "depth": 2, "shifts": (1, 4)}))


def errors(table, part, what, shift, block="trunk"):
    return [
        row["value"]
        for row in table
        if (row["part"], row["what"], row["shift"], row["block"]) == (part, what, shift, block)
    ]


def test_equivariant_networks_are_told_from_others(table):
    for shift in (1, 4):
        assert max(errors(table, "equivariance", "convolution, circular", shift)) < 1e-12
        assert max(errors(table, "invariance", "convolution, circular", shift)) < 1e-12
        assert min(errors(table, "equivariance", "convolution, zeros", shift)) > 1e-2
        assert max(errors(table, "inside", "convolution, zeros", shift, "stem")) < 1e-12
    assert max(errors(table, "equivariance", "ViT without positions", 4)) < 1e-12
    assert min(errors(table, "equivariance", "ViT without positions", 1)) > 0.1
    assert min(errors(table, "equivariance", "ViT with positions", 4)) > 1e-2
    assert min(errors(table, "equivariance", "Mixer", 4)) > 1e-2
    assert min(errors(table, "inside", "convolution, zeros", 1)) > 1e-6, "GroupNorm sees the border"


def test_a_broken_network_is_not_equivariant(monkeypatch):
    """One weight of position in a circular ConvNet is found."""

    class Broken(nn.Module):
        def forward(self, h):
            return h + 0.01 * torch.arange(float(SIDE))[:, None]

    class BrokenNamed(Named):
        def __init__(self, name, depth):
            super().__init__(name, depth)
            self.net.stem.layers.append(Broken())

    monkeypatch.setattr(equivariance_table, "Named", BrokenNamed)
    monkeypatch.setattr(equivariance_table, "NETWORKS", {"convolution, circular": NETWORKS["convolution, circular"]})
    found = list(equivariance_table.blocks({"seeds": (0,), "images": 2, "depth": 1, "shifts": (1,)}))
    assert min(errors(found, "equivariance", "convolution, circular", 1)) > 1e-4


def test_without_group_norm_the_border_reaches_as_far_as_is_said(monkeypatch):
    class Plain(Named):
        def __init__(self, name, depth):
            super().__init__(name, depth)
            for module in self.net.modules():
                for child, part in module.named_children():
                    if isinstance(part, nn.GroupNorm):
                        setattr(module, child, nn.Identity())

    monkeypatch.setattr(equivariance_table, "Named", Plain)
    monkeypatch.setattr(equivariance_table, "NETWORKS", {"convolution, zeros": NETWORKS["convolution, zeros"]})
    setting = {"seeds": (0,), "images": 2, "depth": 2, "shifts": (2,)}
    inside = [row["value"] for row in equivariance_table.blocks(setting) if row["part"] == "inside"]
    assert len(inside) == 4 and max(inside) < 1e-12
    monkeypatch.setattr(equivariance_table, "reach", lambda site, depth: reach(site, depth) - 1)
    nearer = [row["value"] for row in equivariance_table.blocks(setting) if row["part"] == "inside"]
    assert min(nearer) > 1e-6


def test_pooling_at_odd_and_even_shifts():
    rows = list(pools({"seeds": (0,), "images": 2, "pool_shifts": (1, 2)}))
    values = {(row["part"], row["what"], row["shift"]): row["value"] for row in rows}
    for name in list(POOLS)[1:]:
        assert values["pooled", name, 2] == 0 and values["pooled", name, 1] > 0.1
        assert values["change", name, 1] < values["change", "no pooling", 1]
    assert values["pooled", "no pooling", 1] == 0


def test_rolling_moves_rows_and_columns():
    h = torch.arange(6.0).reshape(1, 2, 3, 1)
    assert rolled(h, 1, 1)[0, :, :, 0].tolist() == [[5, 3, 4], [2, 0, 1]]


def test_the_interval_over_seeds_is_students():
    (found,) = over_seeds("x", [{"seed": seed, "value": value} for seed, value in ((0, 1.0), (0, 3.0), (1, 4.0))])
    assert (found.value, found.n) == (3.0, 2) and found.high - found.value == pytest.approx(12.706, abs=1e-3)
    assert np.isnan(over_seeds("x", [{"seed": 0, "value": 1.0}])[0].low) and over_seeds("x", []) == []


def made_up(wrong, spread=0.0):
    """Every error as the claims have it (0 where exactness is claimed, else 1), or the other way round."""
    rows = []
    small, large = (1.0, 0.0) if wrong else (0.0, 1.0)
    exact = {("equivariance", "convolution, circular"), ("invariance", "convolution, circular")}
    for seed in (0, 1, 2):
        jitter = spread * (seed - 1)
        for name in NETWORKS:
            for part in ("equivariance", "invariance"):
                for block in ("stem", "trunk"):
                    for shift in (1, 8):
                        value = small if (part, name) in exact else large
                        if name == "convolution, zeros" and part == "equivariance":
                            value = small  # claimed to be exact at the border too
                        row = {"what": name, "block": block, "shift": shift, "seed": seed}
                        rows.append(row | {"part": part, "value": value + jitter})
                        if name == "convolution, zeros":
                            rows.append(row | {"part": "inside", "value": small + jitter})
        for name in POOLS:
            for shift in (1, 2):
                row = {"what": name, "block": "", "shift": shift, "seed": seed}
                rows.append(row | {"part": "pooled", "value": (large if shift % 2 else small) + jitter})
                change = 1.0 if name == "no pooling" else 1.5 if wrong else 0.5
                rows.append(row | {"part": "change", "value": change + jitter * (name != "no pooling")})
    for name in ("SciPy", "PyTorch"):
        for shift in range(42):
            value = (0.0 if shift < 41 else 3.0) + wrong
            rows.append({"part": "demonstration", "what": name, "block": "", "shift": shift, "seed": 0, "value": value})
    return rows


def verdicts(rows):
    return [str(claim["verdict"]) for claim in judged(equivariance.STUDY, rows)["claims"]]


def test_the_four_verdicts():
    n = len(equivariance.STUDY.claims)
    assert verdicts(made_up(wrong=False)) == ["supported"] * n
    assert verdicts(made_up(wrong=True)) == ["not supported"] * n
    assert verdicts([]) == ["not testable at this scale"] * n
    sampled = [k for k, claim in enumerate(equivariance.STUDY.claims) if "largest" not in claim.rule.quantity]
    assert {verdicts(made_up(wrong=False, spread=0.9))[k] for k in sampled} == {"mixed"}
    half = [row for row in made_up(wrong=True) if row["what"] == "SciPy"]
    half += [row for row in made_up(wrong=False) if row["what"] == "PyTorch"]
    assert verdicts(half)[:2] == ["mixed"] * 2
