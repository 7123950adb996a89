"""The machinery of `genvision study`: rules, verdicts, files, runs, and errors of one line."""

from __future__ import annotations

import csv
import json
import math

import pytest
from runs import Said, fresh_launch, genvision, pictures, trained, tree  # noqa: F401

from genvision.analysis import perform as performing
from genvision.analysis.perform import as_csv, from_csv, judged, perform, perform_all
from genvision.analysis.runs import Runs
from genvision.analysis.study import ARTICLES, PRESETS, Claim, Estimate, Rule, Study, Verdict
from genvision.analysis.table import STUDIES
from genvision.errors import ConfigError, RunError
from genvision.fingerprint import short_hash

SLOPE = Rule("the slope", low=1.95, high=2.05, fewest=3)


def estimate(low, high, n=5):
    return Estimate("x", (low + high) / 2, low, high, n)


@pytest.mark.parametrize(
    ("estimates", "verdict"),
    [
        ([estimate(1.95, 2.05)], "supported"),
        ([estimate(1.99, 2.0), estimate(2.01, 2.02)], "supported"),
        ([estimate(0.9, 1.1)], "not supported"),
        ([estimate(2.06, 2.07)], "not supported"),
        ([estimate(1.9, 2.0)], "mixed"),
        ([estimate(2.0, 2.3)], "mixed"),
        ([estimate(1.99, 2.01), estimate(0.9, 1.1)], "mixed"),
        ([estimate(1.99, 2.01, n=2)], "not testable at this scale"),
        ([estimate(math.nan, math.nan)], "not testable at this scale"),
        ([], "not testable at this scale"),
        ([estimate(1.99, 2.01), estimate(0.9, 1.1, n=2)], "supported"),
    ],
)
def test_a_rule_says_what_the_place_of_all_intervals_means(estimates, verdict):
    assert SLOPE.verdict(estimates) == Verdict(verdict)


def test_a_rule_without_one_end_and_its_words():
    assert Rule("r", low=0.9).verdict([estimate(0.95, 9.0)]) == Verdict.SUPPORTED
    assert Rule("r", high=0.0).verdict([estimate(-3.0, -1.0)]) == Verdict.SUPPORTED
    assert Rule("r", high=0.0).verdict([estimate(0.1, 1.0)]) == Verdict.NOT_SUPPORTED
    assert "the slope lies from 1.95 to 2.05" in str(SLOPE) and "fewer than 3" in str(SLOPE)
    assert "r is at least 0.9" in str(Rule("r", low=0.9)) and "r is at most 0" in str(Rule("r", high=0.0))
    assert "d is 0 " in str(Rule("d", 0.0, 0.0))


def toy(measured=None, reads=()):
    """A study of one number a row; `measured` is called by its measurement."""

    def measure(setting, runs):
        for family in reads:
            runs.of(family, backbones=["vit"])
        if measured is not None:
            measured.append(setting)
        return [{"x": k, "y": setting["factor"] * k} for k in range(3)] + [{"x": 3, "z": None}]

    def last(table):
        return [Estimate.counted("last", table[2]["y"]), Estimate.counted("nothing", math.nan)]

    return Study(
        name="toy",
        question="How much?",
        measurement="A product.",
        claims=(Claim(("S0-11", "S0-02"), "it is two", Rule("the last", 2, 2), last),),
        presets={preset: {"factor": 1 + k, "seeds": [0]} for k, preset in enumerate(PRESETS)},
        measure=measure,
        draw=lambda table, figure: figure.subplots().plot([row["x"] for row in table]),
        reads=tuple(reads),
    )


def test_a_study_leaves_its_table_figures_and_verdict(tmp_path):
    said = perform(toy(), "smoke", tmp_path, command="genvision study toy")
    folder = tmp_path / "smoke" / "toy"
    assert "supported" in said and str(folder) in said
    table = list(csv.DictReader((folder / "table.csv").open()))
    assert table[2] == {"x": "2", "y": "2", "z": ""} and table[3] == {"x": "3", "y": "", "z": ""}
    assert (folder / "figure.png").read_bytes()[:4] == b"\x89PNG" and "<svg" in (folder / "figure.svg").read_text()
    told = json.loads((folder / "verdict.json").read_text())
    (claim,) = told["claims"]
    assert claim["verdict"] == "supported" and claim["rows"] == ["S0-11", "S0-02"]
    assert claim["estimates"] == [{"of": "last", "value": 2, "interval": [2, 2], "n": 1}]
    assert claim["rule"] == str(Rule("the last", 2, 2)) and told["command"] == "genvision study toy"
    assert told["protocol"]["settings"] == {"factor": 1, "seeds": [0]} and told["protocol"]["preset"] == "smoke"
    assert {"genvision", "torch"} <= set(told["protocol"]["versions"])
    before = tree(tmp_path)
    perform(toy(), "smoke", tmp_path, command="genvision study toy")
    assert tree(tmp_path) == before, "the same numbers give the same bytes"


