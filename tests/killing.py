"""Kill and go on: one process that forks a run for every point of writing, so that a kill costs a tenth of a second.

python killing.py FOLDER WRITER   the toy family, exhaustively: prints {"points": [..], "straight": .., "ends": [..]}
python killing.py FOLDER aimed KILLS   the toy family, at drawn moments: prints {"writing": .., "ends": [..]}
python killing.py FOLDER kill|full PICTURES EVERY WORDS..   `genvision train`, at every EVERY-th point

WRITER is `genvision`, or one of the two writers that people write first, which must fail where it does not.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from accelerate import Accelerator
from runs import TINY, tree
from test_training_toy import ToyBatches, fingerprint, toy_config, toy_state

from genvision import cli, experiment, faults  # noqa: F401  (what a run imports late, before any fork)
from genvision.storage import alone
from genvision.training import checkpoint
from genvision.training.loop import train
from genvision.training.tensors import module_tensors, optimizer_tensors, restore_module, restore_optimizer

HASH, EVERY, STEPS = "c0ffee", 3, 6


def forked(work: Callable[[], object], fault: str | None = None) -> tuple[int, object]:
    """(exit code or minus the signal, what `work` returned) of a child under a fault."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        if fault:
            os.environ["GENVISION_FAULT"] = fault
        code = 1
        with contextlib.suppress(BaseException), os.fdopen(writer, "w") as told:
            json.dump(work(), told)
            code = 0
        os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as told:
        text = told.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), json.loads(text) if text else None


class Genvision:
    """What is tested."""

    save = staticmethod(lambda state, root: checkpoint.save(state, root, HASH, keep=1))

    @staticmethod
    def load(state, root) -> None:
        if found := checkpoint.latest(root):
            checkpoint.load(state, found, HASH)


