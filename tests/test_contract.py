"""What every supported cell promises: losses per example, gradients everywhere, one parameter count, stable samples."""

from __future__ import annotations

import itertools

import pytest
import torch
from cells import CELL_IDS, CELLS, cell_config, draw_of, make_cell, randomise, some_batch

from genvision.build import build, cost
from genvision.config.trunks import BACKBONES, FAMILY_ROLES
from genvision.errors import ConfigError, NonFiniteError
from genvision.layers.masked import MaskedLinear
from genvision.spec import Draw, ImageSpec

every_cell = pytest.mark.parametrize(("family", "trunks"), CELLS, ids=CELL_IDS)
labels_or_none = pytest.mark.parametrize("classes", [0, 3], ids=["unlabelled", "labelled"])
TRAINING_SIZES = pytest.mark.parametrize("size", [(1, 28, 28), (3, 32, 32), (3, 24, 40)], ids=str)
FEW_STEPS = {"diffusion": {"steps": 3}}


def test_the_grid_holds_the_nine_cells_of_the_product() -> None:
    for family, backbone in itertools.product(FAMILY_ROLES, BACKBONES):
        assert (family, tuple(BACKBONES[backbone][role] for role in FAMILY_ROLES[family])) in CELLS


@every_cell
@labels_or_none
@TRAINING_SIZES
def test_loss_is_finite_per_example_and_moves_every_parameter(family, trunks, classes, size) -> None:
    spec = ImageSpec(*size, classes=classes)
    cell = randomise(make_cell(family, trunks, spec), std=0.05)  # gates that start at zero hide what lies behind them
    terms = cell(some_batch(2, spec), draw_of(2))
    assert all(value.shape == (2,) and value.isfinite().all() for value in terms.values())
    terms["loss"].sum().backward()
    # At this width no parameter may stay still. (With one channel per GroupNorm group, a bias before it would.)
    still = [n for n, p in cell.named_parameters() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()]
    assert still == []


@pytest.mark.parametrize("trunks", [trunks for family, trunks in CELLS if family == "diffusion"], ids=str)
def test_a_denoiser_starts_by_predicting_zero(trunks) -> None:
    cell = make_cell("diffusion", trunks, ImageSpec(3, 8, 12))
    assert not cell.denoiser(torch.randn(2, 3, 8, 12), torch.tensor([10.0, 900.0])).any()


@every_cell
@labels_or_none
def test_labels_steer_the_loss_only_where_there_are_classes(family, trunks, classes) -> None:
    spec = ImageSpec(1, 8, 8, classes=classes)
    cell = randomise(make_cell(family, trunks, spec))
    batch = some_batch(2, spec)
    given = cell.loss(batch, draw_of(2))["loss"]
    if not classes:
        assert batch.labels is None
        return
    other = cell.loss(batch._replace(labels=(batch.labels + 1) % classes), draw_of(2))["loss"]
    without = cell.loss(batch._replace(labels=None), draw_of(2))["loss"]
    assert not torch.equal(given, other)
    assert not torch.equal(given, without)


@every_cell
def test_every_network_is_told_the_label_and_listens(family, trunks) -> None:
    spec = ImageSpec(1, 8, 8, classes=3)
    kept = {} if family == "vae" else {"label_dropout": 0.0}
    cell = randomise(make_cell(family, trunks, spec, **kept))
    calls = []
    for role in cell.roles:
        getattr(cell, role).register_forward_hook(lambda network, args, out: calls.append((network, args, out)))
    batch = some_batch(2, spec)
    cell.loss(batch, draw_of(2))
    assert len(calls) == len(cell.roles)
    for network, (*inputs, labels), out in calls.copy():
        assert torch.equal(labels, batch.labels)
        assert not torch.equal(network(*inputs, (labels + 1) % 3), out)


@every_cell
def test_state_makes_a_round_trip_to_equal_bits(family, trunks) -> None:
    spec = ImageSpec(3, 8, 12, classes=3)
    cell = randomise(make_cell(family, trunks, spec))
    other = make_cell(family, trunks, spec, seed=1)
    batch, draw = some_batch(3, spec), draw_of(3)
    expected = cell.loss(batch, draw)["loss"]
    assert not torch.equal(other.loss(batch, draw)["loss"], expected)
    other.load_state_dict(cell.state_dict())
    assert torch.equal(other.loss(batch, draw)["loss"], expected)


