"""docs/DIFFUSION.md: its table is the code's."""

from __future__ import annotations

from pathlib import Path

from genvision.families.objective import OBJECTIVES
from genvision.families.schedulers import SCHEDULERS

PAGE = Path(__file__).parents[1] / "docs" / "DIFFUSION.md"


def test_the_table_of_the_page_is_that_of_the_code() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    assert head == ["path", *next(iter(OBJECTIVES.values()))._fields, "scheduler"]
    found = {path: [cell.split(", ") for cell in cells] for path, *cells in rows}
    serving = {path: [name for name, paths in SCHEDULERS.items() if path in paths] for path in OBJECTIVES}
    assert found == {path: [*map(list, valid), serving[path]] for path, valid in OBJECTIVES.items()}
