"""Tiny runs through the command line, in this process, and the fixtures that the end-to-end tests share."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from accelerate.state import AcceleratorState, GradientState
from PIL import Image

from genvision import cli
from genvision.run_folder import RunFolder

FAMILIES = ("vae", "autoregressive", "diffusion")
BACKBONES = ("convnet", "vit", "mixer")
CELLS = [(family, backbone) for family in FAMILIES for backbone in BACKBONES]
TINY = (
    *("size=tiny", "data.height=8", "data.width=8", "data.channels=1", "data.validation_fraction=0.1"),
    *("train.steps=6", "train.batch_size=8", "train.warmup_steps=2", "train.precision=no", "train.save_every_steps=3"),
    *("log.every_steps=2", "log.grid_every_steps=0", "log.grid_images=4", "sample.chunk_size=4", "sample.steps=3"),
    "sample.num_images=6",
)


class Said(NamedTuple):
    """What a command returned and printed."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The message, once stderr is seen to be one line of it."""
        assert self.err.startswith("genvision: error: ") and self.err.count("\n") == 1, self.err
        return self.err.removeprefix("genvision: error: ").rstrip("\n")

    @property
    def last_error(self) -> str:
        """The same below a progress bar."""
        assert "Traceback" not in self.err, self.err
        return self.err.rstrip("\n").rpartition("genvision: error: ")[2]


def genvision(*words: object) -> Said:
    """`genvision WORDS...` in this process; the launch state starts afresh, as in a new one."""
    reset_launch()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as exit:  # argparse's usage errors and --help
            code = int(exit.code or 0)
    return Said(code, out.getvalue(), err.getvalue())


def reset_launch() -> None:
    AcceleratorState._reset_state(True)
    GradientState._reset_state()


def train(pictures: Path, runs: Path, *words: str) -> Said:
    """`genvision train` of a tiny run below `runs`; later words win."""
    return genvision("train", f"data=folder:{pictures}", *TINY, f"run.dir={runs}", *words)


def one_run(runs: Path) -> RunFolder:
    """The only run below a folder."""
    (path,) = (path for path in runs.iterdir() if path.name != "leaderboard")
    return RunFolder(path)


def write_pictures(root: Path, n: int = 60, size: int = 8, seed: int = 0) -> Path:
    """n gray PNGs of noise, half of them below a/, half below b/."""
    generator = np.random.default_rng(seed)
    for k in range(n):
        folder = root / "ab"[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (size, size), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{k:02d}.png")
    return root


def tree(root: Path) -> dict[str, str]:
    """Every file below a folder and the hash of its bytes."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures") / "data")


@pytest.fixture(scope="session")
def trained(tmp_path_factory, pictures):
    """(family, backbone) -> the folder of a finished tiny run, trained when first asked for; never to be changed."""
    made: dict[tuple[str, str], RunFolder] = {}

    def run(family: str, backbone: str = "vit") -> RunFolder:
        if (family, backbone) not in made:
            runs = tmp_path_factory.mktemp("trained")
            said = train(pictures, runs, f"family={family}", f"backbone={backbone}", "run.name=shared")
            assert said.code == 0, said.err
            made[family, backbone] = RunFolder(runs / "shared")
        return made[family, backbone]

    return run


@pytest.fixture(autouse=True)
def fresh_launch():
    """No test sees the process group, device or precision of another; nothing is left behind."""
    reset_launch()
    yield
    reset_launch()
    logging.getLogger("genvision").setLevel(logging.NOTSET)
