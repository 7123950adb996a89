"""Each kind of attention against full attention where the two agree, its cost, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cells import KINDS, TINY, draw_of, make_cell, randomise, some_batch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from genvision.config.trunks import ATTENTION_OPTIONS, ATTENTION_ROLES
from genvision.errors import ConfigError
from genvision.initialise import initialise
from genvision.layers.attention import Attention
from genvision.layers.linformer import LinformerAttention
from genvision.layers.performer import PerformerAttention, orthogonal_directions, prefix_sums
from genvision.layers.window_attention import WindowAttention
from genvision.networks import Denoiser
from genvision.pipelines import ImageGenerationPipeline
from genvision.spec import ImageSpec
from genvision.trunks import make_trunk
from genvision.trunks.vit import ATTENTION

WIDTH, HEAD = 24, 8


def tokens(n: int, scale: float = 1.0, seed: int = 0) -> torch.Tensor:
    return scale * torch.randn(2, n, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def like(full: Attention, other: Attention) -> Attention:
    """`other` with the projections of `full`, in float64."""
    other.double().load_state_dict(full.state_dict(), strict=False)
    return other


def full_attention(**options) -> Attention:
    return randomise(Attention(WIDTH, HEAD, **options).double(), std=0.2)


def masked(full: Attention, h: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """Softmax attention by hand; `allowed` (T,T)."""
    q, k, v = (x.unflatten(-1, (-1, HEAD)).transpose(1, 2) for x in full.qkv(h).chunk(3, -1))
    weights = torch.softmax((q @ k.mT / HEAD**0.5).masked_fill(~allowed, -torch.inf), -1)
    return full.out((weights @ v).transpose(1, 2).flatten(2))


def test_the_tables_name_the_same_kinds_and_agree_on_who_can_be_causal() -> None:
    assert set(ATTENTION) == set(ATTENTION_ROLES) == {"full", *ATTENTION_OPTIONS} == {"full", *KINDS}
    for kind, mixing in ATTENTION.items():
        assert mixing.can_be_causal == ("predictor" in ATTENTION_ROLES[kind])
        assert {"encoder", "decoder", "denoiser"} <= set(ATTENTION_ROLES[kind])


@pytest.mark.parametrize("kind", [kind for kind, mixing in ATTENTION.items() if not mixing.can_be_causal])
def test_what_cannot_be_causal_is_refused_by_naming_those_that_can(kind) -> None:
    with pytest.raises(ConfigError, match=f"attention={kind} cannot be causal; kinds that can: full, performer$"):
        make_cell("autoregressive", ("vit",), ImageSpec(1, 8, 8), trunk=TINY[kind])


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("window", [6, 7])
def test_a_window_as_large_as_the_grid_is_full_attention(window, shifted) -> None:
    full, h = full_attention(rotary=(5, 6)), tokens(30)
    ours = like(full, WindowAttention(WIDTH, HEAD, grid=(5, 6), window=window, shifted=shifted, rotary=(5, 6)))
    assert torch.equal(ours(h), full(h))


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(
    ("grid", "window"), [((28, 28), 7), ((7, 7), 7), ((7, 7), 4), ((7, 7), 3), ((8, 4), 4), ((5, 9), 4), ((6, 5), 2)]
)
def test_windows_are_full_attention_under_the_mask_of_their_partition(grid, window, shifted) -> None:
    """The partition in the plane, without padding or rolling: sides cut at shift, shift + window, .."""
    full, h = full_attention(), tokens(grid[0] * grid[1])
    row, column = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    areas = []
    for place, side in ((row, grid[0]), (column, grid[1])):
        size = min(window, side)
        areas.append((place - (size // 2 if shifted and side > size else 0)) // size)
    area = torch.tensor(areas[0] * 1000 + areas[1])
    ours = like(full, WindowAttention(WIDTH, HEAD, grid=grid, window=window, shifted=shifted))
    assert (ours.mask is None) == ((not shifted and not any(n % window for n in grid)) or window >= max(grid))
    torch.testing.assert_close(ours(h), masked(full, h, area[:, None] == area), rtol=0, atol=1e-12)


def test_every_second_layer_is_shifted_so_that_all_tokens_meet() -> None:
    trunk = randomise(make_trunk({"name": "vit", **TINY["window"], "position": "none", "class_token": False,
                                  "dropout": 0.0, "depth": 4}, (6, 6)).double(), std=0.3)  # fmt: skip
    h = torch.randn(1, 6, 6, 16, dtype=torch.float64, requires_grad=True)
    trunk(h, torch.ones(1, 16, dtype=torch.float64))[0, 0, 0].sum().backward()
    assert (h.grad.abs().sum(-1) > 0).all()
    assert [block.mixing.shift for block in trunk.blocks] == [(0, 0), (1, 1)] * 2


def test_linformer_with_a_mixture_per_token_is_full_attention() -> None:
    full, h = full_attention(), tokens(30)
    ours = like(full, LinformerAttention(WIDTH, HEAD, tokens=30, rank=30))
    assert not torch.allclose(ours(h), full(h))
    for mixtures in (ours.mix_keys, ours.mix_values):
        nn.init.eye_(mixtures.weight)
    torch.testing.assert_close(ours(h), full(h), rtol=0, atol=1e-12)


def test_linformer_attends_to_mixtures_of_keys_and_takes_other_mixtures_of_values() -> None:
    """Wang et al. 2020, equation 7: softmax(q (E k)^T / sqrt(d)) F v, the same E and F in every head."""
    ours = randomise(LinformerAttention(WIDTH, HEAD, tokens=30, rank=4).double(), std=0.3)
    h = tokens(30)
    q, k, v = (x.unflatten(-1, (-1, HEAD)).transpose(1, 2) for x in ours.qkv(h).chunk(3, -1))
    weights = torch.softmax(q @ (ours.mix_keys.weight @ k).mT / HEAD**0.5, -1)
    expected = ours.out((weights @ (ours.mix_values.weight @ v)).transpose(1, 2).flatten(2))
    torch.testing.assert_close(ours(h), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["full", "window", "linformer"])
def test_weights_of_pairs_are_dropped_in_training_alone(kind) -> None:
    mixing, h = mixing_of(kind, 8, causal=False, dropout=0.5), torch.randn(1, 64, 64)
    assert not torch.equal(mixing(h), mixing(h))
    assert torch.equal(mixing.eval()(h), mixing(h))


@pytest.mark.parametrize("kind", ATTENTION)
def test_pairs_are_weighed_in_single_precision_on_a_cpu_whatever_surrounds_them(kind) -> None:
    mixing = mixing_of(kind, 8, causal=False).requires_grad_(False)
    q, k, v = torch.randn(3, 1, 2, 64, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    if kind == "linformer":  # whose mixtures of tokens are products like any other
        mixing.mix_keys = mixing.mix_values = nn.Identity()
    with torch.autocast("cpu", torch.bfloat16):
        found = mixing.mix(q, k, v)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, mixing.mix(q.float(), k.float(), v.float()).bfloat16())


def performer_error(features: int, causal: bool, seeds: int = 12) -> float:
    torch.manual_seed(0)
    full, h = full_attention(causal=causal), tokens(20, scale=0.15)  # where few features are enough to see the law
    errors = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        ours = like(full, PerformerAttention(WIDTH, HEAD, features=features, causal=causal))
        errors.append(((ours(h) - full(h)).square().mean() / full(h).var()).item())
    return float(np.mean(errors)) ** 0.5


@pytest.mark.parametrize("causal", [False, True])
def test_the_error_of_a_performer_falls_as_one_over_the_root_of_its_features(causal) -> None:
    counts = [32, 128, 512, 2048]
    errors = [performer_error(m, causal) for m in counts]
    slope = np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.08)
    assert errors[-1] < 0.003


def test_random_directions_are_unbiased_orthogonal_and_kept_with_the_weights() -> None:
    torch.manual_seed(0)
    directions = orthogonal_directions(4 * 8192, 4).double()
    gram = directions[:4] @ directions[:4].T
    torch.testing.assert_close(gram, gram.diagonal().diag(), rtol=0, atol=1e-5)
    torch.testing.assert_close(directions.mean(0), torch.zeros(4).double(), rtol=0, atol=0.03)  # all sides alike
    torch.testing.assert_close(directions.T.cov(), torch.eye(4).double(), rtol=0, atol=0.03)
    q, k = torch.tensor([0.3, -0.2, 0.5, 0.1]).double(), torch.tensor([-0.4, 0.6, 0.2, 0.3]).double()
    estimate = ((directions @ q - q @ q / 2) + (directions @ k - k @ k / 2)).exp().mean()
    assert estimate.item() == pytest.approx((q @ k).exp().item(), rel=0.01)


def test_a_saved_performer_is_the_same_function(tmp_path) -> None:
    denoiser = randomise(make_cell("diffusion", ("performer",), ImageSpec(1, 8, 8)).denoiser).eval()
    denoiser.save_pretrained(tmp_path)
    loaded = Denoiser.from_pretrained(tmp_path)
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([3.0, 500.0])
    assert torch.equal(loaded(x, t), denoiser(x, t))


def test_weights_to_start_from_bring_their_random_directions(tmp_path) -> None:
    given, family = (make_cell("diffusion", ("performer",), ImageSpec(1, 8, 8), seed=seed) for seed in (0, 1))
    ImageGenerationPipeline.from_family(given, {}).export(tmp_path / "model")
    assert "left 0" in str(initialise(family, str(tmp_path / "model")))
    for name, tensor in family.state_dict().items():
        assert torch.equal(tensor, given.state_dict()[name]), name


@pytest.mark.parametrize(("n", "m"), [(37, 5), (6, 9), (64, 64), (1, 3)])
def test_prefix_sums_are_the_lower_triangle_of_all_pairs(n, m) -> None:
    q, k, v = (torch.randn(2, 3, n, size, dtype=torch.float64) for size in (m, m, 4))
    torch.testing.assert_close(prefix_sums(q, k, v), (q @ k.mT).tril() @ v, rtol=1e-12, atol=1e-12)


def test_no_rounding_of_a_causal_performer_tells_of_the_future() -> None:
    ours = randomise(PerformerAttention(WIDTH, HEAD, features=16, causal=True), std=0.3)
    h = tokens(40).float()
    other = h.clone()
    other[:, 25:] *= 30
    assert torch.equal(ours(h)[:, :25], ours(other)[:, :25])
    assert ours(other).isfinite().all()


@pytest.mark.parametrize("head", [8, 128])
def test_large_queries_and_keys_stay_finite(head) -> None:
    torch.manual_seed(0)
    ours = PerformerAttention(head, head, features=64, causal=True)
    h = 50 * torch.randn(1, 100, head)
    h[:, 3] = ours.directions[0] * 10  # a key in the direction of a feature
    ours(h).sum().backward()
    assert ours(h).isfinite().all()
    assert ours.qkv.weight.grad.isfinite().all()


class Largest(TorchDispatchMode):
    """The most elements that any operation made."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for made in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(made, torch.Tensor):
                self.numel = max(self.numel, made.numel())
        return out


