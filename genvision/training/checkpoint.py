"""Checkpoints of a run: `checkpoints/step-000001000/`, safetensors and JSON, resumed bit for bit.

A training state is weights, averaged weights, moments, counters and the fp16 scale. There are no random states in it:
order, noise and dropout are functions of (seed, step), so any number of processes may go on from one.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import safetensors.torch
import torch
from accelerate.state import PartialState
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError
from torch import Tensor

from genvision.errors import ConfigError, DataError, RunError, StorageError
from genvision.families.base import Family
from genvision.machine import installed_version
from genvision.training.folders import commit, discard, verify
from genvision.training.state import TrainState
from genvision.training.tensors import (
    check_module,
    check_optimizer,
    hand_over_shares,
    module_tensors,
    optimizer_tensors,
    restore_module,
    restore_optimizer,
)

FILES = ("model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json")
_NAME = re.compile(r"step-(\d{9,})")
_FIELDS = {  # of state.json: without any one of them a run would silently go on from something else
    "step": int,
    "images_seen": int,
    "total_steps": int | None,
    "ema_updates": int,
    "skipped_steps": int,
    "skipped_in_a_row": int,
    "grad_scaler": dict | None,
    "config_hash": str,
}
_ANYBODYS: Mapping[str, str] = MappingProxyType({})
_log = logging.getLogger(__name__)


def save(state: TrainState, root: Path, config_hash: str, keep: int) -> Path:
    """Writes `root/step-%09d`, then removes all but the `keep` (at least 1) newest up to this step.

    A valid checkpoint of this step and configuration is left as it is: it holds the same state. Those of later steps,
    left by another attempt, those of another configuration and those whose state.json cannot be read are neither
    counted nor removed. The main process writes, the others wait, and all of them raise StorageError together when it
    cannot.
    """
    target = root / f"step-{state.step:09d}"
    [there] = broadcast_object_list([_holds(target, config_hash)])
    outcome: list[str | None] = [None]
    if PartialState().is_main_process:
        contents = iter(()) if there else _contents(state, config_hash)
        try:
            if not there:
                commit(target, contents)
            ours = [older for _, older in _steps(root, up_to=state.step) if _is_of(older, {"config_hash": config_hash})]
            for older in ours[max(1, keep) :]:
                discard(older)
        except StorageError as fault:
            outcome = [str(fault)]
            for _ in contents:  # the others hand over all of their shares
                pass
    elif not there:
        hand_over_shares(state.family, state.optimizer)
    broadcast_object_list(outcome)
    if outcome[0] is not None:
        raise StorageError(outcome[0])
    return target


def load(state: TrainState, path: Path, config_hash: str) -> None:
    """Puts the checkpoint at `path` into `state`, or leaves it untouched and raises.

    RunError  damaged, or made by another model        ConfigError  made under another configuration, or past its end
    DataError  trained on other images
    `state.total_steps` is taken over only where this configuration leaves it open (a budget in minutes).
    """
    verify(path, FILES)
    about = _about(path)
    if about["config_hash"] != config_hash:
        raise ConfigError(
            f"{path}: made under another configuration (hash {about['config_hash']}, this run's is {config_hash}); "
            "resume with the config.yaml beside it, or start a run of another run.name"
        )
    if state.total_steps is not None and about["step"] > state.total_steps:
        raise ConfigError(
            f"{path}: {about['step']} steps are made, more than the {state.total_steps} that were asked for"
        )
    if about.get("dataset", state.dataset) != state.dataset:  # which the first checkpoints did not hold
        raise DataError(
            f"{path}: the training images are no longer those that it was trained on; restore them, or start a run of "
            "another run.name"
        )
    model, ema, moments = (_read(path / name) for name in FILES[:3])
    check_module(state.family, model, str(path / FILES[0]))
    check_module(state.ema.module, ema, str(path / FILES[1]))
    check_optimizer(state.family, moments, str(path / FILES[2]))
    restore_module(state.family, model)
    restore_module(state.ema.module, ema)
    restore_optimizer(state.optimizer, state.family, moments)
    if state.optimizer.scaler is not None and about["grad_scaler"]:
        state.optimizer.scaler.load_state_dict(about["grad_scaler"])
    state.step, state.images_seen, state.ema.updates = about["step"], about["images_seen"], about["ema_updates"]
    state.skipped_steps, state.skipped_in_a_row = about["skipped_steps"], about["skipped_in_a_row"]
    state.seconds = about.get("seconds", 0.0)  # which the first checkpoints did not hold
    if state.total_steps is None:
        state.total_steps = about["total_steps"]
    here = {"world_size": PartialState().num_processes, "threads": torch.get_num_threads()}
    other = [f"{name} {now} after {about[name]}" for name, now in here.items() if about.get(name, now) != now]
    if other and PartialState().is_main_process:
        _log.warning("%s: %s: sums in another order, so equal within rounding, not to the bit", path, ", ".join(other))


def is_checkpoint(path: Path) -> bool:
    """Whether a path names one checkpoint of a run."""
    return bool(_NAME.fullmatch(path.name)) and path.is_dir()


def load_averaged(family: Family, path: Path) -> None:
    """Puts the averaged weights of the checkpoint at `path` into `family`, which they must fit. Raises RunError."""
    verify(path, FILES)
    ema = _read(path / FILES[1])
    check_module(family, ema, str(path / FILES[1]))
    restore_module(family, ema)


def latest(root: Path, owner: Mapping[str, str] = _ANYBODYS) -> Path | None:
    """The newest valid checkpoint of a run below `root`; None where there is none at all.

    owner  the entries of state.json, "config_hash" and "dataset", by which the run knows its own
    One that is damaged or another run's is skipped with one line of warning. Where all valid ones are another run's it
    is the newest of them, which `load` refuses by name. Raises RunError where all of them are damaged.
    """
    found, foreign = _steps(root), []
    for _, folder in found:
        try:
            verify(folder, FILES)
            _about(folder)
        except RunError as fault:
            _log.warning("%s: skipped", fault)
            continue
        if _is_of(folder, owner):
            for other in foreign:
                _log.warning("%s: of another configuration or trained on other images: skipped", other)
            return folder
        foreign.append(folder)
    if found and not foreign:
        raise RunError(f"{root}: none of its {len(found)} checkpoints can be read; start again under another run.name")
    return foreign[0] if foreign else None


def resolve(choice: str, root: Path, owner: Mapping[str, str] = _ANYBODYS) -> Path | None:
    """What `--resume` means: "auto" is the newest valid checkpoint of the run (None: start afresh); else a path to a
    checkpoint, to a `checkpoints` folder or to a run folder. Raises RunError where the path holds none."""
    if choice == "auto":
        return latest(root, owner)
    path = Path(choice)
    if _NAME.fullmatch(path.name):
        verify(path, FILES)
        return path
    found = latest(path / "checkpoints" if (path / "checkpoints").is_dir() else path, owner)
    if found is None:
        raise RunError(f"{path}: no checkpoint here; name a run folder or one of its checkpoints/step-*, or use auto")
    return found


def _read(file: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(file)
    except (SafetensorError, OSError) as fault:
        raise RunError(f"{file.parent}: damaged ({fault})") from fault


def _about(path: Path) -> dict[str, Any]:
    """state.json of a checkpoint, every entry there and of its type. Raises RunError."""
    try:
        about = json.loads((path / FILES[3]).read_bytes())
    except (OSError, ValueError, RecursionError) as fault:
        raise RunError(f"{path}: damaged ({FILES[3]} cannot be read)") from fault
    if not isinstance(about, dict):
        raise RunError(f"{path}: damaged ({FILES[3]} cannot be read)")
    for name, kind in _FIELDS.items():
        if name not in about or not isinstance(about[name], kind):
            raise RunError(f"{path}: damaged ({FILES[3]} lacks {name})")
    if (named := _NAME.fullmatch(path.name)) and int(named[1]) != about["step"]:
        raise RunError(f"{path}: damaged ({FILES[3]} is of step {about['step']})")
    return about


def _is_of(path: Path, owner: Mapping[str, str]) -> bool:
    """Whether a checkpoint says of itself that it is this run's; one that cannot be read says nothing."""
    try:
        about = _about(path)
    except RunError:
        return False
    return all(about.get(name, value) == value for name, value in owner.items())


