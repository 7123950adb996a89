"""What the articles state as an equality, on the networks of this suite."""

from __future__ import annotations

import pytest
import torch
from cells import make_cell
from torch import nn

from genvision.layers.block import MLP, Block
from genvision.layers.resample import PatchStem
from genvision.spec import ImageSpec
from genvision.trunks import make_trunk


def trunk(name, *, causal=False, **options):
    own = {"vit": {"head_width": 8, "mlp_ratio": 2.0, "class_token": False, "attention": "full"}}
    own["mixer"] = {"token_ratio": 1.0, "channel_ratio": 2.0}
    return make_trunk(
        {"name": name, "width": 16, "depth": 2, "position": "learned", "dropout": 0.0, **own[name], **options},
        (2, 3),
        causal=causal,
    )


def test_a_convolution_is_its_sum():
    """O[k](i,j) = sum over channels and offsets of F_k[c](u,v) I[c](i+u,j+v), and a bias."""
    layer, image = nn.Conv2d(2, 3, 3, padding=1), torch.randn(1, 2, 5, 4)
    padded = nn.functional.pad(image, (1, 1, 1, 1))[0]
    expected = torch.zeros(3, 5, 4)
    for k in range(3):
        for i in range(5):
            for j in range(4):
                window = padded[:, i : i + 3, j : j + 3]
                expected[k, i, j] = (layer.weight[k] * window).sum() + layer.bias[k]
    torch.testing.assert_close(layer(image)[0], expected)


def test_a_patch_stem_is_a_strided_convolution():
    stem, images = PatchStem(3, 10, 4), torch.randn(2, 3, 8, 12)
    conv = nn.Conv2d(3, 10, 4, stride=4)
    conv.weight.data = stem.linear.weight.data.reshape(10, 3, 4, 4)
    conv.bias.data = stem.linear.bias.data
    torch.testing.assert_close(stem(images), conv(images).permute(0, 2, 3, 1))


@pytest.mark.parametrize("width", [64, 768, 1000])
def test_patches_are_flattened_and_mapped(width):
    """48 x 48 pixels in nine patches of 3 x 16 x 16 = 768 numbers, to a width below, at and above that."""
    stem = PatchStem(3, width, 16)
    assert stem.linear.in_features == 768
    assert stem(torch.randn(1, 3, 48, 48)).shape == (1, 3, 3, width)


def test_vit_and_mixer_differ_in_their_mixing_alone():
    vit, mixer = trunk("vit"), trunk("mixer")
    assert all(type(block) is Block and type(block.mlp) is MLP for block in [*vit.blocks, *mixer.blocks])
    kinds = [
        {name: type(part) for name, part in one.named_modules() if name and ".mixing" not in name}
        for one in (vit, mixer)
    ]
    assert kinds[0] == kinds[1]
    mixer.load_state_dict(
        {name: value for name, value in vit.state_dict().items() if ".mixing." not in name}, strict=False
    )
    for one, other in zip(vit.blocks, mixer.blocks, strict=True):
        assert type(one.mixing) is not type(other.mixing)
        one.mixing = other.mixing = nn.Identity()
    h, cond = torch.randn(2, 2, 3, 16), torch.randn(2, 16)
    assert torch.equal(vit(h, cond), mixer(h, cond))


def test_causal_and_bidirectional_blocks_differ_in_their_mask_alone():
    free, causal = trunk("vit"), trunk("vit", causal=True)
    own = free.blocks.state_dict()
    assert {name: value.shape for name, value in causal.blocks.state_dict().items()} == {
        name: value.shape for name, value in own.items()
    }
    causal.blocks.load_state_dict(own)
    for block in (*free.blocks, *causal.blocks):
        torch.nn.init.ones_(block.modulation.bias)
    h, cond = torch.randn(2, 6, 16), torch.randn(2, 16)
    outputs = [h, h]
    for k in range(2):
        outputs = [one.blocks[k](out, cond) for one, out in zip((free, causal), outputs, strict=True)]
    assert not torch.allclose(*outputs)
    for block in causal.blocks:
        block.mixing.causal = False
    again = h
    for block in causal.blocks:
        again = block(again, cond)
    torch.testing.assert_close(again, outputs[0])


@pytest.mark.parametrize("family", ["vae", "autoregressive", "diffusion"])
@pytest.mark.parametrize("name", ["vit", "mixer"])
def test_generators_without_a_convolution(family, name):
    cell = make_cell(family, (name, name) if family == "vae" else (name,), ImageSpec(1, 8, 8))
    trunks = [module for role in cell.roles for module in getattr(cell, role).modules()]
    assert not [module for module in trunks if isinstance(module, (nn.Conv2d, nn.AvgPool2d, nn.MaxPool2d))]
