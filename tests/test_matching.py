"""`genvision match`: the backbones of a family brought to one cost."""

from __future__ import annotations

import shutil

import pytest
from runs import fresh_launch, genvision  # noqa: F401

from genvision import matching
from genvision.build import cost
from genvision.config import groups, load_config
from genvision.config.trunks import BACKBONES, FAMILY_ROLES
from genvision.data import spec_of
from genvision.errors import ConfigError
from genvision.matching import Cell, last, match, width_step
from genvision.spec import ImageSpec

TINY = ["data=fashion_mnist_mini", "size=tiny", "data.height=8", "data.width=8"]


@pytest.mark.parametrize("answer", [0, 1, 2, 3, 7, 8, 1000])
def test_last_finds_the_end_of_what_fits(answer):
    asked = []
    assert last(lambda n: asked.append(n) or n <= answer) == answer
    assert len(asked) <= 2 * max(1, answer).bit_length() + 1


@pytest.mark.parametrize(
    ("trunk", "step"),
    [
        ({"name": "conv"}, 4),
        ({"name": "vit", "head_width": 24}, 24),
        ({"name": "vit", "head_width": 6}, 12),
        ({"name": "unet", "head_width": 32, "multipliers": [1, 2, 3], "attention": True, "attention_levels": []}, 32),
        ({"name": "unet", "head_width": 32, "multipliers": [1, 2, 4], "attention": True, "attention_levels": []}, 8),
        ({"name": "unet", "head_width": 32, "multipliers": [1, 2, 4], "attention": True, "attention_levels": [1]}, 16),
        ({"name": "unet", "head_width": 32, "multipliers": [1, 2, 3], "attention": False, "attention_levels": []}, 4),
    ],
)
def test_widths_move_by_whole_heads(trunk, step):
    assert width_step(trunk) == step


@pytest.mark.parametrize("family", FAMILY_ROLES)
@pytest.mark.parametrize("by", ["params", pytest.param("macs", marks=pytest.mark.slow)])
def test_every_backbone_is_brought_to_the_cost_of_the_first(family, by):
    found = match([*TINY, f"family={family}"], by=by, tolerance=0.05)
    assert [one.backbone for one in found] == list(BACKBONES) and found[0].options == [] and found[0].mismatch == 0
    costs = []
    for one in found:
        config = load_config(None, [*TINY, f"family={family}", f"backbone={one.backbone}", *one.options])
        counted = cost(config, spec_of(config.data))
        costs.append(counted.parameters if by == "params" else counted.macs_per_image)
        assert one.config == config and one.mismatch == costs[-1] / costs[0] - 1 and abs(one.mismatch) <= 0.05


def test_a_solution_is_the_nearest_there_is():
    cell = Cell("mixer", [*TINY, "family=diffusion"], matching.MEASURES["params"])
    target = 20_000
    width, ratio = (float(option.partition("=")[2]) for option in cell.solve(target))
    hidden = round(width * ratio)
    costs = [
        cell.cost([f"trunk.width={width:.0f}", f"trunk.channel_ratio={h / width}"])
        for h in (hidden - 1, hidden, hidden + 1)
    ]
    assert costs[0] < costs[1] < costs[2] and abs(costs[1] - target) == min(abs(c - target) for c in costs)
    usual = 4.0  # the next width would need an MLP further from the usual
    assert 0.5 * usual < ratio < 2 * usual


def test_measured_time_is_matched_like_a_count(monkeypatch):
    monkeypatch.setitem(matching.MEASURES, "step_time", lambda config, spec: 1e-9 * cost(config, spec).parameters)
    by_time = match([*TINY, "family=diffusion"], by="step_time")
    assert [one.options for one in by_time] == [one.options for one in match([*TINY, "family=diffusion"], by="params")]


def test_what_cannot_cost_so_little_names_its_floor():
    with pytest.raises(ConfigError, match=r"convnet cannot cost 100: [0-9,.e+]+ is its floor; lower trunk.depth"):
        match([*TINY, "family=diffusion"], by="params", target=100)


def test_a_mismatch_beyond_the_tolerance_is_refused():
    with pytest.raises(ConfigError, match=r"convnet comes no nearer to 7.012e\+04 than .*; change its trunk.depth"):
        match([*TINY, "family=diffusion"], by="params", target=70_123, tolerance=1e-6)


def test_the_command_prints_costs_and_writes_a_size_file(tmp_path, monkeypatch):
    configs = shutil.copytree(groups.CONFIG_DIR, tmp_path / "configs")
    monkeypatch.setattr(groups, "CONFIG_DIR", configs)
    monkeypatch.setattr("genvision.match_command.step_seconds", lambda config, spec: 0.00125)
    out = configs / "size" / "even.yaml"
    said = genvision("match", *TINY, "family=vae", "family.downsample=2", "--tol", "0.05", "--out", out)
    assert said.code == 0, said.err
    head, *rows, written = said.out.splitlines()
    assert head.split() == ["family", "backbone", "parameters", "MACs/image", "ms/image", "mismatch", "options"]
    assert written == f"written to {out}" and [row.split()[1] for row in rows] == list(BACKBONES)
    for row in rows:
        family, backbone, parameters, macs, milliseconds, mismatch, *_ = row.split()
        words = [*TINY, "family=vae", "family.downsample=2", f"backbone={backbone}", "size=even"]
        counted = cost(load_config(None, words), ImageSpec(1, 8, 8, 10))
        assert (parameters, macs) == (f"{counted.parameters:,}", f"{counted.macs_per_image:,}")
        assert (family, milliseconds) == ("vae", "1.25") and abs(float(mismatch.rstrip("%"))) <= 5


def test_words_that_settle_the_answer_are_refused():
    for word in ("backbone=vit", "trunk.width=64"):
        said = genvision("match", *TINY, "family=diffusion", word)
        assert said.code == 2 and said.error == f"{word} settles what match is to find; leave it out"
