"""Two processes that share the weights, beside two that hold all of them; forked as in worlds.py.

python sharded.py cells FOLDER NAME...     tiny cells trained in both ways: prints what each process held and reached
python sharded.py run FOLDER PICTURES      `genvision train train.shard=true` by two processes, gone on with by one
python sharded.py bad FOLDER               a step that is passed over
python sharded.py full FOLDER              a disk that is full after the first file of a checkpoint
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import shutil
import sys
from pathlib import Path

import torch
from cells import cell_config
from runs import TINY
from test_training_toy import ToyBatches, ToyFamily, toy_config
from torch import Tensor
from worlds import ALL, world

from genvision import cli
from genvision.build import build
from genvision.config.schema import EmaConfig
from genvision.errors import StorageError
from genvision.probability.randomness import Stream, uniform
from genvision.spec import Batch, Draw, ImageSpec
from genvision.training import checkpoint
from genvision.training.launch import make_accelerator
from genvision.training.loop import train
from genvision.training.state import TrainState, make_state
from genvision.training.tensors import module_tensors, optimizer_tensors

SPEC = ImageSpec(1, 8, 8, classes=3)
OPTIONS = {"steps": 4, "micro_batch_size": 3, "compile": False, "gradient_checkpointing": False}


class Noise(ToyBatches):
    """Images of SPEC's size, a function of (seed, step, slot) alone."""

    def at(self, draw: Draw) -> Batch:
        u = uniform(draw, Stream.AUGMENT, 65)
        return Batch((256 * u[:, 1:]).to(torch.uint8).view(-1, *SPEC.shape), (3 * u[:, 0]).long())


def flat(tensors: dict[str, Tensor]) -> list[float]:
    return torch.cat([tensors[name].double().flatten() for name in sorted(tensors)]).tolist()


def held(state: TrainState) -> int:
    """Numbers of weights, gradients and moments in this process."""
    moments = [state.optimizer.state[p][name] for p in state.family.parameters() for name in ("exp_avg", "exp_avg_sq")]
    tensors = [*state.family.parameters(), *(p.grad for p in state.family.parameters()), *moments]
    return sum(getattr(tensor, "_local_tensor", tensor).numel() for tensor in tensors)


def cell(name: str, root: Path, *, shard: bool, start: Path | None = None, until: int = 4) -> dict:
    """A cell trained up to `until` steps, from a checkpoint where one is named; leaves one below `root`."""
    config = cell_config(name.partition("-")[0], ALL[name])
    own = toy_config(**OPTIONS, shard=shard)
    config = dataclasses.replace(config, train=own.train, ema=EmaConfig(0.9), run=own.run)
    accelerator = make_accelerator(config)
    family = build(config, SPEC)
    with torch.no_grad():  # the first process's weights are what all of them begin with
        [parameter.add_(accelerator.process_index) for parameter in family.parameters()]
    state = make_state(family, config, accelerator)
    if start:
        checkpoint.load(state, start, "hash")
    numbers = []
    for report in train(state, Noise(), config, accelerator):
        numbers.append([report.loss, report.grad_norm])
        if report.step == until:
            break
    checkpoint.save(state, root, "hash", keep=1)
    found = {"weights": module_tensors(state.family), "moments": optimizer_tensors(state.optimizer, state.family)}
    found["average"] = module_tensors(state.ema.module)
    return {"held": held(state), "numbers": numbers} | {key: flat(value) for key, value in found.items()}


def ways(name: str, root: Path) -> dict:
    """What a cell reached unshared, shared, shared in two goes, and alone from where the second of these began."""

    def of(way: str, size: int, **options) -> list:
        return world(size, lambda: cell(name, root / way, **options))

    found = {"plain": of("plain", 2, shard=False), "shared": of("shared", 2, shard=True)}
    of("half", 2, shard=True, until=2)
    half = checkpoint.latest(root / "half")
    return found | {way: of(way, n, shard=True, start=half) for way, n in (("again", 2), ("alone", 1))}


def cells(root: Path, *names: str) -> list:
    return [ways(name, root / name) for name in names]


def run(root: Path, pictures: str) -> list:
    """Exit codes and what was said: by two processes, then by one from the middle, as if they had been killed."""

    def command(*words: str) -> list:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main(["train", f"data=folder:{pictures}", *TINY, f"run.dir={root}", "run.name=run", *words])
        return [code, err.getvalue()]

    words = ("family=diffusion", "backbone=vit", "train.shard=true")
    two = world(2, lambda: command(*words, "train.keep_checkpoints=2"))
    shutil.rmtree(root / "run" / "checkpoints" / "step-000000006")
    (root / "run" / "status.json").unlink()
    return [two, world(1, lambda: command(*words, "--resume", "auto"))]


def bad(root: Path) -> list:
    """What is reached in bf16 with a step whose loss is not a number on one process, unshared and shared."""

    def reached(shard: bool) -> dict:
        config = toy_config(steps=4, max_bad_steps=1, precision="bf16", compile=False, shard=shard)
        accelerator = make_accelerator(config)
        torch.manual_seed(0)
        state = make_state(ToyFamily(dropout=0.0, poison=2), config, accelerator)
        for _ in train(state, ToyBatches(), config, accelerator):
            pass
        found = module_tensors(state.family)
        found.pop("mask")  # holds an infinity
        return {"weights": flat(found), "skipped": state.skipped_steps}

    return [world(2, lambda: reached(False)), world(2, lambda: reached(True))]


def full(root: Path) -> list:
    """What each process was told, and what is left."""

    def told() -> str:
        config = toy_config(steps=1, shard=True, compile=False)
        accelerator = make_accelerator(config)
        state = make_state(ToyFamily(dropout=0.0), config, accelerator)
        for _ in train(state, ToyBatches(), config, accelerator):
            pass
        commit = checkpoint.commit

        def fails(target: Path, files) -> None:
            next(files)
            raise StorageError("no room")

        checkpoint.commit = fails
        try:
            checkpoint.save(state, root / "checkpoints", "hash", keep=1)
        except StorageError as fault:
            checkpoint.commit = commit
            checkpoint.save(state, root / "checkpoints", "hash", keep=1)  # the processes still work together
            return str(fault)
        return ""

    return [world(2, told), sorted(path.name for path in (root / "checkpoints").iterdir())]


if __name__ == "__main__":
    torch.set_num_threads(1)
    kind, place, *rest = sys.argv[1:]
    told = {"cells": cells, "run": run, "bad": bad, "full": full}[kind](Path(place), *rest)
    print(json.dumps(told))
