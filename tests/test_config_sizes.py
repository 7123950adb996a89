"""Sizes: at one size the three backbones of a family cost the same, and every size is what its head comment says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

from genvision.build import build, cost
from genvision.config import load_config
from genvision.config.grid import read_grid
from genvision.config.trunks import BACKBONES, FAMILY_ROLES
from genvision.errors import ConfigError
from genvision.layers.masked import count_parameters
from genvision.spec import ImageSpec

TABLE = runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "make_size_table.py"))
RANGES = {  # parameters in millions
    "mini": (0.3, 0.77),
    "small": (1.15, 1.45),
    "base": (9, 11),
    "large": (55, 59),
    "small-64": (2.9, 3.3),
    "base-64": (28, 32),
    "large-64": (263, 278),
    "small-latent": (31, 34),
    "base-latent": (126, 133),
    "large-latent": (428, 461),
    "xlarge-latent": (639, 687),
}
GARMENT = ImageSpec(1, 28, 28, 10)
TINY = {"tiny": 0.2, "tiny-64": 1.6, "tiny-latent": 6}


def parameters(family, size, backbone, spec=None):
    """Weights that can act, counted on the meta device; None where the cell is refused."""
    meant, options = TABLE["meant_for"](size, family)
    config = load_config(None, [f"family={family}", f"size={size}", f"backbone={backbone}", *options])
    try:
        with torch.device("meta"):
            return count_parameters(build(config, spec or meant))
    except ConfigError as refusal:
        assert "mixer of 64x64 tokens has 16,789,504 weights a layer" in str(refusal)
        return None


def test_every_size_has_its_range_and_its_images():
    assert set(TABLE["sizes"]()) == set(RANGES) | set(TINY)


@pytest.mark.parametrize("family", FAMILY_ROLES)
@pytest.mark.parametrize("size", RANGES)
def test_the_backbones_of_a_family_cost_the_same(family, size):
    counts = {backbone: parameters(family, size, backbone) for backbone in BACKBONES}
    refused = [backbone for backbone, count in counts.items() if count is None]
    assert refused == (["mixer"] if family == "autoregressive" and size.endswith("-64") else [])
    counts = [count for count in counts.values() if count is not None]
    assert max(counts) / min(counts) < 1.1
    least, most = RANGES[size]
    assert least * 1e6 <= min(counts) and max(counts) <= most * 1e6


@pytest.mark.parametrize("family", FAMILY_ROLES)
def test_the_cells_of_the_leaderboard_cost_the_same_within_two_percent(family):
    grid = read_grid("nine")
    words = [*grid.axes.shared, *grid.families[family], f"family={family}"]
    counts = [cost(load_config(None, [*words, f"backbone={name}"]), GARMENT).parameters for name in BACKBONES]
    assert max(counts) / min(counts) < 1.02


@pytest.mark.parametrize("family", FAMILY_ROLES)
@pytest.mark.parametrize("size", TINY)
def test_tiny_is_tiny(family, size):
    spec = ImageSpec(1, 8, 8, 10) if size == "tiny" else None
    counts = [parameters(family, size, backbone, spec) for backbone in BACKBONES]
    assert max(count for count in counts if count is not None) < TINY[size] * 1e6


@pytest.mark.parametrize(
    ("size", "depth", "width", "heads", "published"),
    [
        ("small-latent", 12, 384, 6, 33e6),
        ("base-latent", 12, 768, 12, 130e6),
        ("large-latent", 24, 1024, 16, 458e6),
        ("xlarge-latent", 28, 1152, 16, 675e6),
    ],
)
def test_latent_transformers_are_those_of_the_dit_paper(size, depth, width, heads, published):
    """Peebles & Xie 2023, table 1, with patches of 2."""
    config = load_config(None, ["family=diffusion", "backbone=vit", f"size={size}"])
    trunk = config.denoiser.trunk
    assert (config.denoiser.patch, trunk["depth"], trunk["width"]) == (2, depth, width)
    assert trunk["width"] // trunk["head_width"] == heads
    assert parameters("diffusion", size, "vit") == pytest.approx(published, rel=0.01)


def test_large_unets_are_near_the_published_ones():
    """EDM's DDPM++ has 55.7 million parameters without classes; ADM's 296 million include blocks that resample."""
    edm = parameters("diffusion", "large", "convnet", ImageSpec(3, 32, 32))
    assert edm == pytest.approx(55.7e6, rel=0.015)
    adm = parameters("diffusion", "large-64", "convnet", ImageSpec(3, 64, 64, 1000))
    assert 0.9 < adm / 295.9e6 < 1


def written_rows():
    return [line for line in TABLE["PAGE"].read_text().splitlines() if line.startswith("| ")][2:]


def test_the_page_of_sizes_has_a_row_for_every_cell():
    cells = [line.removeprefix("| ").split(" | ")[:4] for line in written_rows()]
    assert [(size, family, backbone) for size, family, _, backbone in cells] == [
        (size, family, backbone) for size in TABLE["sizes"]() for family in FAMILY_ROLES for backbone in BACKBONES
    ]
    assert TABLE["PAGE"].read_text().startswith(TABLE["HEAD"])


@pytest.mark.parametrize("cell", [("diffusion", "convnet"), ("vae", "vit"), ("autoregressive", "mixer")], ids="-".join)
def test_rows_of_a_small_size_are_what_the_code_counts(cell):
    assert TABLE["row"]("tiny", *cell) in written_rows()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_page_of_sizes_is_what_the_code_counts():
    assert TABLE["page"]() == TABLE["PAGE"].read_text()


@pytest.mark.parametrize(
    ("number", "text"),
    [(999, "999"), (1000, "1.00 k"), (56_327_000, "56.3 M"), (999_600, "1.00 M"), (9_996, "10.0 k"), (119e9, "119 G")],
)
def test_numbers_have_three_digits_and_a_unit(number, text):
    assert TABLE["short"](int(number)) == text
