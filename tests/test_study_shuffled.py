"""Patches that change places and come back, who cannot notice it, and verdicts on made-up tables."""

from __future__ import annotations

import pytest
import torch
from cells import make_cell, randomise, some_images

from genvision.analysis import shuffled
from genvision.analysis.perform import judged
from genvision.analysis.shuffled import BARE, FIXED, IN_ORDER, ORDERS, OWN, moved
from genvision.analysis.sweep import words
from genvision.build import build
from genvision.config import load_config
from genvision.data import ImageSet
from genvision.spec import ImageSpec

SPEC = ImageSpec(2, 6, 8)
PATCHES = 12
IMAGES = ImageSet("some", "train", some_images(20, SPEC), None, ())


def orders_of(images: ImageSet) -> list[list[int]]:
    """The place from which each patch came, found by its pixels."""
    grids = [one.images.unfold(2, 2, 2).unfold(3, 2, 2).movedim(1, 3) for one in (images, IMAGES)]
    cut = [grid.flatten(3).flatten(1, 2) for grid in grids]
    return [[(patch == there).all(1).nonzero().item() for patch in here] for here, there in zip(*cut, strict=False)]


def test_patches_go_where_they_are_sent_and_come_back():
    image = torch.arange(16).view(1, 1, 4, 4)
    assert moved(image, torch.tensor([[3, 0, 1, 2]]))[0, 0].tolist() == [
        [10, 11, 0, 1],
        [14, 15, 4, 5],
        [2, 3, 8, 9],
        [6, 7, 12, 13],
    ]
    places = torch.stack([torch.randperm(PATCHES) for _ in range(20)])
    assert torch.equal(moved(moved(IMAGES.images, places), places.argsort(1)), IMAGES.images)


def test_one_order_is_shared_and_the_others_belong_to_their_images():
    fixed = orders_of(shuffled.shuffled(IMAGES, FIXED, 0, 0))
    assert fixed == orders_of(shuffled.shuffled(IMAGES, FIXED, 0, 1))  # of the held-out images, too
    assert fixed == [fixed[0]] * 20 and sorted(fixed[0]) == list(range(PATCHES)) != fixed[0]
    assert fixed != orders_of(shuffled.shuffled(IMAGES, FIXED, 1, 0))
    own = orders_of(shuffled.shuffled(IMAGES, OWN, 0, 0))
    assert len({*map(tuple, own)}) == 20 and all(sorted(order) == list(range(PATCHES)) for order in own)
    few = ImageSet("some", "train", IMAGES.images[:7], None, ())
    assert orders_of(shuffled.shuffled(few, OWN, 0, 0)) == own[:7]
    assert own != orders_of(shuffled.shuffled(IMAGES, OWN, 0, 1))
    assert shuffled.shuffled(IMAGES, IN_ORDER, 0, 0) is IMAGES


@pytest.mark.parametrize(("position", "notices"), [("none", False), ("learned", True)])
def test_a_vit_without_positions_cannot_notice(position, notices):
    cell = randomise(make_cell("diffusion", ("vit",), SPEC, trunk={"position": position}).double())
    places = torch.stack([torch.randperm(PATCHES) for _ in range(3)])
    x, t = torch.randn(3, *SPEC.shape, dtype=torch.float64), torch.tensor([100.0, 500.0, 900.0], dtype=torch.float64)
    same = torch.allclose(cell.denoiser(moved(x, places), t), moved(cell.denoiser(x, t), places), atol=1e-9)
    assert same != notices


def test_patches_are_those_of_the_backbones_and_these_have_equal_weights():
    sizes = {}
    for name, options in shuffled.BACKBONES.items():
        told = [*words(shuffled.STUDY.presets["smoke"], "diffusion", name.partition(" ")[0], 0), *options]
        config = load_config(None, [*told, "train.steps=1"])
        family = build(config, ImageSpec(1, 14, 14, 10))
        sizes[name] = sum(p.numel() for p in family.parameters())
        assert name == "convnet" or config.denoiser.patch == shuffled.PATCH
        assert (family.denoiser.trunk.position.at() is None) == (name != "vit") if name != "convnet" else True
    assert max(sizes.values()) / min(sizes.values()) < 1.04, sizes


def table(fixed, own, control=0.0, jitter=0.0, seeds=3):
    """Losses of 1 in order; what a permutation adds: to a ConvNet the first, to the others the second."""
    rows = []
    for seed in range(seeds):
        noise = jitter * (seed - 1)
        for name in shuffled.BACKBONES:
            added = {IN_ORDER: 0.0, FIXED: 0.0, OWN: own + noise}
            added[FIXED] = {"convnet": fixed, BARE: control}.get(name, control) + noise
            added[OWN] = control + noise if name == BARE else own + noise
            rows += [{"part": order, "what": name, "seed": seed, "value": 1 + added[order]} for order in ORDERS]
    return rows


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (table(0.2, 0.2), "supported"),
        (table(0.0, 0.0, control=0.2), "not supported"),
        (table(0.05, 0.05, control=0.05, jitter=0.1), "mixed"),
        (table(0.2, 0.2, seeds=2), "not testable at this scale"),
    ],
)
def test_the_four_verdicts(rows, verdict):
    claims = judged(shuffled.STUDY, rows)["claims"]
    assert [claim["verdict"] for claim in claims] == [verdict] * len(claims)