def mixing_of(kind: str, side: int, causal: bool, **options) -> Attention:
    own = {
        "full": {},
        "window": {"grid": (side, side), "window": 8, "shifted": True},
        "linformer": {"tokens": side**2, "rank": 32},
        "performer": {"features": 32},
    }[kind]
    return ATTENTION[kind](64, 32, causal=causal, **own, **options)


FORMS = [(kind, causal) for kind, mixing in ATTENTION.items() for causal in (False, True)[: 1 + mixing.can_be_causal]]


@pytest.mark.parametrize(("kind", "causal"), FORMS, ids=str)
def test_cost_and_memory_grow_with_the_tokens_or_with_their_square(kind, causal) -> None:
    """Multiply-adds between queries, keys and values, and the largest tensor, for 64 to 4,096 tokens."""
    sides, macs, numel = (8, 16, 32, 64), [], []
    for side in sides:
        with torch.device("meta"):
            mixing, x = mixing_of(kind, side, causal), torch.zeros(1, 2, side**2, 32)
            with FlopCounterMode(display=False) as counter, Largest() as largest:
                mixing.mix(x, x, x)
        macs.append(counter.get_total_flops())
        numel.append(largest.numel)
    slope, growth = (np.polyfit(np.log(np.square(sides)), np.log(y), 1)[0] for y in (macs, numel))
    assert slope == pytest.approx(2 if kind == "full" else 1, abs=0.03)
    if kind != "full":  # whose tensor of pairs is the meta device's alone
        assert growth == pytest.approx(1, abs=0.05)
        assert numel[-1] <= 64 * 2 * 4096  # of a window's pairs; no matrix of features and values for each token


def test_a_window_holds_no_class_token() -> None:
    with pytest.raises(ConfigError, match="class_token"):
        make_cell("diffusion", ("window",), ImageSpec(1, 8, 8), trunk={"class_token": True})


def test_a_linformer_mixes_the_class_token_too() -> None:
    spec = ImageSpec(1, 8, 8)
    cell = make_cell("diffusion", ("linformer",), spec, trunk={"class_token": True, "linformer_rank": 17})
    assert cell.denoiser.trunk.blocks[0].mixing.mix_keys.weight.shape == (17, 4 * 4 + 1)
    randomise(cell)
    loss = cell.loss(some_batch(2, spec), draw_of(2))["loss"]
    (slope,) = torch.autograd.grad(loss.sum(), cell.denoiser.trunk.class_token)
    assert slope.isfinite().all() and slope.abs().min() > 0


def test_more_mixtures_than_tokens_are_refused() -> None:
    with pytest.raises(ConfigError, match="linformer_rank=17 is more than the 16 tokens"):
        make_cell("diffusion", ("linformer",), ImageSpec(1, 8, 8), trunk={"linformer_rank": 17})