@every_cell
@TRAINING_SIZES
def test_cost_on_the_meta_device_counts_the_weights_that_act(family, trunks, size) -> None:
    spec, config = ImageSpec(*size, classes=3), cell_config(family, trunks)
    real = build(config, spec)
    by_hand = sum(p.numel() for p in real.parameters())
    by_hand -= sum(int((m.mask == 0).sum()) for m in real.modules() if isinstance(m, MaskedLinear))
    counted = cost(config, spec)
    assert counted.parameters == by_hand
    assert counted.macs_per_image > by_hand  # each weight acts at least once


def test_macs_of_a_linear_denoiser_are_those_counted_by_hand() -> None:
    spec, patch, width = ImageSpec(1, 8, 8), 2, 16
    config = cell_config("diffusion", ("vit",), trunk={"depth": 1, "mlp_ratio": 2.0})
    tokens, head = 16, 8
    stem = head_out = tokens * patch**2 * width
    condition = width * width * 2  # the time's MLP
    attention = tokens * width * 4 * width + 2 * (width // head) * tokens * tokens * head
    mlp = tokens * 2 * width * 2 * width
    assert cost(config, spec).macs_per_image == stem + condition + 6 * width * width + attention + mlp + head_out


@every_cell
@pytest.mark.parametrize(("size", "classes"), [((1, 8, 8), 3), ((3, 8, 8), 0), ((3, 6, 10), 3)], ids=str)
def test_samples_depend_on_seed_and_index_alone(family, trunks, size, classes) -> None:
    spec = ImageSpec(*size, classes=classes)
    cell = randomise(make_cell(family, trunks, spec), std=0.2)
    options = {"chunk_size": 2, **FEW_STEPS.get(family, {})}
    images = cell.sample(5, **options)
    assert images.dtype == torch.uint8
    assert images.shape == (5, *size)
    for n in (1, 4):  # inside a chunk, at the end of one
        assert torch.equal(cell.sample(n, **options), images[:n])
    other = cell.sample(2, seed=1, **options)
    exact = {image.numpy().tobytes() for image in images}
    assert len(exact) == 5
    assert exact.isdisjoint(image.numpy().tobytes() for image in other)


@every_cell
def test_other_chunks_draw_the_same_images_within_rounding(family, trunks) -> None:
    cell = randomise(make_cell(family, trunks, ImageSpec(1, 4, 8)), std=0.05)
    whole, parts = (cell.sample(9, chunk_size=size, **FEW_STEPS.get(family, {})).int() for size in (9, 4))
    away = (whole - parts).abs()
    assert away.max() <= 1
    assert (away == 0).float().mean() >= 0.999


@every_cell
def test_sampling_is_in_eval_mode_and_leaves_the_mode_alone(family, trunks) -> None:
    spec = ImageSpec(1, 4, 4)
    cell = randomise(make_cell(family, trunks, spec, trunk={"dropout": 0.5}))
    options = FEW_STEPS.get(family, {})
    batch, draw = some_batch(2, spec), draw_of(2)
    assert not torch.equal(cell.loss(batch, draw)["loss"], cell.loss(batch, draw)["loss"])  # dropout acts
    in_training = cell.sample(2, chunk_size=2, **options)
    assert cell.training
    cell.eval()
    assert torch.equal(cell.loss(batch, draw)["loss"], cell.loss(batch, draw)["loss"])
    assert torch.equal(cell.sample(2, chunk_size=2, **options), in_training)
    assert not cell.training


@pytest.mark.parametrize("family", FAMILY_ROLES)
def test_labels_that_the_model_cannot_have_are_refused(family) -> None:
    trunks = ("vit",) * len(FAMILY_ROLES[family])
    cell, plain = (make_cell(family, trunks, ImageSpec(1, 4, 4, classes=k)) for k in (3, 0))
    for labels in (torch.tensor([0, 3]), torch.tensor([-1, 0]), torch.tensor([0])):
        with pytest.raises(ConfigError, match="must be from 0 to 2|1 labels were given for 2 images"):
            cell.sample(2, labels=labels)
    with pytest.raises(ConfigError, match="trained without"):
        plain.sample(2, labels=torch.tensor([0, 0]))
    assert cell.check_labels(None, 5).tolist() == [0, 1, 2, 0, 1]


@pytest.mark.parametrize("family", FAMILY_ROLES)
def test_labels_given_are_the_labels_drawn(family) -> None:
    spec = ImageSpec(1, 4, 4, classes=3)
    cell = randomise(make_cell(family, ("vit",) * len(FAMILY_ROLES[family]), spec), std=0.3)
    options = {"chunk_size": 3, **FEW_STEPS.get(family, {})}
    by_default = cell.sample(4, **options)
    assert torch.equal(cell.sample(4, labels=torch.tensor([0, 1, 2, 0]), **options), by_default)
    changed = cell.sample(4, labels=torch.tensor([0, 2, 2, 0]), **options)
    assert [torch.equal(a, b) for a, b in zip(changed, by_default, strict=True)] == [True, False, True, True]


@pytest.mark.parametrize("family", FAMILY_ROLES)
def test_diverged_weights_raise_instead_of_drawing_black(family) -> None:
    cell = make_cell(family, ("vit",) * len(FAMILY_ROLES[family]), ImageSpec(1, 4, 4))
    with torch.no_grad():
        next(cell.parameters()).fill_(torch.nan)
    for p in cell.parameters():
        p.data.fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="diverged"):
        cell.sample(1, chunk_size=1, **FEW_STEPS.get(family, {}))


