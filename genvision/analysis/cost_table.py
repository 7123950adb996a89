"""What trunks and layers cost: counted, beside formulas. The table of the study `cost`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import torch

from genvision.analysis.closed_forms import CLOSED_FORMS, Cost, block
from genvision.analysis.counting import counted, trunk_inputs
from genvision.analysis.mixings import (
    ATTENDING,
    HEAD,
    KERNEL,
    MIXINGS,
    WIDTH,
    Attending,
    Convolution,
    make_mixing,
    tokens_of,
)
from genvision.analysis.runs import Runs
from genvision.analysis.study import Rows, Setting
from genvision.config.trunks import TRUNK_CONFIGS, TRUNK_ROLES
from genvision.layers.attention import Attention
from genvision.layers.block import Block
from genvision.trunks import make_trunk

RATIO = 4  # hidden units of the MLP per channel
QUANTITIES = tuple(asdict(Cost()))


def measure(setting: Setting, runs: Runs) -> Rows:
    return [*forms(setting), *lengths(setting), *sizes(setting), *patches(setting)]


def forms(setting: Setting) -> Iterator[dict[str, Any]]:
    """Every trunk, as it comes and in its causal form, on several grids: counted beside its closed form."""
    for name, side in ((name, side) for name in TRUNK_CONFIGS for side in setting["sides"]):
        for causal in sorted({role == "predictor" for role in TRUNK_ROLES[name]}):
            options, grid = asdict(TRUNK_CONFIGS[name](width=WIDTH)), (side, side + 2)
            found = counted(lambda: make_trunk(options, grid, causal=causal), trunk_inputs(grid, WIDTH))  # noqa: B023
            for quantity in QUANTITIES:
                closed = getattr(CLOSED_FORMS[name](grid, options, causal), quantity)
                trunk = f"{name}, causal" if causal else name
                row = {"part": "closed form", "what": trunk, "length": math.prod(grid), "quantity": quantity}
                yield row | {"value": getattr(found, quantity), "closed": closed}


def lengths(setting: Setting) -> Iterator[dict[str, Any]]:
    """Each mixing over the length, also without its dense layers; memory without queries, keys and values; a block."""
    for tokens in setting["lengths"]:
        row: dict[str, Any] = {"length": tokens}
        for name in MIXINGS:
            macs = counted(partial(make_mixing, name, tokens), lambda n: (tokens_of(tokens, n),)).macs  # noqa: B023
            yield row | {"part": "mixing", "what": name, "quantity": "macs", "value": macs}
            if name != "convolution":
                term = macs - 4 * WIDTH**2 * tokens
                yield row | {"part": "term", "what": name, "quantity": "macs", "value": term}
        for name in ATTENDING:
            shape = WIDTH // HEAD, tokens, HEAD
            kept = counted(partial(Attending, name), lambda n: [torch.zeros(n, *shape) for _ in range(3)]).kept  # noqa: B023
            own = kept - 3 * tokens * WIDTH
            yield row | {"part": "memory", "what": name, "quantity": "kept", "value": own}
        mixing = partial(Attention, WIDTH, HEAD)
        whole = counted(lambda: Block(WIDTH, mixing(), RATIO * WIDTH), trunk_inputs((tokens,), WIDTH)).macs  # noqa: B023
        term = 2 * tokens**2 * WIDTH
        rest = whole - term - block(0, WIDTH, RATIO * WIDTH, Cost()).macs  # without what does not grow with tokens
        yield row | {"part": "share", "what": "L x L term", "quantity": "share", "value": term / rest}


def sizes(setting: Setting) -> Iterator[dict[str, Any]]:
    """Weights over the size of the image, one token a pixel; of a convolution also its bytes."""
    for side in setting["sides"]:
        for name in ("conv", "vit", "mixer"):
            options = asdict(TRUNK_CONFIGS[name](width=WIDTH))
            value = CLOSED_FORMS[name]((side, side), options, False).parameters
            positions = side**2 * WIDTH if options.get("position") == "learned" else 0
            row = {"part": "size", "what": name, "length": side**2}
            yield row | {"quantity": "parameters", "value": value, "closed": value - positions}
    weight = Convolution().conv.weight
    closed = weight.element_size() * KERNEL**2 * WIDTH**2
    row = {"part": "weights", "what": "convolution", "length": side**2, "quantity": "bytes"}
    yield row | {"value": weight.nbytes, "closed": closed}


def patches(setting: Setting) -> Iterator[dict[str, Any]]:
    """A ViT on pixels and on patches of 4 x 4."""
    for side, channels in ((28, 1), (32, 3), (64, 3)):
        options = asdict(TRUNK_CONFIGS["vit"](width=WIDTH))
        macs = {p: CLOSED_FORMS["vit"]((side // p, side // p), options, False).macs for p in (1, 4)}
        row = {"part": "pixels", "what": f"{channels}x{side}x{side}", "length": side**2, "quantity": "macs"}
        yield row | {"value": macs[1], "closed": macs[4]}
