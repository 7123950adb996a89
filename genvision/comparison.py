"""A grid of runs under one budget, one process each, and what comes of it."""

from __future__ import annotations

import codecs
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Lock

import torch

from genvision.config import load_config
from genvision.config.grid import Cell, cells, read_grid
from genvision.errors import GenvisionError
from genvision.evaluation.leaderboard import build, collect
from genvision.evaluation.record import FILE_NAME, build_record, write_record
from genvision.evaluation.tuning import tuning_table
from genvision.run_folder import resumed
from genvision.storage import write_text


def compare(grid: str, out: Path, more: Sequence[str] = (), at_once: int = 1) -> str:
    """Train what is missing of a grid below `out`, rebuild the leaderboard there, and say what each cell came to.

    A cell runs in a process of its own, on the next free accelerator where there are several; whatever ends one, the
    others go on, and its reason stays on the leaderboard. The same command goes on with an interrupted comparison.

    at_once  cells that share a device: small networks leave much of an accelerator idle, but seconds then count less
    Raises ConfigError before anything is trained if one of the cells cannot be, SignalError when a signal has ended it:
    the cells that were running have written a checkpoint and ended.
    """
    planned = cells(read_grid(grid), out, more)
    free: SimpleQueue[int] = SimpleQueue()
    for device in range(max(1, torch.accelerator.device_count())):
        for _ in range(at_once):
            free.put(device)
    children = _Children()
    with ThreadPoolExecutor(free.qsize()) as pool, children:
        reasons = list(pool.map(lambda cell: _run(cell, free, children), planned))
    for cell, reason in zip(planned, reasons, strict=True):
        if reason and not (out / cell.name / FILE_NAME).exists():
            _record_failure(cell, out, reason)
    page = build(out, out / "leaderboard")
    table = tuning_table(collect(out))
    write_text(out / "leaderboard" / "tuning.md", table)
    return f"{table}{page}"


class _Children:
    """Processes that are told to end when what is done in here is ended, as by a signal; none is started after that."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []
        self._ended: BaseException | None = None
        self._lock = Lock()

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """A new process, its stderr a pipe."""
        with self._lock:
            if self._ended:
                raise self._ended
            self._started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE))
            return self._started[-1]

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        with self._lock:
            self._ended = error
        for child in self._started if error else ():
            child.terminate()  # nothing, where it has ended


def _run(cell: Cell, free: SimpleQueue[int], children: _Children) -> str:
    """Train one cell on a free device. Returns why its process failed, or nothing."""
    if _is_finished(cell):
        return ""
    device = free.get()
    visible = {"CUDA_VISIBLE_DEVICES": str(device)} if torch.accelerator.device_count() > 1 else {}
    command = [sys.executable, "-m", "genvision.cli", "train", *cell.words, "--resume", "auto"]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    try:
        with children.start(command, os.environ | visible) as child:
            assert child.stderr, "it is a pipe"
            last = ""
            while chunk := os.read(child.stderr.fileno(), 4096):  # passed on as it comes: a progress bar ends no line
                text = decoder.decode(chunk)
                sys.stderr.write(text)
                sys.stderr.flush()
                last = (last + text)[-2000:]
        if child.returncode < 0:
            return f"killed by {signal.Signals(-child.returncode).name}"
        told = last.strip().splitlines()
        return (told[-1] if told else f"exit code {child.returncode}") if child.returncode else ""
    finally:
        free.put(device)


def _is_finished(cell: Cell) -> bool:
    """Whether the cell has been trained as it is configured now; where otherwise, its process says so."""
    with suppress(GenvisionError):
        folder, _ = resumed(load_config(None, cell.words), "auto")
        return folder is not None and folder.state() == "finished"
    return False


def _record_failure(cell: Cell, out: Path, reason: str) -> None:
    """A run that ended before it could say so itself keeps its place among the others."""
    config = load_config(None, cell.words)
    record = build_record(
        run=cell.name,
        status="failed",
        reason=reason,
        family=config.family.name,
        backbone=config.backbone,
        data=config.data.name,
        size=config.size,
        seed=config.train.seed,
        learning_rate=config.train.learning_rate,
        data_fraction=config.data.fraction,
    )
    write_record(record, out / cell.name / FILE_NAME)
