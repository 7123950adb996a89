"""Milliseconds, memory and errors of layers and steps, round by round. The table of the study `speed`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from genvision import data
from genvision.analysis.counting import counted
from genvision.analysis.mixings import HEAD, MIXINGS, WIDTH, explicit, make_mixing, tokens_of
from genvision.analysis.runs import Runs
from genvision.analysis.study import Rows, Setting
from genvision.config import load_config
from genvision.config.trunks import BACKBONES, FAMILY_ROLES
from genvision.layers.performer import PerformerAttention
from genvision.step_time import step_seconds

BATCH = 4
DEVICE = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
EQUAL = {"autoregressive": ("family.likelihood=logistic_mixture",)}  # what the sizes were matched with


def measure(setting: Setting, runs: Runs) -> Rows:
    """All rows are of one round each: what else the machine does falls on neighbours alike."""
    return [*layers(setting), *memory(setting), *errors(setting), *steps(setting)]


def layers(setting: Setting) -> Iterator[dict[str, Any]]:
    """Milliseconds per image of one mixing layer, forward and backward, all mixings in turn."""
    for tokens in setting["lengths"]:
        calls = {name: _layer(name, tokens) for name in MIXINGS}
        for call in calls.values():
            call()  # chooses kernels and allocates
        for number in range(setting["rounds"]):
            for name, call in calls.items():
                row = {"part": "layer", "what": name, "length": tokens, "round": number}
                yield row | {"value": 1000 * call() / BATCH}


def _layer(name: str, tokens: int) -> Callable[[], float]:
    """A call that runs the layer forward and backward and returns its seconds."""
    layer, h = make_mixing(name, tokens).to(DEVICE), torch.randn(BATCH, tokens, WIDTH, device=DEVICE)
    h.requires_grad_()

    def call() -> float:
        began = time.perf_counter()
        (slope,) = torch.autograd.grad(layer(h).sum(), h)
        slope[0, 0, 0].item()  # an accelerator works on while Python does not wait
        return time.perf_counter() - began

    return call


def memory(setting: Setting) -> Iterator[dict[str, Any]]:
    """Numbers that one mixing layer keeps for its backward pass, a fused kernel for full attention."""
    for tokens in setting["lengths"]:
        for name in MIXINGS:
            kept = counted(partial(make_mixing, name, tokens), lambda n: (tokens_of(tokens, n),)).kept  # noqa: B023
            yield {"part": "memory", "what": name, "length": tokens, "round": 0, "value": kept}


def errors(setting: Setting) -> Iterator[dict[str, Any]]:
    """How far Performer is from softmax attention on normal queries and keys of several sizes, over its features."""
    for number in range(setting["draws"]):
        torch.manual_seed(number)
        normal = [torch.randn(8, 2, 64, HEAD) for _ in range(3)]
        for size in setting["sizes"]:
            q, k, v = size * normal[0], size * normal[1], normal[2]
            exact = explicit(q, k, v)
            for features in setting["features"]:
                found = PerformerAttention(WIDTH, HEAD, features=features).mix(q, k, v)
                error = ((found - exact).square().mean() / exact.square().mean()).sqrt().item()
                row = {"part": "error", "what": f"queries of size {size:g}", "length": features, "round": number}
                yield row | {"value": error}


def steps(setting: Setting) -> Iterator[dict[str, Any]]:
    """Milliseconds per image of a training step of whole generators, at equal weights."""
    for family in FAMILY_ROLES:
        configs = {
            backbone: load_config(
                None, [*setting["words"], f"family={family}", f"backbone={backbone}", *EQUAL.get(family, ())]
            )
            for backbone in BACKBONES
        }
        for number in range(setting["rounds"]):
            for backbone, config in configs.items():
                seconds = step_seconds(config, data.spec_of(config.data), batch_size=setting["batch"])
                row = {"part": "step", "what": backbone, "family": family, "round": number}
                yield row | {"value": 1000 * seconds}