def _holds(path: Path, config_hash: str) -> bool:
    try:
        verify(path, FILES)
    except RunError:
        return False
    return _is_of(path, {"config_hash": config_hash})


def _steps(root: Path, up_to: int | None = None) -> list[tuple[int, Path]]:
    """(step, folder) of what is committed below `root`, newest first."""
    folders = root.iterdir() if root.is_dir() else ()
    named = [(int(match[1]), folder) for folder in folders if (match := _NAME.fullmatch(folder.name))]
    return sorted((pair for pair in named if up_to is None or pair[0] <= up_to), reverse=True)


def _contents(state: TrainState, config_hash: str) -> Iterator[tuple[str, bytes]]:
    """The files one after the other, so that only one of them is held in memory as bytes."""
    yield FILES[0], safetensors.torch.save(module_tensors(state.family))
    yield FILES[1], safetensors.torch.save(module_tensors(state.ema.module))
    yield FILES[2], safetensors.torch.save(optimizer_tensors(state.optimizer, state.family))
    scaler = state.optimizer.scaler
    about = {
        "step": state.step,
        "images_seen": state.images_seen,
        "total_steps": state.total_steps,
        "ema_updates": state.ema.updates,
        "skipped_steps": state.skipped_steps,
        "skipped_in_a_row": state.skipped_in_a_row,
        "seconds": state.seconds,
        "grad_scaler": scaler.state_dict() if scaler is not None else None,
        "config_hash": config_hash,
        "dataset": state.dataset,
        "world_size": PartialState().num_processes,
        "threads": torch.get_num_threads(),
        "versions": {name: installed_version(name) for name in ("genvision", "torch")},
    }
    yield FILES[3], json.dumps(about, indent=1, allow_nan=False).encode()
