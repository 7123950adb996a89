"""Activations by name: the same names for every backbone, the very tensors of the forward pass."""

from __future__ import annotations

import pytest
import torch
from cells import CELL_IDS, CELLS, draw_of, make_cell, randomise, some_batch

from genvision.analysis.capture import MIXING, capture, is_block, sites
from genvision.fingerprint import short_hash
from genvision.networks.network import REPEATED_BLOCKS
from genvision.spec import ImageSpec

SPEC = ImageSpec(1, 8, 8)


@pytest.mark.parametrize(("family", "trunks"), CELLS, ids=CELL_IDS)
def test_every_network_has_the_same_names(family, trunks):
    cell = randomise(make_cell(family, trunks, SPEC)).eval()
    before = short_hash(cell)
    for role in cell.roles:
        network = getattr(cell, role)

        def run():
            cell.loss(some_batch(2, SPEC), draw_of(2))

        found = capture(network, run)
        own = [name for name in found if not name.startswith("top.")]
        blocks = sum(name.startswith("trunk.blocks.") and name.endswith(".mixing") for name in own)
        expected = [f"trunk.blocks.{k}{part}" for k in range(blocks) for part in (".mixing", "")]
        assert own == ["stem", *expected, "trunk"] and blocks
        assert [name for name in found if is_block(name)] == expected[1::2]
        for name, h in found.items():
            assert h.ndim == 4 and len(h) == 2 and h.std() > 0 and not h.requires_grad, name
        assert found["stem"].shape == found["trunk"].shape
    assert short_hash(cell) == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in cell.modules())


def test_what_is_captured_is_what_the_block_gave():
    cell = randomise(make_cell("diffusion", ("vit",), SPEC, trunk={"class_token": True})).eval()
    denoiser, x, t = cell.denoiser, torch.randn(3, 1, 8, 8), torch.full((3,), 500.0)
    found = capture(denoiser, lambda: denoiser(x, t), ["stem", "trunk.blocks.1", "trunk"])
    assert list(found) == ["stem", "trunk.blocks.1", "trunk"]
    assert torch.equal(found["stem"], denoiser.stem(x))
    assert torch.equal(denoiser.trunk.norm(found["trunk.blocks.1"]), found["trunk"]), "the class token is not in it"


def test_a_convolution_block_is_its_skip_and_its_mixing():
    cell = randomise(make_cell("diffusion", ("unet",), SPEC)).eval()
    x, t = torch.randn(2, 1, 8, 8), torch.full((2,), 500.0)
    found = capture(cell.denoiser, lambda: cell.denoiser(x, t))
    torch.testing.assert_close(found["trunk.blocks.0"], found["stem"] @ skip(cell) + found["trunk.blocks.0.mixing"])
    shapes = [tuple(h.shape[1:3]) for name, h in found.items() if name.count(".") == 2]
    assert shapes == [(8, 8), (4, 4), (2, 2), (2, 2), (2, 2), (2, 2), (2, 2), (4, 4), (8, 8)]


def skip(cell):
    """The first block keeps its number of channels, so that its skip is the identity."""
    return torch.eye(cell.denoiser.trunk.width)


def test_sites_that_are_known_spare_the_pass_that_finds_them():
    cell = randomise(make_cell("diffusion", ("unet",), SPEC)).eval()
    passes = []
    x = torch.randn(2, 1, 8, 8)
    run = lambda: passes.append(cell.denoiser(x, torch.full((2,), 500.0)))  # noqa: E731
    known = sites(cell.denoiser, run)
    assert len(passes) == 1
    few = {name: known[name] for name in ("trunk.blocks.1", "trunk.blocks.2.mixing")}
    found, expected = capture(cell.denoiser, run, known=few), capture(cell.denoiser, run)
    assert len(passes) == 4 and list(found) == list(few)
    assert all(torch.equal(found[name], expected[name]) for name in few)


def test_gradients_reach_the_image():
    cell = randomise(make_cell("diffusion", ("mixer",), SPEC)).eval()
    x = torch.randn(2, 1, 8, 8, requires_grad=True)
    run = lambda: cell.denoiser(x, torch.full((2,), 500.0))  # noqa: E731
    found = capture(cell.denoiser, run, ["trunk.blocks.0"], gradients=True)
    found["trunk.blocks.0"].square().sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_names_that_are_not_there_and_passes_that_fail_leave_no_hook():
    cell = make_cell("diffusion", ("mixer",), SPEC)
    run = lambda: cell.denoiser(torch.zeros(1, 1, 8, 8), torch.zeros(1))  # noqa: E731
    with pytest.raises(KeyError, match="trunk.blocks.9"):
        capture(cell.denoiser, run, ["trunk.blocks.9"])
    with pytest.raises(RuntimeError):
        sites(cell.denoiser, lambda: cell.denoiser(torch.zeros(1, 1, 9, 8), torch.zeros(1)))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in cell.modules())


def test_every_kind_of_block_has_a_mixing():
    assert set(MIXING) == set(REPEATED_BLOCKS)
