"""Ways into and out of patches, seams against known answers, verdicts on made-up tables."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genvision import data
from genvision.analysis import coherence
from genvision.analysis.coherence import CELLS, described, seams
from genvision.analysis.learning import held_out_loss
from genvision.analysis.patched import Cell, FinalConvolution, OverlapHead, OverlapStem, fit, make
from genvision.analysis.perform import judged
from genvision.config import load_config
from genvision.layers.resample import PatchHead

WORDS = ("data=fashion_mnist_mini", "size=tiny", "data.height=8", "data.width=8")


@pytest.fixture(scope="module")
def images():
    return data.load(load_config(None, WORDS).data, "test")


@pytest.mark.parametrize("patch", [2, 4, 7])
def test_overlapping_patches_cover_the_image_and_hear_half_a_patch_around(patch):
    x = torch.zeros(1, 1, 4 * patch, 4 * patch, requires_grad=True)
    h = OverlapStem(1, 6, patch)(x)
    assert h.shape == (1, 4, 4, 6)
    (slope,) = torch.autograd.grad(h[0, 1, 2].sum(), x)
    rows, columns = (slope[0, 0] != 0).nonzero().T
    around = patch // 2
    assert (rows.min(), rows.max()) == (patch - around, 2 * patch + around - 1)
    assert (columns.min(), columns.max()) == (2 * patch - around, 3 * patch + around - 1)
    head = OverlapHead(6, 1, patch)
    assert not head(h).any() or head.conv.bias.any(), "it starts as nothing but its bias"
    nn.init.ones_(head.conv.weight)
    nn.init.zeros_(head.conv.bias)
    one = torch.zeros(1, 4, 4, 6)
    one[0, 1, 2] = 1
    rows, columns = (head(one)[0, 0] != 0).nonzero().T
    assert (rows.min(), columns.max()) == (patch - around, 3 * patch + around - 1)
    assert head(one).shape == x.shape


def test_a_final_convolution_starts_as_nothing_and_crosses_borders_once_trained():
    head = PatchHead(5, 1, 4)
    whole, h = FinalConvolution(head, 1), torch.randn(2, 2, 2, 5)
    with torch.no_grad():
        whole.smooth[-1].bias.zero_()
    torch.testing.assert_close(whole(h), head(h))
    nn.init.normal_(whole.smooth[-1].weight)
    h = h.requires_grad_()
    (slope,) = torch.autograd.grad(whole(h)[0, 0, 3, 3], h)
    assert (slope[0] != 0).any(-1).all(), "the pixel in the middle hears of all four patches"


def test_seams_of_blocks_of_smooth_and_of_real_images():
    generator = torch.Generator().manual_seed(0)
    real = torch.randint(0, 256, (200, 1, 16, 16), generator=generator, dtype=torch.uint8)
    assert seams(real, real, 4) == 1
    blocks = torch.randint(0, 200, (200, 1, 4, 4), generator=generator).repeat_interleave(4, 2).repeat_interleave(4, 3)
    faint = torch.randint(0, 11, (200, 1, 16, 16), generator=generator)
    assert seams((blocks + faint).to(torch.uint8), real, 4) > 10
    ramp = torch.arange(16).expand(3, 1, 16, 16) + torch.arange(16)[:, None]
    assert seams(ramp.to(torch.uint8), real, 4) == pytest.approx(1, abs=0.02)


def test_what_is_described(images):
    rows = described(images.images[:20], images.images, (2, 4, 7))
    assert [(row["part"], row.get("side")) for row in rows] == [
        ("seams", 2),
        ("seams", 4),
        *((score, None) for score in coherence.SCORES),
    ]


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.patch != 7], ids=str)
def test_every_cell_is_built_as_it_says(cell, images):
    spec = data.spec_of(load_config(None, WORDS).data)
    network = make(cell, spec, 0, WORDS).denoiser
    kinds = {
        "final convolution": (type(network.stem), FinalConvolution),
        "overlapping patches": (OverlapStem, OverlapHead),
    }.get(cell.ends, (type(network.stem), type(network.head)))
    assert (type(network.stem), type(network.head)) == kinds
    assert isinstance(network.head, FinalConvolution | OverlapHead) == (cell.ends != "patches")
    if cell.backbone != "convnet":
        assert network.trunk.grid == (8 // cell.patch, 8 // cell.patch)
    if cell.backbone == "vit":
        assert (network.trunk.position.at() is None) == (cell.position == "none")


def test_fitting_lowers_the_loss_and_is_the_same_twice(images):
    spec = data.spec_of(load_config(None, WORDS).data)

    def trained(steps):
        return held_out_loss(fit(make(Cell("vit", 4), spec, 3, WORDS), images, steps, 16, 3), images, 64)

    before, after = trained(2), trained(40)
    assert after < 0.9 * before and trained(2) == before


def table(convnet, plain, smooth, bare, seeds=3, jitter=0.0):
    """Seams of all cells; loss and spectrum without positions and on the largest patches, in units of the others."""
    rows = []
    for seed in range(seeds):
        shake = jitter * (seed - 1)
        for cell in CELLS:
            value = {"convnet": convnet, "vit": plain}.get(str(cell), smooth - shake)
            sides = coherence.SIDES if cell.patch == 1 else (cell.patch,)
            base = {"what": str(cell), "patch": cell.patch, "seed": seed}
            rows += [base | {"part": "seams", "side": side, "value": value + shake} for side in sides]
            worse = bare + shake if str(cell) == coherence.BARE or cell == Cell("vit", 7) else 1.0
            rows += [base | {"part": part, "value": worse} for part in ("loss", "spectrum_error")]
    return rows


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (table(1.0, 1.5, 1.1, 1.5), "supported"),
        (table(1.5, 1.0, 1.2, 0.5), "not supported"),
        (table(1.1, 1.1, 1.05, 1.03, jitter=0.3), "mixed"),
        (table(1.0, 1.5, 1.1, 1.5, seeds=2), "not testable at this scale"),
    ],
)
def test_the_four_verdicts(rows, verdict):
    assert [claim["verdict"] for claim in judged(coherence.STUDY, rows)["claims"]] == [verdict] * 8
