"""What the articles state as an equality, on the networks of this suite."""

from __future__ import annotations

import pytest
import torch
from cells import make_cell, randomise
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


@pytest.mark.parametrize(("depth", "kernel"), [(1, 3), (2, 3), (3, 3), (1, 5), (2, 5)])
def test_a_convolution_trunk_sees_as_far_as_the_formula_says(depth, kernel):
    """1 + 2 depth (K - 1) pixels per side, two convolutions a block; its norms, which average over all, set aside."""
    net = randomise(
        make_trunk({"name": "conv", "width": 4, "depth": depth, "kernel": kernel, "dropout": 0.0}, (29, 31))
    )
    for module in net.modules():
        for name, part in module.named_children():
            if isinstance(part, nn.GroupNorm):
                setattr(module, name, nn.Identity())
    h = torch.zeros(1, 29, 31, 4, requires_grad=True)
    (slope,) = torch.autograd.grad(net(h, torch.zeros(1, 4))[0, 14, 15].sum(), h)
    seen = slope.abs().sum(-1)[0] > 0
    reach = depth * (kernel - 1)
    expected = torch.zeros(29, 31, dtype=torch.bool)
    expected[14 - reach : 15 + reach, 15 - reach : 16 + reach] = True
    assert torch.equal(seen, expected)


def test_a_convolution_is_a_fully_connected_layer_that_shares_its_weights():
    """Of the (H W M)(H W N) weights of the layer that computes the same, K^2 M N are left; most of the others are 0."""
    side, kernel, m, n = 6, 3, 2, 4
    conv = nn.Conv2d(m, n, kernel, padding=1, bias=False)
    full = nn.Linear(m * side**2, n * side**2, bias=False)
    full.weight.data = torch.autograd.functional.jacobian(
        lambda flat: conv(flat.view(1, m, side, side)).flatten(), torch.zeros(m * side**2)
    )
    images = torch.randn(5, m, side, side)
    torch.testing.assert_close(full(images.flatten(1)), conv(images).flatten(1))
    assert full.weight.numel() == side**4 * m * n == 10368 and conv.weight.numel() == kernel**2 * m * n == 72
    assert set(full.weight.unique().tolist()) - {0.0} == set(conv.weight.unique().tolist())
    pairs = (3 * side - 2) ** 2  # of places within one step of each other
    assert full.weight.count_nonzero() == pairs * m * n


def test_attention_has_no_neighbours_and_a_convolution_has():
    """Any permutation of the tokens goes through a ViT block; through a convolution not even one that swaps two."""
    vit = randomise(trunk("vit", position="none"), std=0.3)
    conv = randomise(make_trunk({"name": "conv", "width": 16, "depth": 1, "kernel": 3, "dropout": 0.0}, (2, 3)))
    order = torch.tensor([1, 0, 2, 3, 4, 5])
    h, cond = torch.randn(1, 2, 3, 16, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 16)
    mixed = h.flatten(1, 2)[:, order].view_as(h)
    for net, same in ((vit, True), (conv, False)):
        found = net(h, cond).flatten(1, 2)[:, order].view_as(h)
        assert torch.allclose(net(mixed, cond), found, atol=1e-5) == same


def test_a_place_for_the_class_token_is_another_class_token():
    """N + 1 positions on N + 1 tokens are N positions and the class token that is the sum of two learned vectors."""
    net = randomise(trunk("vit", class_token=True), std=0.3)
    h, cond, place = torch.randn(2, 2, 3, 16), torch.randn(2, 16), torch.randn(16)
    positions = torch.cat([place[None], net.position.tokens()])
    tokens = torch.cat([net.class_token.expand(2, 1, 16), h.flatten(1, 2)], 1) + positions
    assert positions.shape == (7, 16)
    for block in net.blocks:
        tokens = block(tokens, cond)
    net.class_token.data += place
    torch.testing.assert_close(net(h, cond).flatten(1, 2), net.norm(tokens[:, 1:]))
