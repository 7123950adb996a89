"""Two sides of a benchmark in turn in one process, as a table and as JSON rows.

What else the machine does then falls on both sides, and a row gives the ratio of their medians. A side is a function
that does one round of work and returns its rate, so that more is always better.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from genvision.machine import available_cores

Side = Callable[[], float]
Row = dict[str, Any]


def compare(name: str, ours: Side, peer: Side, *, rounds: int, unit: str) -> Row:
    """One row {"name", "ours", "peer", "ratio", "unit", "rounds"}; ours and peer are medians over the rounds.

    Each side runs once first, unmeasured: it chooses kernels and allocates.
    """
    ours(), peer()
    rates = [(ours(), peer()) for _ in range(rounds)]
    mine, other = (statistics.median(column) for column in zip(*rates, strict=True))
    row = {"name": name, "ours": mine, "peer": other, "ratio": mine / other, "unit": unit, "rounds": rounds}
    print(line(row), flush=True)
    return row


def line(row: Row) -> str:
    return f"{row['name']:<52}{row['ours']:>10.3g}{row['peer']:>10.3g}{row['ratio']:>8.2f}  {row['unit']}"


def arguments(description: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes: --rounds, --json and --only."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--only", default="", metavar="TEXT", help="only rows whose name holds this")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser


def heading(packages: Sequence[str]) -> None:
    """Say which machine and versions the rows below come from."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", *packages))
    processor = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    print(f"{processor}, {available_cores()} cores, {torch.get_num_threads()} threads, {versions}")
    print(f"{'name':<52}{'ours':>10}{'peer':>10}{'ratio':>8}")


def write_rows(rows: Sequence[Row], path: Path | None) -> None:
    if path:
        path.write_text(json.dumps(list(rows), indent=2) + "\n")
