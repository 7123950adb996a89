"""Alignment of layers within and across networks. The table of the study `similarity`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genvision.analysis.capture import capture, is_block
from genvision.analysis.kernels import KERNELS, alignment, hsic
from genvision.analysis.passes import forward, test_batches
from genvision.analysis.runs import Runs, Trained
from genvision.analysis.study import Rows, Setting
from genvision.config.trunks import BACKBONES

ROLES = {"encoder": "vae", "decoder": "vae", "denoiser": "diffusion", "predictor": "autoregressive"}
ACROSS = (("convnet", "vit"), ("convnet", "mixer"), ("mixer", "vit"))
TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)


def measure(setting: Setting, runs: Runs) -> Rows:
    """Alignment of layers in groups of batches of test images: groups are what intervals are over."""
    rows: Rows = []
    for role in setting["roles"]:
        models = {f"{one.config.backbone}-{k}": one for k, one in numbered(runs, ROLES[role], setting["seeds"])}
        if ROLES[role] == "vae" and runs.given is None:
            narrow = runs.of("vae", seeds=setting["seeds"][:1], words=setting["narrow"])
            models |= {f"{one.config.backbone}-narrow": one for one in narrow}
        for group in range(setting["groups"]):
            rows += pairs(models, role, group, setting)
        if role == "denoiser":
            rows += noise_levels({name: models[name] for name in models if name.endswith("-0")}, setting)
    return rows


def numbered(runs: Runs, family: str, seeds: list[int]) -> Iterator[tuple[int, Trained]]:
    """Runs of one family, counted from 0 within their backbone."""
    counts: dict[str, int] = {}
    for one in runs.of(family, seeds=seeds):
        k = counts[one.config.backbone] = counts.get(one.config.backbone, -1) + 1
        yield k, one


def blocks_of(one: Trained, role: str, batch: Any, draw: Any, time: float = 0.5) -> dict[str, Tensor]:
    """{name: (N,D)} what every block of a network gives on one batch."""
    found = capture(getattr(one.family, role), forward(one.family, role, batch, draw, time=time))
    return {name: h.flatten(1).double() for name, h in found.items() if is_block(name)}


def grams(layers: Iterable[Tensor], kernel: str) -> Tensor:
    """M layers' (N,D) -> their kernel matrices (M,N,N)."""
    return torch.stack([KERNELS[kernel](layer) for layer in layers])


def pairs(models: dict[str, Trained], role: str, group: int, setting: Setting) -> Rows:
    """Every two layers of one network, of two seeds or widths of a backbone, and of two backbones, by every kernel."""
    seen: list[dict[str, Tensor]] = []
    totals: dict[str, Any] = dict.fromkeys(setting["kernels"], 0.0)
    for batch, draw in batches_of(next(iter(models.values())), group, setting):
        seen = [blocks_of(one, role, batch, draw) for one in models.values()]
        for kernel in totals:
            totals[kernel] += hsic(grams((layer for each in seen for layer in each.values()), kernel))
    ends = np.cumsum([0, *map(len, seen)])
    place = {model: slice(ends[k], ends[k + 1]) for k, model in enumerate(models)}
    wanted = [(f"{name}-0", f"{name}-{other}") for name in BACKBONES for other in ("0", "1", "narrow")]
    wanted += [(f"{one}-0", f"{other}-0") for one, other in ACROSS]
    rows: Rows = []
    for kernel, total in totals.items():
        aligned = alignment(torch.as_tensor(total))
        for one, other in wanted:
            if one in place and other in place:
                base = {"part": f"{role}, {kernel}", "what": f"{one} {other}", "seed": group}
                found = np.ndenumerate(aligned[place[one], place[other]].numpy())
                rows += [base | {"i": i, "j": j, "value": round(float(value), 4)} for (i, j), value in found]
    return rows


def batches_of(one: Trained, group: int, setting: Setting) -> list:
    """The batches of one group."""
    found = test_batches(one, setting["batch"], setting["groups"] * setting["batches"])
    return found[group * setting["batches"] : (group + 1) * setting["batches"]]


def noise_levels(models: dict[str, Trained], setting: Setting) -> Rows:
    """Each denoiser's layers at several times against the same layer half-way between image and noise."""
    rows = []
    for name, one in models.items():
        for group in range(setting["groups"]):
            total = 0.0
            for batch, draw in batches_of(one, group, setting):
                seen = [blocks_of(one, "denoiser", batch, draw, time).values() for time in TIMES]
                each = torch.stack([grams(layers, "linear") for layers in seen], 1)
                total = total + torch.stack([hsic(layer) for layer in each])
            for i, layer in enumerate(torch.as_tensor(total)):
                for time, value in zip(TIMES, alignment(layer)[TIMES.index(0.5)].tolist(), strict=True):
                    row = {"part": "noise", "what": name, "i": i, "j": time, "seed": group}
                    rows.append(row | {"value": round(value, 4)})
    return rows
