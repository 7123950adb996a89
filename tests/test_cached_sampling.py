"""Cached sampling is the naive sampler, faster: the same steps, logits and bytes as a forward pass for every pixel."""

from __future__ import annotations

from itertools import count

import pytest
import torch
from cells import draw_of, make_cell, randomise, serving, some_images
from einops import rearrange
from test_causality import PREDICTORS
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from genvision.errors import ConfigError, NonFiniteError
from genvision.families import Family
from genvision.probability.randomness import Stream, uniform
from genvision.probability.shaping import UNSHAPED, Shaping
from genvision.probability.units import to_unit
from genvision.sampling import draw_images, log_likelihoods
from genvision.spec import Batch, ImageSpec
from genvision.trunks import make_trunk

every_trunk = pytest.mark.parametrize("trunk", serving("predictor"))
every_order = pytest.mark.parametrize("order", ["raster", "random"])


@torch.no_grad()
def naive(family: Family, images: Tensor, known: Tensor, y: Tensor | None, shaping: Shaping = UNSHAPED) -> Tensor:
    """The oracle: a whole forward pass for every pixel that is not known, in the predictor's order."""
    u = uniform(draw_of(len(images)), Stream.SAMPLE + Stream.PIXELS, *family.spec.shape)
    x = torch.where(known, images, 0)
    for i, j in family.predictor.places:
        if not known[i, j]:
            labels = [y] if shaping.guidance == 1 else [y, torch.full_like(y, family.spec.classes)]
            unit = to_unit(x, family.spec.levels, family.dtype)
            features = torch.cat([family.predictor(unit, label) for label in labels])[:, :, i : i + 1, j : j + 1]
            x[:, :, i, j] = family.predictor.head.sample(features, u[:, :, i : i + 1, j : j + 1], shaping)[..., 0, 0]
    return x


def exact_cell(trunk: str, spec: ImageSpec, **options) -> Family:
    """A cell in float64 whose every weight acts."""
    return randomise(make_cell("autoregressive", (trunk,), spec, **options).double()).eval()


def unknown(spec: ImageSpec) -> Tensor:
    return torch.zeros(spec.height, spec.width, dtype=torch.bool)