def test_same_seed_builds_the_same_weights_and_leaves_the_global_generator_alone() -> None:
    spec = ImageSpec(1, 8, 8)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, second, third = (make_cell("diffusion", ("vit",), spec, seed=seed) for seed in (4, 4, 5))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.denoiser.stem.linear.weight, third.denoiser.stem.linear.weight)


@pytest.mark.parametrize(("family", "trunk"), [("autoregressive", "conv"), ("vae", "unet"), ("diffusion", "pixelcnn")])
def test_a_trunk_that_cannot_serve_is_refused_by_naming_those_that_can(family, trunk) -> None:
    with pytest.raises(ConfigError, match=f"name={trunk} cannot serve as .*; trunks that can: .*vit, mixer"):
        make_cell(family, (trunk,) * len(FAMILY_ROLES[family]), ImageSpec(1, 8, 8))


@pytest.mark.parametrize("family", ["vae", "diffusion"])
def test_a_size_that_the_patch_does_not_divide_names_both(family) -> None:
    for height, width in ((9, 8), (8, 9)):
        with pytest.raises(ConfigError, match=f"{height}x{width} pixels or codes cannot be cut into 2x2 patches"):
            make_cell(family, ("vit",) * len(FAMILY_ROLES[family]), ImageSpec(1, height, width))


@every_cell
def test_the_gradient_is_the_slope_of_the_loss(family, trunks) -> None:
    spec = ImageSpec(1, 8, 8, classes=3)
    cell = randomise(make_cell(family, trunks, spec), std=0.05).double()
    batch, draw, step = some_batch(3, spec), draw_of(3), 1e-3
    gradient = torch.autograd.grad(cell.loss(batch, draw)["loss"].sum(), list(cell.parameters()))
    along = [g / g.norm() for g in gradient]
    at = {}  # the loss at places along the gradient of every tensor
    for before, place in itertools.pairwise((0, -2, -1, 1, 2)):
        with torch.no_grad():
            for p, direction in zip(cell.parameters(), along, strict=True):
                p.add_(step * (place - before) * direction)
            at[place] = cell.loss(batch, draw)["loss"].sum().item()
    slope = (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * step)  # fourth order: a loss is kept in float32
    assert slope == pytest.approx(sum(g.norm().item() for g in gradient), rel=1e-4)


@every_cell
def test_bfloat16_autocast_stays_within_two_percent(family, trunks) -> None:
    spec = ImageSpec(3, 8, 8, classes=3)
    cell = randomise(make_cell(family, trunks, spec), std=0.05)
    batch, draw = some_batch(8, spec), draw_of(8)
    exact = cell.loss(batch, draw)["loss"]
    exact.mean().backward()
    gradient = torch.cat([p.grad.flatten() for p in cell.parameters()])
    cell.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        rough = cell.loss(batch, draw)["loss"]
    assert rough.dtype == torch.float32
    rough.mean().backward()
    rough_gradient = torch.cat([p.grad.flatten() for p in cell.parameters()])
    torch.testing.assert_close(rough, exact, rtol=0.02, atol=0)
    assert rough_gradient.isfinite().all()
    assert torch.cosine_similarity(gradient, rough_gradient, dim=0) > 0.99


@every_cell
def test_slots_choose_the_noise_and_neighbours_do_not(family, trunks) -> None:
    spec = ImageSpec(1, 8, 8)
    cell = randomise(make_cell(family, trunks, spec))
    cell.eval()
    batch = some_batch(4, spec)
    whole = cell.loss(batch, draw_of(4))["loss"]
    parts = [cell.loss(batch._replace(images=batch.images[k : k + 1]), Draw(0, 0, torch.tensor([k])))["loss"]
             for k in range(4)]  # fmt: skip
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-4, atol=1e-5)
