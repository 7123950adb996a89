"""Every study end to end in its smoke preset, through the command line, with one folder for the runs they share."""

from __future__ import annotations

import json

import pytest
from runs import fresh_launch, genvision  # noqa: F401

from genvision.analysis.study import Verdict
from genvision.analysis.table import STUDIES


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("studies")


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_from_end_to_end(name, out):
    said = genvision("study", name, "--preset", "smoke", "--out", out)
    assert said.code == 0, said.err
    folder = out / "smoke" / name
    assert {path.name for path in folder.iterdir()} == {"table.csv", "figure.png", "figure.svg", "verdict.json"}
    told = json.loads((folder / "verdict.json").read_text())
    assert [claim["claim"] for claim in told["claims"]] == [claim.says for claim in STUDIES[name].claims]
    assert {claim["verdict"] for claim in told["claims"]} <= {verdict.value for verdict in Verdict}
    assert all(claim["estimates"] for claim in told["claims"]), "a claim that no number is about"
    assert told["command"].startswith(f"genvision study {name} --preset smoke") and told["question"] in said.out
