"""docs/STUDIES.md is what its script makes of the verdicts beside it, and names what exists."""

from __future__ import annotations

import csv
import json
import re
import runpy
from pathlib import Path

import pytest

from genvision.analysis.perform import judged
from genvision.analysis.table import STUDIES

ROOT = Path(__file__).parents[1]
MAKER = runpy.run_path(str(ROOT / "scripts" / "make_studies_page.py"))
ROWS = list(csv.DictReader((ROOT / "docs" / "articles.csv").open(newline="")))
COUNTS = {"S0": 40, "S1": 27, "S2": 24, "S3": 24, "S4": 22}


def test_the_page_is_what_its_script_writes():
    assert (ROOT / "docs" / "STUDIES.md").read_text() == MAKER["page"](MAKER["verdicts"]())


def test_every_row_of_the_articles_is_there_once():
    expected = [f"{article}-{k:02d}" for article, count in COUNTS.items() for k in range(1, count + 1)]
    assert [row["row"] for row in ROWS] == expected and len(expected) == 137
    assert all(row["says"] for row in ROWS)
    answered = {row for study in STUDIES.values() for row in study.rows}
    assert answered <= set(expected)


def test_the_tests_that_the_page_names_exist():
    for row in ROWS:
        if row["where"].startswith("tests/"):
            file, _, test = row["where"].partition("::")
            assert re.search(rf"^def {test}\(", (ROOT / file).read_text(), re.M), row
        else:
            assert not row["where"] or row["where"].startswith("cannot be tested"), row


def typed(value):
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value or None


def leaves(tree):
    """Every key and value of nested JSON, in order."""
    if not isinstance(tree, dict | list):
        yield tree
        return
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield key
        yield from leaves(value)


def test_verdicts_follow_from_the_tables_beside_them():
    for name in STUDIES:
        folder = ROOT / "samples" / "studies" / name
        if not (folder / "verdict.json").is_file():
            continue
        told = json.loads((folder / "verdict.json").read_text())
        with (folder / "table.csv").open(newline="") as file:
            table = [{key: typed(value) for key, value in row.items()} for row in csv.DictReader(file)]
        again = judged(STUDIES[name], table)
        assert [claim["verdict"] for claim in told["claims"]] == [claim["verdict"] for claim in again["claims"]], name
        for was, now in zip(leaves(told["claims"]), leaves(json.loads(json.dumps(again["claims"]))), strict=True):
            # processors round differently
            assert was == (pytest.approx(now, rel=1e-9) if isinstance(now, float) else now), name


def test_a_row_without_an_answer_says_so():
    answer = MAKER["answer"]
    told = {
        "toy": {
            "study": "toy",
            "question": "Why, then?",
            "claims": [{"rows": ["S0-01"], "claim": "c", "verdict": "mixed"}],
        }
    }
    assert answer({"row": "S0-02", "where": ""}, told) == "no study yet"
    assert answer({"row": "S0-01", "where": ""}, told) == "[toy](#toy-why-then): **mixed** (c)"
    assert answer({"row": "S0-02", "where": "tests/x.py::test_y"}, {}) == "built, and held by [`test_y`](../tests/x.py)"


def test_the_page_sides_with_the_article_that_more_is_said_for():
    def told(*verdicts):
        rows = (["S1-09"], ["S1-09", "S2-22"], ["S2-21"])
        claims = [{"rows": row, "verdict": verdict} for row, verdict in zip(rows, verdicts, strict=True)]
        return {"claims": claims, "protocol": {"preset": "cpu", "settings": {"seeds": [0, 1, 2]}}}

    say = MAKER["contradiction"]
    assert "side with **S1-09** (S1-09: supported, mixed; S2-21: mixed)" in say(told("supported", "mixed", "mixed"))
    assert "side with **S2-21**" in say(told("mixed", "supported", "supported")) and "seeds=0/1/2" in say(
        told("mixed", "mixed", "supported")
    )
    assert "side with **neither**" in say(told("mixed", "not supported", "mixed"))
