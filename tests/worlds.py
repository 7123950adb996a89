"""One, two and three processes, forked from this one once everything is imported, so that a world costs a second.

python worlds.py together FOLDER   N images of each family by 1, 2 and 3: FOLDER/drawn/WORLD/FAMILY-N-CHUNK/*.png; and
                                   the toy family by one process, two, one, and gradients: prints what each world saw
python worlds.py all FOLDER        N images of all nine cells, in the same way
python worlds.py kill FOLDER RUN   `genvision sample` killed ten times, then given again: FOLDER/killed, FOLDER/straight
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from accelerate.utils import gather_object
from cells import make_cell, randomise
from killing import forked
from runs import CELLS
from test_training_toy import ToyBatches, ToyFamily, fingerprint, toy_config

from genvision import cli
from genvision.config.trunks import BACKBONES, FAMILY_ROLES
from genvision.sampling import draw_images, processes, write_images
from genvision.spec import ImageSpec
from genvision.training.checkpoint import latest, load, save
from genvision.training.launch import make_accelerator
from genvision.training.loop import accumulate_gradients, local_windows, train
from genvision.training.state import make_state

SPEC = ImageSpec(1, 4, 6, classes=3)
FEW = {"vae": ("vit", "conv"), "autoregressive": ("pixelcnn",), "diffusion": ("unet",)}
ASKED = [(1, 8), (7, 8), (64, 8), (64, 32)]  # images, chunk
ALL = {
    f"{family}-{backbone}": tuple(BACKBONES[backbone][role] for role in FAMILY_ROLES[family])
    for family, backbone in CELLS
}
ASKED_OF_ALL = [(n, chunk) for n in (1, 7, 64, 1000) for chunk in (8, 32)]


def world(size: int, work: Callable[[], object]) -> list:
    """What `work` returned in each of so many processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": "1"}
    ends = []
    for rank in range(size):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.environ.update(ACCELERATE_USE_CPU="true", RANK=str(rank), LOCAL_RANK=str(rank), **address)
            told = work()
            torch.distributed.is_initialized() and torch.distributed.destroy_process_group()
            with os.fdopen(writer, "w") as pipe:
                json.dump(told, pipe)
            os._exit(0)
        os.close(writer)
        ends.append((child, reader))
    told = [json.loads(os.fdopen(reader).read()) for _, reader in ends]
    assert all(os.waitpid(child, 0)[1] == 0 for child, _ in ends)
    return told


def draw(root: Path, cells: dict[str, tuple[str, ...]] = FEW, asked: list[tuple[int, int]] = ASKED) -> None:
    def work() -> None:
        state = processes()
        for name, trunks in cells.items():
            family = name.partition("-")[0]
            cell = randomise(make_cell(family, trunks, SPEC))
            own = {"steps": 2} if family == "diffusion" else {}
            for n, chunk in asked:
                images = draw_images(cell, n, seed=3, chunk_size=chunk, **own)
                if state.is_main_process:
                    write_images(images, root / str(state.num_processes) / f"{name}-{n}-{chunk}")

    for size in (1, 2, 3):
        world(size, work)


def all_cells(root: Path) -> list[str]:
    draw(root, ALL, ASKED_OF_ALL)
    return list(ALL)


def kill(root: Path, run: str) -> list:
    """Killed after ever more images, in ever another process."""

    def sample(name: str) -> int:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return cli.main(["sample", run, "--num-images", "12", "--out", str(root / name)])

    ends = [forked(lambda: sample("killed"), f"kill:{k}")[0] for k in range(1, 11)]
    seen = sorted(path.name for path in root.iterdir())
    return [
        ends == [-signal.SIGKILL] * 10,
        len(seen),
        forked(lambda: sample("killed")),
        forked(lambda: sample("straight")),
    ]


def gradient(dtype: torch.dtype) -> list[float]:
    """Of the first step."""
    config = toy_config(micro_batch_size=3)
    accelerator = make_accelerator(config)
    torch.manual_seed(0)
    state = make_state(ToyFamily(dropout=0.0).to(dtype), config, accelerator)
    windows = local_windows(config.train, accelerator)
    accumulate_gradients(state, ToyBatches(), windows, config.train, accelerator)
    return torch.cat([p.grad.flatten() for p in state.family.parameters()]).tolist()


class Recorded(ToyBatches):
    """Notes which slots this process asked for."""

    def __init__(self) -> None:
        self.slots: dict[int, list[int]] = {}

    def at(self, draw):
        self.slots.setdefault(draw.step, []).extend(draw.slots.tolist())
        return super().at(draw)


def leg(root: Path | None, until: int | None, begin: bool = False) -> dict:
    """Go on from the checkpoint below `root` and leave one after `until` steps."""
    config = toy_config(micro_batch_size=3)
    accelerator = make_accelerator(config)
    torch.manual_seed(accelerator.process_index)
    state = make_state(ToyFamily(dropout=0.0), config, accelerator)
    if root and not begin:
        load(state, latest(root), "hash")
    batches, rates = Recorded(), {}
    for report in train(state, batches, config, accelerator):
        rates[report.step] = report.lr
        if report.step == until:
            save(state, root, "hash", keep=1)
            break
    slots = gather_object([batches.slots])
    weights = torch.cat([p.detach().flatten() for p in state.family.parameters()]).tolist()
    return {"rates": rates, "slots": slots, "weights": weights, "bits": fingerprint(state)}


def together(root: Path) -> dict:
    draw(root / "drawn")
    first, second = world(1, lambda: leg(root, 4, begin=True)), world(2, lambda: leg(root, 8))
    legs = [first, second, world(1, lambda: leg(root, None))]
    kinds = (torch.float32, torch.float64)
    gradients = {str(kind): [world(n, partial(gradient, kind)) for n in (1, 2)] for kind in kinds}
    return {"legs": legs, "straight": world(1, lambda: leg(None, None))[0], "gradients": gradients}


if __name__ == "__main__":
    torch.set_num_threads(1)
    kind, place, *rest = sys.argv[1:]
    told = {"together": together, "all": all_cells, "kill": kill}[kind](Path(place), *rest)
    print(json.dumps(told))
