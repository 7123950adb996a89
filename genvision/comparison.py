"""A grid of runs under one budget, one process each, and what comes of it."""

from __future__ import annotations

import codecs
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import torch

from genvision.config import load_config
from genvision.config.grid import Cell, cells, read_grid
from genvision.evaluation.leaderboard import build, collect
from genvision.evaluation.record import FILE_NAME, build_record, write_record
from genvision.evaluation.tuning import tuning_table
from genvision.storage import write_text


def compare(grid: str, out: Path, more: Sequence[str] = (), at_once: int = 1) -> str:
    """Train what is missing of a grid below `out`, rebuild the leaderboard there, and say what each cell came to.

    A cell runs in a process of its own, on the next free accelerator where there are several; whatever ends one, the
    others go on, and its reason stays on the leaderboard. The same command goes on with an interrupted comparison.

    at_once  cells that share a device: small networks leave much of an accelerator idle, but seconds then count less
    Raises ConfigError before anything is trained if one of the cells cannot be.
    """
    planned = cells(read_grid(grid), out, more)
    free: SimpleQueue[int] = SimpleQueue()
    for device in range(max(1, torch.accelerator.device_count())):
        for _ in range(at_once):
            free.put(device)
    with ThreadPoolExecutor(free.qsize()) as pool:
        reasons = list(pool.map(lambda cell: _run(cell, free), planned))
    for cell, reason in zip(planned, reasons, strict=True):
        if reason and not (out / cell.name / FILE_NAME).exists():
            _record_failure(cell, out, reason)
    page = build(out, out / "leaderboard")
    table = tuning_table(collect(out))
    write_text(out / "leaderboard" / "tuning.md", table)
    return f"{table}{page}"


def _run(cell: Cell, free: SimpleQueue[int]) -> str:
    """Train one cell on a free device. Returns why its process failed, or nothing."""
    device = free.get()
    visible = {"CUDA_VISIBLE_DEVICES": str(device)} if torch.accelerator.device_count() > 1 else {}
    command = [sys.executable, "-m", "genvision.cli", "train", *cell.words, "--resume", "auto"]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    try:
        with subprocess.Popen(command, env=os.environ | visible, stderr=subprocess.PIPE) as child:
            assert child.stderr, "it is a pipe"
            last = ""
            while chunk := os.read(child.stderr.fileno(), 4096):  # passed on as it comes: a progress bar ends no line
                text = decoder.decode(chunk)
                sys.stderr.write(text)
                sys.stderr.flush()
                last = (last + text)[-2000:]
        told = last.strip().splitlines()
        return (told[-1] if told else f"exit code {child.returncode}") if child.returncode else ""
    finally:
        free.put(device)


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
