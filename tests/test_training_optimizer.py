"""The learning-rate curve and who is decayed; which precision a device gets."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from cells import make_cell
from test_training_toy import ToyFamily, toy_config
from torch import nn

from genvision.config.trunks import Position
from genvision.errors import ConfigError
from genvision.spec import ImageSpec
from genvision.training import precision
from genvision.training.optimizer import learning_rate, make_optimizer
from genvision.training.precision import resolve_precision


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25]),
        ("cosine", [0.25, 0.5, 0.75, 1.0, 1.0, 0.8535533905932737, 0.5, 0.14644660940672627]),
    ],
)
def test_the_curve_is_pinned(schedule, expected):
    config = toy_config(schedule=schedule, warmup_steps=4, learning_rate=3e-3).train
    assert [learning_rate(step, 8, config) / 3e-3 for step in range(8)] == pytest.approx(expected, abs=1e-15)
    assert learning_rate(8, 8, config) == pytest.approx(3e-3 if schedule == "constant" else 0, abs=1e-15)


def test_warm_up_does_not_know_the_number_of_steps():
    config = toy_config(warmup_steps=20).train
    curves = [[learning_rate(step, total, config) for step in range(20)] for total in (None, 21, 10**6)]
    assert curves[0] == curves[1] == curves[2]
    assert learning_rate(0, 5, toy_config(warmup_steps=0).train) == config.learning_rate
    with pytest.raises(ValueError, match="total_steps"):
        learning_rate(20, None, config)


def test_decay_reaches_matrices_and_kernels_only():
    family = ToyFamily()
    family.tied = nn.Linear(6 * 16, 16)
    family.tied.weight = family.head.weight  # one tensor in two modules is optimised once
    family.table = nn.Parameter(torch.zeros(4, 4, 8))  # a position table
    family.frozen = nn.Linear(2, 2).requires_grad_(False)
    optimizer = make_optimizer(family, toy_config(weight_decay=0.3).train)
    names = {parameter: name for name, parameter in family.named_parameters()}
    groups = {group["weight_decay"]: {names[p] for p in group["params"]} for group in optimizer.param_groups}
    assert groups == {
        0.3: {"conv.weight", "head.weight"},
        0.0: {"norm.weight", "norm.bias", "label.weight", "head.bias", "tied.bias", "table"},
    }
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 8
    assert all(group["fused"] and group["betas"] == (0.9, 0.99) for group in optimizer.param_groups)


@pytest.mark.parametrize("kind", get_args(Position))
def test_no_kind_of_position_decays(kind):
    """But for the linear map of Fourier features, which is one like any other."""
    family = make_cell("diffusion", ("vit",), ImageSpec(1, 8, 8), trunk={"position": kind})
    decaying = {id(p) for p in make_optimizer(family, toy_config().train).param_groups[0]["params"]}
    numbered = {name: p for name, p in family.named_parameters() if ".position." in name or "relative" in name}
    assert [name for name, p in numbered.items() if id(p) in decaying] == (
        ["denoiser.trunk.position.out.weight"] if kind == "fourier" else []
    )
    assert bool(numbered) == (kind in ("learned", "axial", "fourier", "relative"))


def test_one_step_is_adamw_by_its_formula():
    family = nn.Linear(2, 1)
    config = toy_config(weight_decay=0.3, learning_rate=0.1).train
    optimizer = make_optimizer(family, config)
    before, gradient = family.weight.detach().clone(), torch.tensor([[0.5, -2.0]])
    family.weight.grad = gradient.clone()
    optimizer.step()
    expected = before * (1 - 0.1 * 0.3) - 0.1 * gradient / (gradient.abs() + 1e-8)  # both moments, corrected: g and g^2
    torch.testing.assert_close(family.weight.detach(), expected)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx512_f": True}, "no"), ({}, "no")],
)
def test_auto_precision_follows_the_processor(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert resolve_precision("auto", torch.device("cpu")) == expected
    assert resolve_precision("bf16", torch.device("cpu")) == "bf16"
    assert resolve_precision("no", torch.device("cpu")) == "no"
    assert resolve_precision("auto", torch.device("meta")) == "no"


def test_auto_precision_without_the_newer_question(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert precision.cpu_capabilities() == {"avx512_bf16": False, "amx_bf16": True}
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    assert resolve_precision("auto", torch.device("cpu")) == "no"


def test_fp16_needs_an_accelerator():
    with pytest.raises(ConfigError, match="train.precision=fp16"):
        resolve_precision("fp16", torch.device("cpu"))
    assert resolve_precision("fp16", torch.device("cuda")) == "fp16"
