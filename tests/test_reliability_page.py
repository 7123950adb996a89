"""Every test that docs/RELIABILITY.md names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROWS = [line for line in (ROOT / "docs" / "RELIABILITY.md").read_text().splitlines() if re.match(r"\| [A-K]", line)]
NAME = re.compile(r"`(?:(test_\w+\.py)(?:::)?)?(test_\w+)?`")


def named(row):
    """(file, test) pairs of a row; a test without a file is of the file before it."""
    file, found = None, []
    for in_file, test in NAME.findall(row):
        file = in_file or file
        found.append((file, test))
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row.split("|")[1:3])[:40])
def test_a_promise_has_its_tests(row):
    assert named(row), row
    for file, test in named(row):
        text = (ROOT / "tests" / file).read_text()
        assert re.search(rf"^def {test or 'test_'}" + (r"\b" if test else ""), text, re.MULTILINE), f"{file}::{test}"


def test_there_are_promises_of_every_kind():
    assert {row[2] for row in ROWS} == set("ABCDEFGHIJK") and len(ROWS) > 60
