"""A run may be stopped after any step, up to three times, and ends with the bits of one that never was: every cell.

Epochs of 20 images end inside steps 4 and 7 of 9, micro-batches of 4 leave a rest of 2; dropout and augmentation
are on. Compared are all bits that training changes, and of every step its images, loss terms (in which its
noise shows), gradient, learning rate and counts.
"""

from __future__ import annotations

import dataclasses
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from cells import cell_config, randomise, some_images
from hypothesis import given, settings
from hypothesis import strategies as st
from test_training_toy import TRAIN, fingerprint

from genvision.build import build
from genvision.config.schema import EmaConfig
from genvision.config.trunks import BACKBONES, FAMILY_ROLES
from genvision.data import Batches, ImageSet
from genvision.spec import Draw, ImageSpec
from genvision.training.checkpoint import latest, load, save
from genvision.training.loop import train
from genvision.training.state import make_state

STEPS, BATCH = 9, 6
SPEC = ImageSpec(1, 4, 4, classes=3)
IMAGES = ImageSet("noise", "train", some_images(20, SPEC), torch.arange(20) % 3, ("a", "b", "c"))
CELLS = [(family, backbone) for family in FAMILY_ROLES for backbone in BACKBONES]


class Ending(NamedTuple):
    """What a run ends with, and {step: what happened in it}; `began` where each attempt went on."""

    bits: str
    trace: dict
    began: list


def attempts(cell, root, stops=(), micro=None, watched=False) -> Ending:
    """Train to the end, thrown away and built anew after each of the steps in `stops`."""
    family, backbone = cell
    trunks = tuple(BACKBONES[backbone][role] for role in FAMILY_ROLES[family])
    config = cell_config(family, trunks, trunk={"dropout": 0.2})
    own = {"steps": STEPS, "batch_size": BATCH, "micro_batch_size": micro, "gradient_checkpointing": False}
    config = dataclasses.replace(config, train=dataclasses.replace(TRAIN, compile=False, **own), ema=EmaConfig(0.9))
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    accelerator = Accelerator(cpu=True, mixed_precision="no")
    trace, began = {}, []
    for attempt, stop in enumerate((*sorted(stops), None)):
        state = make_state(randomise(build(config, SPEC), seed=attempt), config, accelerator)  # built otherwise
        batches = Batches(IMAGES, batch_size=BATCH, seed=5, flip=True, crop_padding=1, device="cpu")
        if attempt:
            load(state, latest(root), "hash")
        began.append(state.step)
        for report in train(state, batches, config, accelerator):
            ids = batches.indices(Draw(5, report.step - 1, torch.arange(BATCH))).tolist()
            assert report.step not in trace
            trace[report.step] = (ids, report.terms, report.grad_norm, report.lr, report.images_seen, state.ema.updates)
            if watched:
                torch.manual_seed(0)
                state.ema.module.sample(2, chunk_size=2, **({"steps": 2} if family == "diffusion" else {}))
                state.family.eval()
            if state.step == stop:
                save(state, root, "hash", keep=1)
                break
    return Ending(fingerprint(state), trace, began)


@cache
def straight(cell, micro):
    return attempts(cell, None, micro=micro)


def check(cell, stops, micro, watched):
    with tempfile.TemporaryDirectory() as root:
        ending = attempts(cell, Path(root), stops, micro, watched)
        assert not list(Path(root).glob(".tmp*"))
    assert ending.began == [0, *sorted(stops)]
    assert ending.trace == straight(cell, micro).trace and list(ending.trace) == list(range(1, STEPS + 1))
    assert ending.bits == straight(cell, micro).bits


ANYWHERE = {
    "stops": st.sets(st.integers(1, STEPS), min_size=1, max_size=3),
    "micro": st.sampled_from([None, 4]),
    "watched": st.booleans(),
}


@pytest.mark.parametrize("cell", CELLS, ids="-".join)
@given(**ANYWHERE)
@settings(max_examples=2)
def test_resumed_anywhere(cell, stops, micro, watched):
    check(cell, stops, micro, watched)


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS, ids="-".join)
@given(**ANYWHERE)
@settings(max_examples=30)
@pytest.mark.timeout(1200)
def test_resumed_anywhere_at_length(cell, stops, micro, watched):
    check(cell, stops, micro, watched)


def test_at_the_borders_of_epochs():
    """The step before the epoch ends, the one it ends in, and the next."""
    for stops in ((3,), (4,), (5,), (3, 4, 5)):
        check(("diffusion", "vit"), set(stops), 4, True)
    seen = [k for step in range(1, STEPS + 1) for k in straight(("diffusion", "vit"), 4).trace[step][0]]
    assert sorted(seen[:20]) == sorted(seen[20:40]) == list(range(20)) and seen[:20] != seen[20:40]
