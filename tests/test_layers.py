"""Layers and trunks against reference implementations, and the geometry they promise."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from cells import TINY, cell_config, make_cell, randomise, some_batch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from genvision.build import cost
from genvision.config.trunks import TRUNK_ROLES, Position
from genvision.errors import ConfigError
from genvision.layers.attention import Attention
from genvision.layers.block import Block
from genvision.layers.embedding import Conditioner
from genvision.layers.masked import MaskedLinear, count_parameters
from genvision.layers.positions import make_positions
from genvision.layers.relative_attention import RelativeAttention
from genvision.layers.resample import ConvHead, ConvStem, PatchHead, PatchStem, prime_factors
from genvision.layers.residual import ResidualBlock
from genvision.layers.token_mlp import TokenMLP
from genvision.networks.network import run_trunk
from genvision.spec import Draw, ImageSpec
from genvision.trunks import make_trunk
from genvision.trunks.pixelcnn import GatedLayer
from genvision.trunks.tokens import shift
from genvision.trunks.unet import SpatialAttention

WIDTH, HEADS, TOKENS = 24, 3, 10
POSITIONS = get_args(Position)


def tokens(n: int = TOKENS, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(2, n, WIDTH, generator=torch.Generator().manual_seed(0), dtype=dtype)


def trunk_options(name: str, **options) -> dict:
    role = TRUNK_ROLES[name][0]
    family = {"encoder": "vae", "denoiser": "diffusion", "predictor": "autoregressive"}[role]
    config = cell_config(family, (name,) * (2 if family == "vae" else 1), trunk=options)
    return getattr(config, role).trunk


@torch.no_grad()
def copy_attention(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    ours.qkv.weight.copy_(theirs.in_proj_weight)
    ours.qkv.bias.copy_(theirs.in_proj_bias)
    ours.out.load_state_dict(theirs.out_proj.state_dict())


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_torchs(causal) -> None:
    theirs = randomise(nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).double())
    ours = Attention(WIDTH, WIDTH // HEADS, causal=causal).double()
    copy_attention(ours, theirs)
    mask = nn.Transformer.generate_square_subsequent_mask(TOKENS, dtype=torch.float64) if causal else None
    h = tokens()
    torch.testing.assert_close(ours(h), theirs(h, h, h, attn_mask=mask, need_weights=False)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_block_is_torchs_pre_norm_transformer_layer(causal) -> None:
    """Gates of one, and the affine part of their LayerNorms as our shift and scale."""
    theirs = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 4 * WIDTH, dropout=0, activation=F.gelu, layer_norm_eps=1e-6, batch_first=True, norm_first=True
    )
    theirs = randomise(theirs.double())
    ours = Block(WIDTH, Attention(WIDTH, WIDTH // HEADS, causal=causal), 4 * WIDTH).double()
    copy_attention(ours.mixing, theirs.self_attn)
    ours.mlp[0].load_state_dict(theirs.linear1.state_dict())
    ours.mlp[3].load_state_dict(theirs.linear2.state_dict())
    one = torch.ones(WIDTH, dtype=torch.float64)
    first, second = theirs.norm1, theirs.norm2
    steer = [first.bias, first.weight - 1, one, second.bias, second.weight - 1, one]
    with torch.no_grad():
        ours.modulation.bias.copy_(torch.cat(steer))
    mask = nn.Transformer.generate_square_subsequent_mask(TOKENS, dtype=torch.float64) if causal else None
    h, cond = tokens(), torch.randn(2, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(ours(h, cond), theirs(h, src_mask=mask), rtol=0, atol=1e-6)


def test_a_block_is_adaln_zero_by_its_formula() -> None:
    """Peebles & Xie 2023, section 3.2: shift, scale and gate are a linear map of SiLU(cond)."""
    block = randomise(Block(WIDTH, nn.Linear(WIDTH, WIDTH), 2 * WIDTH), 0.3).double()
    h, cond = tokens(), torch.randn(2, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    shift1, scale1, gate1, shift2, scale2, gate2 = block.modulation(F.silu(cond))[:, None].chunk(6, -1)
    expected = h + gate1 * block.mixing(F.layer_norm(h, (WIDTH,), eps=1e-6) * (1 + scale1) + shift1)
    expected = expected + gate2 * block.mlp(F.layer_norm(expected, (WIDTH,), eps=1e-6) * (1 + scale2) + shift2)
    torch.testing.assert_close(block(h, cond), expected)


def test_dropout_takes_both_branches_of_a_block_and_the_weights_of_attention() -> None:
    h, cond = tokens(dtype=torch.float32), torch.randn(2, WIDTH)
    assert torch.equal(randomise(Block(WIDTH, TokenMLP(TOKENS, 2), WIDTH, dropout=1.0))(h, cond), h)
    x = torch.randn(2, 8, 5, 6)
    block = randomise(ResidualBlock(8, 8, WIDTH, dropout=1.0))
    torch.testing.assert_close(block(x, cond), x + block.conv2.bias[:, None, None])
    attention = Attention(WIDTH, WIDTH // HEADS, dropout=0.5)
    assert not torch.equal(attention(h), attention(h))
    assert torch.equal(attention.eval()(h), attention(h))


def test_blocks_start_as_the_identity() -> None:
    h = tokens(dtype=torch.float32)
    cond = torch.randn(2, WIDTH)
    assert torch.equal(Block(WIDTH, TokenMLP(TOKENS, 2), 2 * WIDTH)(h, cond), h)
    x = torch.randn(2, 8, 5, 6)
    residual = ResidualBlock(8, 8, WIDTH)
    assert torch.equal(residual(x, cond), x)
    assert not residual.modulation(cond).any()  # and steers nothing


def test_a_residual_block_is_adaptive_group_norm_by_its_formula() -> None:
    """Dhariwal & Nichol 2021, equation 3: eight groups, the second norm scaled and shifted by a map of SiLU(cond)."""
    block = randomise(ResidualBlock(16, 24, WIDTH), 0.3).double()
    x, cond = torch.randn(2, 16, 5, 6, dtype=torch.float64), torch.randn(2, WIDTH, dtype=torch.float64)

    def norm(h: torch.Tensor, layer: nn.GroupNorm) -> torch.Tensor:
        return F.group_norm(h, 8, layer.weight, layer.bias, eps=1e-5)

    shift, scale = block.modulation(F.silu(cond))[..., None, None].chunk(2, 1)
    h = block.conv1(F.silu(norm(x, block.norm1)))
    h = block.conv2(F.silu(norm(h, block.norm2) * (1 + scale) + shift))
    torch.testing.assert_close(block(x, cond), block.skip(x) + h)


def test_a_token_mlp_mixes_each_channel_alike_and_alone() -> None:
    mixing = TokenMLP(TOKENS, 2).double()
    h = tokens()
    by_hand = torch.einsum("ot,btd->bod", mixing.down.weight, F.gelu(
        torch.einsum("ot,btd->bod", mixing.up.weight, h) + mixing.up.bias[:, None]
    )) + mixing.down.bias[:, None]  # fmt: skip
    torch.testing.assert_close(mixing(h), by_hand)
    assert TokenMLP(TOKENS, 0.37).up.weight.shape == (4, TOKENS)  # the nearest number of hidden units


@pytest.mark.parametrize("ratio", [1, 3])
def test_causal_token_masks_are_block_triangular(ratio) -> None:
    mixing = TokenMLP(4, ratio, causal=True)
    expected = np.kron(np.tri(4), np.ones((ratio, 1)))  # rows: hidden units, `ratio` of them a token
    assert np.array_equal(mixing.up.mask.numpy(), expected)
    assert np.array_equal(mixing.down.mask.numpy(), np.kron(np.tri(4), np.ones((1, ratio))))
    assert np.array_equal((mixing.down.mask @ mixing.up.mask).numpy() > 0, np.tri(4) > 0)


def test_masked_weights_neither_act_nor_count() -> None:
    mask = np.array([[1, 0, 0], [1, 1, 0]])
    layer = MaskedLinear(mask)
    x = torch.randn(5, 3)
    expected = layer(x)
    with torch.no_grad():
        layer.weight[torch.tensor(mask) == 0] = 1e6
    assert torch.equal(layer(x), expected)
    assert count_parameters(nn.Sequential(layer, nn.Linear(2, 2))) == 3 + 2 + 6
    layer(x).sum().backward()
    assert (layer.weight.grad[torch.tensor(mask) == 0] == 0).all()


def test_masked_rows_start_at_the_scale_of_their_own_fan_in() -> None:
    torch.manual_seed(0)
    layer = MaskedLinear(np.tri(400))
    out = (layer(torch.randn(2000, 400)) - layer.bias).var(0)
    assert (out[:20].mean() / out[-20:].mean()).item() == pytest.approx(1, abs=0.35)


@pytest.mark.parametrize("grid", [(4, 6), (5, 3)])
def test_rotary_scores_depend_on_relative_places_alone(grid) -> None:
    """The same content everywhere: the score of two places equals that of the two shifted by one and the same step."""
    attention = Attention(8, 8, rotary=grid)
    height = grid[0]
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 8, generator=generator)
    cos, sin = (rearrange(c, "(h w) d -> h w d", h=height) for c in (attention.cos, attention.sin))

    def turn(x: torch.Tensor) -> torch.Tensor:
        pairs = rearrange(x, "(d two) -> two d", two=2)
        turned = torch.stack([-pairs[1], pairs[0]], -1).flatten()
        return x * cos + turned * sin

    scores = torch.einsum("hwd,ijd->hwij", turn(q), turn(k))
    torch.testing.assert_close(scores[1:, 1:, 1:, 1:], scores[:-1, :-1, :-1, :-1], rtol=1e-4, atol=1e-4)
    for step in ((1, 0), (0, 1)):  # a step of the key in either direction matters
        assert not torch.isclose(scores[0, 0, 0, 0], scores[0, 0, *step], atol=1e-2)


def test_rotary_attention_applies_that_rotation() -> None:
    attention = randomise(Attention(8, 8, rotary=(2, 3)))
    h = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(0))
    q, k, v = attention.qkv(h)[0].chunk(3, -1)

    def turn(x: torch.Tensor) -> torch.Tensor:
        even, odd = x[:, ::2], x[:, 1::2]
        return x * attention.cos + torch.stack([-odd, even], -1).flatten(1) * attention.sin

    by_hand = attention.out(torch.softmax(turn(q) @ turn(k).T / 8**0.5, -1) @ v)
    torch.testing.assert_close(attention(h)[0], by_hand, rtol=1e-4, atol=1e-5)


def test_a_class_token_stays_unrotated() -> None:
    attention = Attention(8, 4, rotary=(2, 3), prefix=1)
    assert attention.cos.shape == (7, 4)
    assert (attention.cos[0] == 1).all()
    assert (attention.sin[0] == 0).all()


def test_sincos_positions_hold_row_and_column_on_a_grid_that_is_not_square() -> None:
    table = make_positions("sincos", (3, 5), 16)(torch.zeros(1, 3, 5, 16))[0]
    of_column, of_row = table[..., :8], table[..., 8:]
    assert torch.equal(of_row, of_row[:, :1].expand_as(of_row))
    assert torch.equal(of_column, of_column[:1].expand_as(of_column))
    assert len(table.flatten(0, 1).unique(dim=0)) == 15


@pytest.mark.parametrize("kind", POSITIONS)
@pytest.mark.parametrize("class_token", [False, True])
def test_every_kind_of_position_trains_and_can_be_costed(kind, class_token) -> None:
    spec = ImageSpec(1, 8, 12)
    options = {"position": kind, "class_token": class_token}
    config = cell_config("diffusion", ("vit",), trunk=options)
    cell = randomise(make_cell("diffusion", ("vit",), spec, trunk=options))
    cell.loss(some_batch(2, spec), Draw(0, 0, torch.arange(2)))["loss"].sum().backward()
    assert [n for n, p in cell.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert cost(config, spec).parameters == sum(p.numel() for p in cell.parameters())


@pytest.mark.parametrize("kind", POSITIONS)
def test_positions_are_what_tells_tokens_apart(kind) -> None:
    """Attention without positions commutes with a permutation of the tokens; with any kind it does not."""
    trunk = randomise(make_trunk(trunk_options("vit", position=kind), (3, 4)), std=0.3)
    h = torch.randn(1, 3, 4, 16, generator=torch.Generator().manual_seed(0))
    cond = torch.zeros(1, 16)
    flipped_before, flipped_after = trunk(h.flip(1), cond), trunk(h, cond).flip(1)
    assert torch.allclose(flipped_before, flipped_after, atol=1e-4) == (kind == "none")


def test_rows_and_columns_are_added() -> None:
    positions = make_positions("axial", (3, 5), 6)
    added = [row[0] + column for row in positions.rows for column in positions.columns[0]]
    assert torch.equal(positions.tokens(), torch.stack(added)) and len(list(positions.parameters())) == 2


def test_raster_sinusoids_are_those_of_the_transformer() -> None:
    table = make_positions("sincos1d", (3, 5), 8).tokens()
    for place in range(15):
        angles = [place / 10000 ** (2 * k / 8) for k in range(4)]
        expected = [*map(math.sin, angles), *map(math.cos, angles)]  # the pairs apart, not in turn
        assert table[place].tolist() == pytest.approx(expected, abs=1e-6)


def test_fourier_positions_are_a_linear_map_of_learned_sinusoids_and_fit_any_grid() -> None:
    positions, larger = (make_positions("fourier", grid, 8) for grid in ((2, 4), (6, 12)))
    larger.load_state_dict(positions.state_dict())
    for row in range(2):
        for column in range(4):
            angles = torch.tensor([(row + 0.5) / 2, (column + 0.5) / 4]) @ positions.frequencies
            expected = positions.out(torch.cat([angles.cos(), angles.sin()]) / 2)
            torch.testing.assert_close(positions.at()[row, column], expected)
            torch.testing.assert_close(larger.at()[3 * row + 1, 3 * column + 1], expected)  # the same middle


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("prefix", [0, 1])
def test_relative_attention_adds_a_number_for_each_offset(causal, prefix) -> None:
    h, w = grid = (2, 3)
    attention = randomise(RelativeAttention(8, 4, grid=grid, causal=causal, prefix=prefix))
    x = torch.randn(1, prefix + 6, 8, generator=torch.Generator().manual_seed(0))
    q, k, v = (part.unflatten(-1, (2, 4)) for part in attention.qkv(x)[0].chunk(3, -1))
    scores = torch.einsum("qnd,knd->nqk", q, k) / 2
    for one in range(6):
        for other in range(6):
            offset = other // w - one // w + h - 1, other % w - one % w + w - 1
            scores[:, prefix + one, prefix + other] += attention.relative[offset]
    if causal:
        scores = scores + torch.full_like(scores, -torch.inf).triu(1)
    by_hand = attention.out(torch.einsum("nqk,knd->qnd", scores.softmax(-1), v).flatten(1))
    torch.testing.assert_close(attention(x)[0], by_hand, rtol=1e-4, atol=1e-5)


def test_relative_attention_starts_as_attention_without_positions() -> None:
    attention, plain = RelativeAttention(8, 4, grid=(2, 3)), Attention(8, 4)
    plain.load_state_dict(attention.state_dict(), strict=False)
    h = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(attention(h), plain(h))


@pytest.mark.parametrize("kind", ["rotary", "relative"])
def test_a_mixer_refuses_what_queries_and_keys_need(kind) -> None:
    with pytest.raises(ConfigError, match=f"trunk.position={kind} is about queries and keys"):
        make_trunk(trunk_options("mixer", position=kind), (2, 2))


@pytest.mark.parametrize("kind", ["window", "linformer", "performer"])
def test_attention_that_makes_no_pairs_refuses_relative_positions(kind) -> None:
    with pytest.raises(ConfigError, match=f"position=relative: attention={kind} "):
        make_cell("diffusion", (kind,), ImageSpec(1, 8, 8), trunk={"position": "relative"})


def test_odd_widths_are_named() -> None:
    with pytest.raises(ConfigError, match=r"width=18 .* multiple of trunk\.head_width=8"):
        make_trunk(trunk_options("vit", width=18), (2, 2))
    with pytest.raises(ConfigError, match="multiple of 4"):
        make_trunk(trunk_options("vit", head_width=2, position="rotary"), (2, 2))
    with pytest.raises(ConfigError, match="multiple of 4"):
        make_trunk(trunk_options("vit", width=18, head_width=9, position="sincos"), (2, 2))
    with pytest.raises(ConfigError, match="multiple of 2"):
        make_trunk(trunk_options("vit", width=9, head_width=9, position="sincos1d"), (2, 2))
    with pytest.raises(ConfigError, match="trunks are conv, unet"):
        make_trunk({"name": "resnet"}, (2, 2))


def test_a_raster_shift_moves_every_token_one_on() -> None:
    h = torch.arange(6.0).view(1, 2, 3, 1)
    assert shift(h, torch.tensor([-1.0])).flatten().tolist() == [-1, 0, 1, 2, 3, 4]


def test_patches_go_in_and_come_out_where_they_were() -> None:
    stem, head = PatchStem(3, 3 * 4, 2), PatchHead(3 * 4, 3, 2)
    for layer in (stem.linear, head.linear):
        nn.init.eye_(layer.weight)
        nn.init.zeros_(layer.bias)
    x = torch.randn(2, 3, 4, 6)
    h = stem(x)
    assert h.shape == (2, 2, 3, 12)
    assert torch.equal(head(h), x)
    assert torch.equal(h[0, 1, 2], x[0, :, 2:4, 4:6].flatten())


@pytest.mark.parametrize(("n", "factors"), [(1, []), (2, [2]), (7, [7]), (12, [2, 2, 3])])
def test_prime_factors(n, factors) -> None:
    assert prime_factors(n) == factors


@pytest.mark.parametrize("patch", [1, 2, 3, 4, 5, 6])
def test_convolutional_stem_and_head_divide_and_multiply_any_size(patch) -> None:
    x = torch.randn(1, 2, 3 * patch, 2 * patch)
    h = ConvStem(2, 8, patch)(x)
    assert h.shape == (1, 3, 2, 8)
    assert ConvHead(8, 2, patch)(h).shape == x.shape


@pytest.mark.parametrize("patch", [2, 3, 5])
def test_a_strided_token_sees_as_far_to_the_left_as_to_the_right(patch) -> None:
    """Token 1 looks at its own patch and at as many columns before it: kernel 2p - 1, and 1 more of the first 3x3."""
    stem = ConvStem(1, 4, patch).double()
    x = torch.randn(1, 1, patch, 4 * patch, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(stem(x)[0, 0, 1].sum(), x)
    assert slope[0, 0].any(0).nonzero().flatten().tolist() == list(range(2 * patch + 1))


@pytest.mark.parametrize("size", [(28, 28), (7, 5), (9, 14), (1, 1), (32, 20)], ids=str)
@pytest.mark.parametrize("name", ["unet", "conv"])
def test_convolution_trunks_keep_any_size(name, size) -> None:
    trunk = make_trunk(trunk_options(name), size)
    h = torch.randn(1, *size, TINY[name]["width"])
    assert trunk(h, torch.randn(1, TINY[name]["width"])).shape == h.shape


def test_the_unet_goes_down_28_14_7_4_and_back() -> None:
    trunk = make_trunk(trunk_options("unet", multipliers=(1, 1, 1, 1)), (28, 28))
    sides = []
    for blocks in (*trunk.down, *trunk.up):
        blocks[0].register_forward_hook(lambda _, __, out: sides.append(out.shape[-1]))
    trunk(torch.randn(1, 28, 28, 16), torch.randn(1, 16))
    assert sides == [28, 14, 7, 4, 4, 7, 14, 28]


def test_attention_over_places_stands_beside_a_skip() -> None:
    layer, x = SpatialAttention(16, 8), torch.randn(2, 16, 3, 5)
    assert torch.equal(layer(x), x)  # at the start
    tokens_of = rearrange(randomise(layer).norm(x), "b c h w -> b (h w) c")
    expected = x + rearrange(layer.attention(tokens_of), "b (h w) c -> b c h w", h=3)
    torch.testing.assert_close(layer(x), expected)
    assert not torch.allclose(expected, x, atol=0.01)


@pytest.mark.parametrize("attention", [False, True])
def test_the_coarsest_level_of_the_unet_attends_where_it_is_asked_to(attention) -> None:
    trunk = make_trunk(trunk_options("unet", attention=attention, multipliers=(1, 2)), (8, 8))
    seen = []
    for module in trunk.modules():
        if isinstance(module, Attention):
            module.register_forward_hook(lambda _, args, __: seen.append(args[0].shape))
    trunk(torch.randn(1, 8, 8, 16), torch.randn(1, 16))
    assert seen == [(1, 16, 32)] * attention  # 4x4 positions, 32 channels


@pytest.mark.parametrize(
    "options", [{}, {"input_skips": True}, {"attention_levels": (0, 2), "attention": False}], ids=str
)
def test_every_skip_and_attention_of_the_unet_is_used(options) -> None:
    trunk = randomise(make_trunk(trunk_options("unet", depth=2, **options), (9, 6)))
    trunk(torch.randn(1, 9, 6, 16), torch.randn(1, 16)).square().sum().backward()
    assert all(p.grad.any() for p in trunk.parameters())
    attends = {level for level, mixings in enumerate(trunk.down_mixings) if isinstance(mixings[0], SpatialAttention)}
    assert attends == set(options.get("attention_levels", ()))
    down, up = (len([b for blocks in part for b in blocks]) for part in (trunk.down, trunk.up))
    assert up - down == (3 if "input_skips" in options else 0)  # one more a level
    skipped = [blocks[-1].conv1.in_channels - blocks[-1].conv1.out_channels for blocks in trunk.up]
    assert skipped == ([32, 16, 16] if "input_skips" in options else [32, 32, 16])  # widths 16, 32, 32


def test_the_unet_refuses_levels_that_it_lacks() -> None:
    with pytest.raises(ConfigError, match=r"attention_levels=\[1, 3\]: the 3 levels are 0 to 2"):
        make_trunk(trunk_options("unet", attention_levels=(1, 3)), (8, 8))


@pytest.mark.parametrize(("first", "seen_by_v", "seen_by_h"), [
    (True, ["  #####  ", "  #####  ", "  #####  ", "         "], ["         "] * 3 + ["  ##     "]),
    (False, ["         ", "  #####  ", "  #####  ", "  #####  "], ["         "] * 3 + ["  ###    "]),
])  # fmt: skip
def test_a_gated_layer_sees_the_windows_that_are_drawn(first, seen_by_v, seen_by_h) -> None:
    """Rows r - 3 to r of the input of each stack, columns c - 4 to c + 4; `h` looks at `v` too."""
    layer = randomise(GatedLayer(4, 5, first=first)).double()
    v, h = torch.randn(2, 1, 4, 5, 9, dtype=torch.float64, requires_grad=True).unbind()
    cond = torch.zeros(1, 4, dtype=torch.float64)
    out_v, out_h = (x[0, :, 3, 4].sum() for x in layer(v, h, cond))

    def window(out: torch.Tensor, of: torch.Tensor) -> list[str]:
        (slope,) = torch.autograd.grad(out, of, retain_graph=True)
        assert not slope[:, :, 4].any()
        return ["".join(" #"[int(place)] for place in row) for row in slope.any(1)[0, :4]]

    assert window(out_v, v) == window(out_h, v) == seen_by_v
    assert window(out_h, h) == seen_by_h


@pytest.mark.parametrize("first", [False, True])
def test_a_gated_layer_is_equation_2_of_its_paper(first) -> None:
    """Van den Oord et al. 2016: tanh(f) sigmoid(g), both biased by the condition; a residual but in the first layer."""
    layer = randomise(GatedLayer(4, 3, first=first), 0.5)
    v, h, cond = torch.randn(2, 4, 3, 5), torch.randn(2, 4, 3, 5), torch.randn(2, 4)
    bias_v, bias_h = layer.cond(F.silu(cond))[..., None, None].chunk(2, 1)
    above = layer.vertical(F.pad(v, layer.pad_vertical))[:, :, :3]
    left = layer.horizontal(F.pad(h, layer.pad_horizontal))[..., :5]

    def gated(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x[:, :4]) * torch.sigmoid(x[:, 4:])

    out_v, out_h = layer(v, h, cond)
    torch.testing.assert_close(out_v, gated(above + bias_v))
    expected = layer.out(gated(left + layer.link(above) + bias_h))
    torch.testing.assert_close(out_h, expected if first else h + expected)
    layer.dropout.p = 1.0
    dropped = layer.out.bias[:, None, None].expand_as(h)
    torch.testing.assert_close(layer(v, h, cond)[1], dropped if first else h + dropped)


@pytest.mark.parametrize("name", TRUNK_ROLES)
def test_trunks_work_in_the_memory_format_they_state(name) -> None:
    trunk = make_trunk(trunk_options(name), (4, 4))
    formats = []
    trunk.register_forward_pre_hook(lambda _, args: formats.append(args[0]))
    for laid_out in (torch.randn(1, 16, 4, 4).permute(0, 2, 3, 1), torch.randn(1, 4, 4, 16)):
        run_trunk(trunk, laid_out, torch.randn(1, 16))
    for h in formats:
        assert (h if trunk.channels_last else h.permute(0, 3, 1, 2)).is_contiguous()


@pytest.mark.parametrize("name", TRUNK_ROLES)
def test_the_dropout_of_a_trunk_is_that_of_all_its_blocks_and_rests_while_drawing(name) -> None:
    trunk = randomise(make_trunk(trunk_options(name, dropout=0.5), (4, 4)))
    probabilities = [module.p for module in trunk.modules() if isinstance(module, nn.Dropout)]
    probabilities += [block.mixing.dropout for block in getattr(trunk, "blocks", []) if name == "vit"]
    assert set(probabilities) == {0.5}
    h, cond = torch.randn(1, 4, 4, 16), torch.randn(1, 16)
    assert not torch.equal(trunk(h, cond), trunk(h, cond))
    assert torch.equal(trunk.eval()(h, cond), trunk(h, cond))


@pytest.mark.parametrize("name", ["vit", "mixer"])
def test_a_token_trunk_is_positions_blocks_and_a_norm(name) -> None:
    trunk = randomise(make_trunk(trunk_options(name, position="learned"), (3, 4)), std=0.3)
    h, cond = torch.randn(2, 3, 4, 16), torch.randn(2, 16)
    tokens_of = rearrange(h + trunk.position.table, "b h w d -> b (h w) d")
    for block in trunk.blocks:
        tokens_of = block(tokens_of, cond)
    expected = F.layer_norm(tokens_of, (16,), trunk.norm.weight, trunk.norm.bias, eps=1e-6)
    torch.testing.assert_close(trunk(h, cond), rearrange(expected, "b (h w) d -> b h w d", h=3))


def test_every_block_of_the_unet_is_steered_by_one_map_of_the_condition() -> None:
    trunk = randomise(make_trunk(trunk_options("unet"), (4, 4)), std=0.3)
    h, cond, steered = torch.randn(2, 4, 4, 16), torch.randn(2, 16), []
    for block in trunk.modules():
        if isinstance(block, ResidualBlock):
            block.register_forward_hook(lambda _, args, __: steered.append(args[1]))
    trunk(h, cond)
    first, _, second = trunk.cond
    expected = second(F.silu(first(F.silu(cond))))
    assert len(steered) == 8  # three levels down and up, and two in the middle
    for found in steered:
        torch.testing.assert_close(found, expected)


def test_a_conv_trunk_is_its_blocks_and_a_normalised_silu() -> None:
    trunk = randomise(make_trunk(trunk_options("conv", depth=2), (5, 3)), std=0.3)
    h, cond = torch.randn(2, 5, 3, 16), torch.randn(2, 16)
    x = rearrange(h, "b h w d -> b d h w")
    for block in trunk.blocks:
        x = block(x, cond)
    expected = F.silu(F.group_norm(x, 8, trunk.norm.weight, trunk.norm.bias))
    torch.testing.assert_close(trunk(h, cond), rearrange(expected, "b d h w -> b h w d"))


def test_no_label_is_a_label_of_its_own() -> None:
    condition = Conditioner(8, 3)
    no_label = torch.tensor([3, 3])
    assert torch.equal(condition(2), condition(2, no_label))
    assert not torch.equal(condition(2), condition(2, torch.tensor([0, 1])))


def test_times_are_told_apart_over_their_whole_range() -> None:
    """Neighbouring times give neighbouring vectors; 0..1000 is the range that the sinusoids resolve."""
    condition = Conditioner(32, 0, time=True)
    t = torch.linspace(0, 1000, 201)
    features = condition.sinusoids(t)
    nearest = torch.cdist(features, features).fill_diagonal_(9).argmin(1)
    assert ((nearest - torch.arange(201)).abs() == 1).all()
    assert condition(201, None, t).shape == (201, 32)