def test_another_preset_is_another_setting_and_another_folder(tmp_path):
    assert "not supported" in perform(toy(), "cpu", tmp_path)
    assert (tmp_path / "cpu" / "toy" / "verdict.json").is_file() and not (tmp_path / "smoke").exists()
    with pytest.raises(ConfigError, match="no preset huge; presets are smoke, cpu, gpu"):
        perform(toy(), "huge", tmp_path)


def test_all_goes_on_with_what_has_no_verdict_under_this_protocol(tmp_path, monkeypatch):
    measured = []
    monkeypatch.setattr(performing, "STUDIES", {"toy": toy(measured)})
    first = perform_all("smoke", tmp_path)
    again = perform_all("smoke", tmp_path)
    assert len(measured) == 1 and "supported" in again and again.splitlines()[1] == first.splitlines()[1]
    path = tmp_path / "smoke" / "toy" / "verdict.json"
    told = json.loads(path.read_text())
    told["protocol"]["settings"]["factor"] = 7
    path.write_text(json.dumps(told))
    perform_all("smoke", tmp_path)
    assert len(measured) == 2, "another setting is another measurement"
    path.write_text("{")
    perform_all("smoke", tmp_path)
    assert len(measured) == 3


def test_given_runs_are_read_and_not_changed(tmp_path, trained):
    vit, convnet = trained("vae", "vit").path, trained("vae", "convnet").path
    before = tree(vit), tree(convnet)
    runs = Runs(tmp_path, "smoke", [vit, convnet])
    found = runs.of("vae", backbones=["convnet", "mixer", "vit"])
    assert [one.config.backbone for one in found] == ["convnet", "vit"]
    assert not any(one.family.training for one in found)
    assert runs.read == {one.folder.name: short_hash(one.family) for one in found}
    perform(toy(reads=["vae"]), "smoke", tmp_path, given=[vit])
    told = json.loads((tmp_path / "smoke" / "toy" / "verdict.json").read_text())
    assert told["protocol"]["runs"] == {"shared": short_hash(found[1].family)}
    assert (tree(vit), tree(convnet)) == before


def test_missing_runs_are_trained_once_for_the_same_versions_and_device(tmp_path):
    (one,) = Runs(tmp_path, "smoke").of("vae", backbones=["vit"])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    (two,) = Runs(tmp_path, "smoke").of("vae", backbones=["vit"])
    assert one.folder.name == "vae-vit-seed0" and short_hash(one.family) == short_hash(two.family)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
    record = json.loads(one.folder.result.read_text())
    of = f"genvision {record['packages']['genvision']} and torch"
    for other, told in (
        ({"packages": record["packages"] | {"torch": "1.0+cpu"}}, f"{of} 1.0 on cpu"),
        ({"packages": None}, "genvision None and torch None on cpu"),
        ({"device": "NVIDIA A100"}, "on NVIDIA A100"),
    ):
        one.folder.result.write_text(json.dumps(record | other))
        with pytest.raises(RunError, match=f"vae-vit-seed0 was trained by .*{told}; remove it, or all of"):
            Runs(tmp_path, "smoke").of("vae", backbones=["vit"])


def test_runs_that_cannot_serve(tmp_path, trained):
    with pytest.raises(RunError, match="no finished run lies there"):
        Runs(tmp_path, "smoke", [tmp_path])
    with pytest.raises(RunError, match="none is of family=diffusion and a backbone of vit, mixer"):
        Runs(tmp_path, "smoke", [trained("vae", "vit").path]).of("diffusion", backbones=["vit", "mixer"])
    with pytest.raises(ConfigError, match="toy reads no runs"):
        perform(toy(), "smoke", tmp_path, given=[trained("vae", "vit").path])


def test_the_command_line_answers_in_one_line(tmp_path):
    assert genvision("study", "list").out.splitlines()[0].startswith("metric")
    for words, code, told in (
        (["metrics"], 2, "no study metrics; did you mean metric?"),
        (["metric", "--preset", "huge"], 2, "invalid choice: 'huge'"),
        (["metric", "--runs", tmp_path / "x", "--out", tmp_path], 2, "reads no runs"),
        (["all", "--runs", tmp_path], 2, "--runs is for one study"),
    ):
        said: Said = genvision("study", *words)
        assert said.code == code and told in said.error and not list(tmp_path.iterdir())


def test_every_study_is_whole():
    for name, study in STUDIES.items():
        assert study.name == name and study.question.endswith("?") and study.measurement.endswith(".")
        assert set(study.presets) == set(PRESETS) and study.claims
        assert all(row.split("-")[0] in ARTICLES for row in study.rows)
        assert judged(study, [])["claims"], "a table without rows is nothing to be judged, and no error"
        assert {claim["verdict"] for claim in judged(study, [])["claims"]} == {"not testable at this scale"}


def test_a_table_comes_back_from_its_csv():
    rows = [
        {"what": "a", "n": 3, "value": 0.1 + 0.2, "seed": 0},
        {"what": "b, c", "n": 4, "value": 1e-30, "kept": True},
    ]
    assert from_csv(as_csv(rows)) == rows