@pytest.mark.parametrize(("trunk", "options"), PREDICTORS, ids=str)
@pytest.mark.parametrize("grid", [(6, 6), (3, 7), (1, 4), (4, 1)], ids=str)
def test_a_trunk_stepped_through_the_grid_gives_its_forward_pass(trunk, options, grid) -> None:
    config = make_cell("autoregressive", (trunk,), ImageSpec(1, 6, 6), trunk=options).predictor.config.trunk_config
    module = randomise(make_trunk(config, grid, causal=True).double()).eval()
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(3, *grid, module.width, generator=generator, dtype=torch.float64)
    cond = torch.randn(3, module.width, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        expected = rearrange(module(h, cond), "b h w d -> (h w) b d")
        cache, before = module.start(cond), [None, *rearrange(h, "b h w d -> (h w) b d")]
        stepped = torch.stack([module.step(token, cache) for token in before[: len(expected)]])
    torch.testing.assert_close(stepped, expected, rtol=0, atol=1e-12)


@every_trunk
@pytest.mark.parametrize("classes", [0, 3], ids=["unlabelled", "labelled"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_naive_sampler_draws_the_same_bytes(trunk, classes, channels) -> None:
    spec = ImageSpec(channels, 8, 8, classes=classes)
    cell = exact_cell(trunk, spec)
    y = torch.arange(4) % classes if classes else None
    drawn = cell.sample(4, chunk_size=4)
    assert torch.equal(drawn, naive(cell, torch.zeros_like(drawn), unknown(spec), y))
    assert len(drawn.unique()) > 50


@every_trunk
def test_float32_logits_are_those_of_the_forward_pass_at_28x28(trunk) -> None:
    spec = ImageSpec(1, 28, 28, classes=3)
    cell = randomise(make_cell("autoregressive", (trunk,), spec)).eval()
    x, y, predictor = to_unit(some_images(2, spec)), torch.tensor([0, 2]), cell.predictor
    with torch.no_grad():
        expected = predictor.head.params(predictor(x, y), some_images(2, spec))[:, 0]
        cache = predictor.start(2, y)
        pixels = [None, *rearrange(x, "b c h w -> (h w) b c")]
        features = torch.stack([predictor.step(pixel, cache)[:, :, 0, 0] for pixel in pixels[: 28 * 28]], -1)
        features = rearrange(features, "b d (h w) -> b d h w", h=28)
        stepped = predictor.head.params(features, some_images(2, spec))[:, 0]
    assert expected.dtype == torch.float32 and expected.std((1, 2)).max() > 0.02
    error = torch.linalg.vector_norm(stepped - expected, dim=-1) / torch.linalg.vector_norm(expected, dim=-1)
    assert error.max() < 1e-5


@every_trunk
def test_all_steps_of_an_image_cost_about_one_forward_pass(trunk) -> None:
    """Whatever is computed twice shows here: the naive loop costs 64 passes."""
    spec = ImageSpec(1, 8, 8)
    predictor = make_cell("autoregressive", (trunk,), spec).predictor.requires_grad_(False)
    with FlopCounterMode(display=False) as once:
        predictor(torch.zeros(1, *spec.shape))
    with FlopCounterMode(display=False) as steps:
        cache = predictor.start(1)
        for k in range(64):
            predictor.step(torch.zeros(1, 1) if k else None, cache)
    assert 0.6 < steps.get_total_flops() / once.get_total_flops() < 1.05


@every_trunk
@every_order
def test_any_pixels_may_be_given_and_come_back_untouched(trunk, order) -> None:
    spec = ImageSpec(3, 5, 6, classes=3)
    cell, images, y = exact_cell(trunk, spec, order=order), some_images(3, spec, seed=1), torch.tensor([2, 0, 1])
    scattered = torch.rand(5, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    right_half = torch.arange(6).expand(5, 6) >= 3
    for known in (scattered, right_half, unknown(spec), ~unknown(spec)):
        completed = cell.complete(images, known, y, draw_of(3))
        assert torch.equal(completed[:, :, known], images[:, :, known])
        assert torch.equal(completed, naive(cell, images, known, y))
    whole = cell.sample(3, labels=y, chunk_size=3)
    assert torch.equal(cell.complete(whole, scattered, y, draw_of(3)), whole)  # the noise of a pixel is its own
    assert not torch.equal(cell.complete(images, scattered, y, draw_of(3)), whole)


def test_given_images_are_left_alone_and_drawn_ones_can_be_trained_on() -> None:
    spec = ImageSpec(1, 4, 4)
    cell, images = make_cell("autoregressive", ("vit",), spec), some_images(2, spec)
    drawn = cell.complete(images, unknown(spec), None, draw_of(2))
    assert torch.equal(images, some_images(2, spec)) and not torch.equal(drawn, images)
    cell.loss(Batch(drawn), draw_of(2))["loss"].sum().backward()
    assert not drawn.is_inference()


@every_trunk
def test_a_random_order_draws_the_same_bytes_as_the_naive_sampler_too(trunk) -> None:
    spec = ImageSpec(2, 6, 6, classes=2)
    cell = exact_cell(trunk, spec, order="random")
    drawn = cell.sample(4, chunk_size=4)
    assert torch.equal(drawn, naive(cell, torch.zeros_like(drawn), unknown(spec), torch.arange(4) % 2))
    raster = exact_cell(trunk, spec)
    raster.load_state_dict(cell.state_dict())  # an order has no weights
    assert not torch.equal(raster.sample(4, chunk_size=4), drawn)


OPTIONS = [{"temperature": 0.7}, {"top_k": 5}, {"top_p": 0.6}, {"guidance": 3.0}, {"guidance": 0.0}]
OPTIONS += [{"temperature": 1.5, "top_k": 40, "top_p": 0.9, "guidance": 1.5}]


@pytest.mark.parametrize("likelihood", ["categorical", "logistic_mixture"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options_shape_what_is_drawn_as_they_do_for_the_naive_sampler(likelihood, options) -> None:
    spec = ImageSpec(2, 4, 4, classes=3)
    cell = exact_cell("vit", spec, likelihood=likelihood)
    drawn = cell.sample(5, chunk_size=4, **options)
    expected = naive(cell, torch.zeros_like(drawn)[:4], unknown(spec), torch.arange(4) % 3, Shaping(**options))
    assert torch.equal(drawn[:4], expected)
    assert torch.equal(cell.sample(2, chunk_size=4, **options), drawn[:2])
    assert not torch.equal(cell.sample(5, chunk_size=4), drawn)


def test_the_default_options_leave_the_bytes_alone() -> None:
    cell = exact_cell("vit", ImageSpec(2, 4, 4, classes=3))
    plain = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "guidance": 1.0}
    assert torch.equal(cell.sample(3, **plain), cell.sample(3))


def test_no_guidance_and_guidance_by_no_label_are_the_two_ends() -> None:
    """u + w (c - u): w = 1 is the labelled model, w = 0 the one without labels, whatever the label."""
    spec = ImageSpec(1, 4, 4, classes=3)
    cell = exact_cell("vit", spec)
    free = cell.complete(some_images(3, spec), unknown(spec), torch.full((3,), 3), draw_of(3))
    assert torch.equal(cell.sample(3, chunk_size=3, guidance=0.0), free)
    assert cell.network_evaluations() == 16 and cell.network_evaluations(guidance=0.0) == 32


@pytest.mark.parametrize(
    ("changes", "options"),
    [({"classes": 0}, {}), ({"classes": 3}, {"label_dropout": 0.0})],
    ids=["no labels", "never without"],
)
def test_guidance_of_what_was_not_trained_is_refused(changes, options) -> None:
    cell = make_cell("autoregressive", ("vit",), ImageSpec(1, 2, 2)._replace(**changes), **options)
    for draw in (lambda: cell.sample(1, guidance=2.0), lambda: cell.network_evaluations(guidance=2.0)):
        with pytest.raises(ConfigError, match=r"sample.guidance=2.0 needs labels and a model .*label_dropout > 0"):
            draw()
    cell.sample(1, guidance=1.0)


def test_steps_are_in_the_weights_own_precision_whatever_is_asked_for() -> None:
    cell = randomise(make_cell("autoregressive", ("vit",), ImageSpec(1, 4, 4)))
    assert torch.equal(draw_images(cell, 3, precision="bf16"), draw_images(cell, 3))
    assert cell.sampling_precision("bf16") == "no"
    assert make_cell("diffusion", ("vit",), ImageSpec(1, 4, 4)).sampling_precision("bf16") == "bf16"


@pytest.mark.parametrize("place", [0, 2, 5])
def test_one_pixel_that_is_not_finite_is_enough(place, monkeypatch) -> None:
    """Black must not come out of it, even where the pixels after it are finite again."""
    cell = make_cell("autoregressive", ("vit",), ImageSpec(1, 2, 3, levels=2))
    step, places = cell.predictor.step, count()

    def broken(*args):
        return step(*args) * (torch.nan if next(places) == place else 1)

    monkeypatch.setattr(cell.predictor, "step", broken)
    with pytest.raises(NonFiniteError, match="diverged"):
        cell.sample(1, chunk_size=1)


@every_order
def test_the_log_likelihood_is_the_sum_over_the_pixels_in_nats(order) -> None:
    spec = ImageSpec(2, 3, 4, classes=3)
    cell = exact_cell("mixer", spec, order=order).train()
    images, y = some_images(5, spec), torch.tensor([2, 1, 0, 0, 1])
    found = log_likelihoods(cell, images, labels=y, chunk_size=2)
    assert found.dtype == torch.float64 and cell.training
    expected = torch.zeros(5, dtype=torch.float64)
    cell.eval()
    for k in range(5):
        x = images[k : k + 1]
        params = cell.predictor.head.params(cell.predictor(to_unit(x, dtype=torch.float64), y[k : k + 1]), x)
        expected[k] = params.log_softmax(-1).gather(-1, x[..., None].long()).sum()
    torch.testing.assert_close(found, expected)
    assert torch.equal(log_likelihoods(cell, images, labels=y, chunk_size=2), found)
    by_default = log_likelihoods(cell, images, chunk_size=2)  # label k mod classes
    assert ((by_default - found).abs() > 1e-6).tolist() == [True, False, True, False, False]


def test_only_an_exact_likelihood_is_told() -> None:
    spec = ImageSpec(1, 4, 4)
    for family, trunks in (("vae", ("vit", "vit")), ("diffusion", ("vit",))):
        with pytest.raises(ConfigError, match=f"not known to family={family}"):
            log_likelihoods(make_cell(family, trunks, spec), some_images(1, spec))