class InPlace:
    """One file of everything, written over the old one."""

    @staticmethod
    def save(state, root) -> None:
        tensors = {f"model.{k}": v for k, v in module_tensors(state.family).items()}
        tensors |= {f"ema.{k}": v for k, v in module_tensors(state.ema.module).items()}
        tensors |= {f"moments.{k}": v for k, v in optimizer_tensors(state.optimizer, state.family).items()}
        counters = torch.tensor([state.step, state.images_seen, state.ema.updates])
        content = safetensors.torch.save({**tensors, "counters": counters})
        root.mkdir(parents=True, exist_ok=True)
        with (root / "last.safetensors").open("wb") as file:
            faults.point("file opened")
            file.write(content[: len(content) // 2])
            file.flush()
            faults.point("half a file written")
            file.write(content[len(content) // 2 :])
        faults.point("file written")

    @staticmethod
    def load(state, root) -> None:
        if not (root / "last.safetensors").exists():
            return
        tensors = safetensors.torch.load_file(root / "last.safetensors")
        parts = {
            part: {k.removeprefix(f"{part}."): v for k, v in tensors.items() if k.startswith(f"{part}.")}
            for part in ("model", "ema", "moments")
        }
        restore_module(state.family, parts["model"])
        restore_module(state.ema.module, parts["ema"])
        restore_optimizer(state.optimizer, state.family, parts["moments"])
        state.step, state.images_seen, state.ema.updates = tensors["counters"].tolist()


class AcceleratesOwn:
    """`accelerator.save_state` into one folder, the averaged weights registered."""

    @staticmethod
    def _registered(state) -> Accelerator:
        accelerator = Accelerator(cpu=True)
        accelerator._models, accelerator._optimizers = [state.model], [state.optimizer]
        accelerator._custom_objects = [state.ema.module]
        return accelerator

    @staticmethod
    def save(state, root) -> None:
        import accelerate.checkpointing as theirs

        real = theirs.save

        def save(obj, f, **options):
            real(obj, f, **options)
            content = Path(f).read_bytes()
            Path(f).write_bytes(content[: len(content) // 2])
            faults.point("half a file written")
            Path(f).write_bytes(content)
            faults.point("file written")

        theirs.save = save
        AcceleratesOwn._registered(state).save_state(str(root / "last"))
        (root / "last" / "counters.json").write_text(json.dumps([state.step, state.images_seen, state.ema.updates]))

    @staticmethod
    def load(state, root) -> None:
        if (root / "last").exists():
            AcceleratesOwn._registered(state).load_state(str(root / "last"))
            counters = json.loads((root / "last" / "counters.json").read_text())
            state.step, state.images_seen, state.ema.updates = counters


WRITERS = {"genvision": Genvision, "in place": InPlace, "accelerate": AcceleratesOwn}


def toy_run(root: Path, writer) -> dict:
    """Train to the end, from whatever checkpoint lies there: what the end is, and where it went on."""
    config = toy_config(steps=STEPS)
    accelerator = Accelerator(cpu=True, mixed_precision="no")
    state = toy_state(config, accelerator)
    with alone(root):
        writer.load(state, root)
        began = state.step
        for _ in train(state, ToyBatches(), config, accelerator):
            if state.step % EVERY == 0:
                writer.save(state, root)
    return {"fingerprint": fingerprint(state), "began": began, "points": faults.reached}


def toy(root: Path, name: str) -> dict:
    """Every point of writing of the whole run."""
    writer = WRITERS[name]
    _, straight = forked(lambda: toy_run(root / "straight", writer), "count")
    ends = []
    for k in range(1, len(straight["points"]) + 1):
        folder = root / f"killed-{k}"
        code, _ = forked(lambda: toy_run(folder, writer), f"kill:{k}")  # noqa: B023
        again, end = forked(lambda: toy_run(folder, writer))  # noqa: B023
        left = sorted(path.name for path in folder.rglob("*") if path.name.startswith(".tmp"))
        ends.append({"killed": code == -signal.SIGKILL, "again": again, "left": left, **(end or {})})
        shutil.rmtree(folder)
    return {"points": straight["points"], "straight": straight["fingerprint"], "ends": ends}


def aimed(root: Path, kills: int) -> dict:
    """As often a run killed at a drawn moment of up to 4 ms after it began to write a checkpoint, and given again."""
    _, straight = forked(lambda: toy_run(root / "straight", Genvision))
    moments, writing, ends = random.Random(0), 0, []
    for k in range(kills):
        folder = root / f"aimed-{k}"
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                toy_run(folder, Genvision)
            os._exit(0)
        while not list(folder.glob(".tmp-*")) and not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            pass
        time.sleep(moments.uniform(0, 0.004))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        writing += bool(list(folder.glob(".tmp-*")))
        again, end = forked(lambda: toy_run(folder, Genvision))  # noqa: B023
        left = [path.name for path in folder.rglob(".tmp*")]
        ends.append([again, end and end["fingerprint"] == straight["fingerprint"], left])
    return {"writing": writing, "ends": ends}


def command(root: Path, fault: str, pictures: str, every: int, words: list[str]) -> dict:
    """`genvision train --resume auto` with a fault at every `every`-th point of what it writes, and given again."""

    def run(name: str) -> dict:
        said = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            arguments = [f"data=folder:{pictures}", *TINY, *words, f"run.dir={root / name}", "run.name=run"]
            code = cli.main(["train", *arguments, "--resume", "auto"])
        folder = root / name / "run"
        file = folder / "status.json"
        status = json.loads(file.read_text())["state"] if file.exists() else None
        left = sorted(path.name for path in (root / name).rglob("*") if ".tmp" in path.name)
        end = tree(folder / "model") | tree(folder / "samples")
        error = said.getvalue().rpartition("genvision: error: ")[2] if code else ""
        return {"code": code, "error": error, "status": status, "left": left, "end": end, "points": faults.reached}

    _, straight = forked(lambda: run("straight"), "count")
    ends = []
    for k in range(1, len(straight["points"]) + 1, every):
        code, failed = forked(lambda: run(f"killed-{k}"), f"{fault}:{k}")  # noqa: B023
        kept = tree(root / f"killed-{k}" / "run" / "checkpoints")
        _, end = forked(lambda: run(f"killed-{k}"))  # noqa: B023
        ends.append({"point": k, "killed": code == -signal.SIGKILL, "failed": failed, "kept": kept, **(end or {})})
        shutil.rmtree(root / f"killed-{k}")
    return {"points": straight.pop("points"), "straight": straight, "ends": ends}


if __name__ == "__main__":
    torch.set_num_threads(1)
    place, kind, *rest = sys.argv[1:]
    if kind == "aimed":
        told = aimed(Path(place), int(rest[0]))
    elif kind in WRITERS:
        told = toy(Path(place), kind)
    else:
        told = command(Path(place), kind, rest[0], int(rest[1]), rest[2:])
    print(json.dumps(told))
