"""The nine cells at one budget: train what is missing, gather the records and grids here, rebuild the leaderboard.

    python samples/leaderboard/make.py run.threads=1

This is `genvision compare nine` (configs/compare/nine.yaml says what is held still) and copies of what it made. Options
after the command, such as `train.images=512`, go to every cell: a quick check of the whole.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from genvision.comparison import compare
from genvision.config.grid import cells, read_grid
from genvision.evaluation.leaderboard import build

HERE = Path(__file__).parent
RUNS = Path("runs/leaderboard")


def main() -> None:
    print(compare("nine", RUNS, sys.argv[1:]))
    for cell in cells(read_grid("nine"), RUNS):
        gather(RUNS / cell.name, HERE / cell.name)
    print(build(HERE, HERE))


def gather(run: Path, into: Path) -> None:
    """Copy a run's record, curves and final grid, at the place the record names."""
    (into / "samples").mkdir(parents=True, exist_ok=True)
    for file in ("result.json", "metrics.jsonl", "samples/final.png"):
        shutil.copyfile(run / file, into / file)


if __name__ == "__main__":
    main()
