"""How far a network looks, against known answers; verdicts on made-up tables."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from cells import make_cell, randomise
from runs import fresh_launch, pictures, trained  # noqa: F401
from torch import nn

from genvision.analysis import sight
from genvision.analysis.perform import judged
from genvision.analysis.reach import attention_distance, distances, heard, recorded, uniform_distance, width
from genvision.analysis.runs import Runs, Trained
from genvision.fingerprint import short_hash
from genvision.layers.resample import ConvStem
from genvision.spec import Batch, Draw, ImageSpec

GRID = (3, 4)
GRIDS = {"vit": (4, 8), "unet": (2, 4)}  # of attention in denoisers of 8 x 16 pixels


def test_distances_of_a_grid():
    found = distances((2, 3))
    assert found[0].tolist() == pytest.approx([0, 1, 2, 1, 2**0.5, 5**0.5]) and torch.equal(found, found.T)
    assert uniform_distance((1, 2)) == pytest.approx(0.5)


def test_attention_to_itself_to_a_neighbour_and_to_all_alike():
    itself = torch.eye(12).expand(2, 1, 12, 12)
    alike = torch.full((2, 1, 12, 12), 1 / 12)
    found = attention_distance(torch.cat([itself, alike], 1), GRID)
    assert found[0] == 0 and found[1].item() == pytest.approx(uniform_distance(GRID))
    below = torch.eye(12).roll(4, 1)[None, None, :8]  # the first two rows of tokens attend to the one below them
    padded = torch.cat([below, torch.eye(12)[None, None, 8:]], 2)
    assert attention_distance(padded, GRID).item() == pytest.approx(8 / 12)


def test_weights_of_attention_are_those_that_mix_the_values():
    cell = randomise(make_cell("diffusion", ("vit",), ImageSpec(1, 8, 8), trunk={"position": "rotary"})).eval()
    attention = cell.denoiser.trunk.blocks[1].mixing
    seen = {}
    handle = attention.register_forward_hook(lambda module, inputs, output: seen.update(h=inputs[0], out=output))
    with recorded(cell.denoiser) as weights, torch.no_grad():
        cell.denoiser(torch.randn(2, 1, 8, 8), torch.full((2,), 500.0))
    handle.remove()
    assert list(weights) == [f"trunk.blocks.{k}.mixing" for k in range(2)]
    found = weights["trunk.blocks.1.mixing"]
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 2, 16))
    v = attention.qkv(seen["h"]).chunk(3, -1)[2].unflatten(-1, (2, 8)).transpose(1, 2)
    torch.testing.assert_close(attention.out((found @ v).transpose(1, 2).flatten(2)), seen["out"])
    assert "mix" not in vars(attention), "the method is its own again"


def test_the_field_of_stacked_boxes_has_the_width_of_their_sum():
    """n boxes of k pixels: variances add, n (k^2 - 1) / 12; the root of the squared gradients is their convolution."""

    class Net(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.stem = ConvStem(1, 1, 1)
            convolutions = [nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(n)]
            for convolution in convolutions:
                nn.init.ones_(convolution.weight)
            self.stem.layers = nn.Sequential(*convolutions)

        def forward(self, x):
            return self.stem(x)

    images = torch.randn(2, 1, 33, 33, requires_grad=True)
    for n in (1, 3, 6):
        net = Net(n)
        field = heard(net, lambda: net(images), images, ["stem"])["stem"]  # noqa: B023
        assert width(field.mean(0).sqrt()) == pytest.approx((n * 8 / 12) ** 0.5)


def test_a_point_has_no_width_and_a_whole_image_its_own():
    point = torch.zeros(5, 9)
    point[1, 7] = 3.0
    assert width(point) == 0
    assert width(torch.ones(7, 7)) == pytest.approx(2.0)


def test_measuring_changes_no_weight(tmp_path, trained):
    paths = [trained(family, backbone).path for family in ("vae", "diffusion") for backbone in ("vit", "convnet")]
    runs = Runs(tmp_path, "smoke", paths)
    before = [short_hash(one.family) for one in runs.given]
    rows = sight.STUDY.measure({"groups": 2, "batch": 3}, runs)
    assert [short_hash(one.family) for one in runs.given] == before
    assert {row["part"] for row in rows} == {
        f"{role} {part}" for role in sight.ROLES for part in ("field", "attention")
    }
    assert all(0 < row["value"] < 8 for row in rows if row["part"].endswith("field"))
    assert {row["i"] for row in rows if row["part"] == "encoder attention"} == {0, 1}, "layers of the trunk alone"


@pytest.mark.parametrize("backbone", ["vit", "unet"])
def test_heads_of_a_rectangular_image_look_over_its_own_grid(backbone):
    family = make_cell("diffusion", (backbone,), ImageSpec(1, 8, 16)).eval()
    one = Trained(None, SimpleNamespace(backbone=backbone), family)
    draw = Draw(0, 0, torch.arange(2))
    rows = sight.attended(one, "denoiser", Batch(torch.zeros(2, 1, 8, 16, dtype=torch.uint8), None), draw, 0)
    down = 8 // GRIDS[backbone][0]
    expected = round(down * uniform_distance(GRIDS[backbone]), 4)
    assert rows and {row["uniform"] for row in rows} == {expected}


def table(convnet, vit, heads, groups=3, jitter=0.0):
    """Widths of first and last fields, and distances of two heads in the first and the last layer, of 10 alike."""
    rows = []
    for group in range(groups):
        shake = 1 + jitter * (group - 1)
        for name, pair in (("convnet", convnet), ("vit", vit)):
            for i, value in enumerate(pair):
                row = {"part": "encoder field", "what": name, "seed": group, "head": 0, "i": i}
                rows.append(row | {"value": value * (shake if i == (name == "convnet") else 1)})
        for role in sight.ROLES:
            for i, layer in enumerate(heads):
                for head, value in enumerate(layer):
                    row = {"part": f"{role} attention", "what": "vit", "seed": group, "head": head, "i": i}
                    rows.append(row | {"value": value * (shake if head else 1), "uniform": 10.0})
    return rows


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (table((1.0, 3.0), (4.0, 4.0), ((2.0, 8.0), (9.0, 9.0))), "supported"),
        (table((3.0, 1.0), (2.0, 2.0), ((8.0, 8.0), (2.0, 2.0))), "not supported"),
        (table((1.0, 1.2), (1.2, 1.2), ((5.0, 8.0), (7.0, 7.0)), jitter=0.5), "mixed"),
        (table((1.0, 3.0), (4.0, 4.0), ((2.0, 8.0), (9.0, 9.0)), groups=2), "not testable at this scale"),
    ],
)
def test_the_four_verdicts(rows, verdict):
    assert [claim["verdict"] for claim in judged(sight.STUDY, rows)["claims"]] == [verdict] * 4
