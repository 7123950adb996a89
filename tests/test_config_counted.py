"""All the wrong settings at once, as a shell would give them; words of YAML that look like something else."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_config_errors import TYPOS, WRONG, in_file

from genvision.config import load_config
from genvision.errors import ConfigError

ASKED = """
import contextlib, io, json, sys
from genvision import cli
answers = []
for words in json.load(sys.stdin):
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(err):
        code = cli.main(["train", *words])
    answers.append([code, err.getvalue(), "torch" in sys.modules])
print(json.dumps(answers))
"""


def test_typos_and_wrong_values_are_answered_before_anything_heavy_is_imported():
    """Through `genvision train`, in one fresh process: code 2, one line with the full key, the right suggestion."""
    typos = [([f"{typo}=1"], rf"{re.escape(typo)}\b.*; did you mean {re.escape(meant)}\?") for typo, meant in TYPOS]
    wrong = [([override, "backbone=convnet"], re.escape(expected)) for override, expected in WRONG]
    assert len(typos) >= 25 and len(wrong) >= 40
    asked = json.dumps([words for words, _ in typos + wrong])
    done = subprocess.run([sys.executable, "-c", ASKED], input=asked, capture_output=True, text=True, check=True)
    answers = json.loads(done.stdout)
    met = 0
    for (words, expected), (code, text, torch) in zip(typos + wrong, answers, strict=True):
        assert code == 2 and not torch, (words, code, torch)
        assert re.fullmatch(rf"genvision: error: command line: .*{expected}.*\n", text), (words, text)
        assert len(text.removeprefix("genvision: error: ").rstrip("\n")) <= 200
        met += 1
    assert met == len(TYPOS) + len(WRONG)


@pytest.mark.parametrize(("typo", "meant"), TYPOS[:25], ids=[typo for typo, _ in TYPOS[:25]])
def test_a_typo_deep_in_a_file_is_found_with_its_line(tmp_path, typo, meant):
    """Under a hundred lines of comments and a valid section."""
    parts = typo.split(".")
    text = "#\n" * 100 + "score:\n  num_images: 0\n" * (parts[0] != "score")
    lines = [f"{'  ' * depth}{part}:{' 1' if depth == len(parts) - 1 else ''}\n" for depth, part in enumerate(parts)]
    line = text.count("\n") + len(lines)
    expected = f"{tmp_path / 'mine.yaml'}:{line}: unknown key {typo}; did you mean {meant}?"
    assert in_file(tmp_path, text + "".join(lines)) == expected


READ = [  # what the file says, the key, and what it must be: the type of the key decides, not how a word looks
    ("train: {learning_rate: 1e-4}", "train.learning_rate", 1e-4),
    ("train: {learning_rate: 1E-4}", "train.learning_rate", 1e-4),
    ("train: {learning_rate: .5}", "train.learning_rate", 0.5),
    ("train: {learning_rate: 1}", "train.learning_rate", 1.0),
    ("train: {precision: no}", "train.precision", "no"),
    ("log: {tensorboard: no}", "log.tensorboard", False),
    ("log: {tensorboard: on}", "log.tensorboard", True),
    ("run: {name: no}", "run.name", "no"),
    ("run: {name: on}", "run.name", "on"),
    ("run: {name: 010}", "run.name", "010"),
    ("run: {name: 1e3}", "run.name", "1e3"),
    ("run: {name: 2026-11-26}", "run.name", "2026-11-26"),
    ("run: {dir: 12:30:45}", "run.dir", "12:30:45"),
    ("run: {dir: '~'}", "run.dir", "~"),
    ("train: {seed: 010}", "train.seed", 10),  # to YAML's own rules, eight
    ("train: {seed: 1_000}", "train.seed", 1000),
    ("\ufefftrain: {seed: 7}", "train.seed", 7),  # a byte order mark
    ("train: {seed: 7}\r\nlog: {every_steps: 9}\r\n", "train.seed", 7),
    ("# only a comment\n", "train.seed", 0),
    ("", "train.seed", 0),
]
REFUSED = [
    ("train: {seed: 0x10}", "train.seed: expected a whole number, got 0x10"),
    ("train: {seed: 12:30:45}", "train.seed: expected a whole number, got 12:30:45"),
    ("train: {seed: 1e3}", "train.seed: expected a whole number, got 1e3"),
    ("train: {seed: on}", "train.seed: expected a whole number, got on"),
    ("train: {learning_rate: 2026-11-26}", "train.learning_rate: expected a number, got 2026-11-26"),
    ("train: {learning_rate: .inf}", "train.learning_rate: expected a number, got .inf"),
    ("train: {learning_rate: -.INF}", "train.learning_rate: expected a number, got -.INF"),
    ("train: {learning_rate: .NaN}", "train.learning_rate: expected a number, got .NaN"),
    ("log: {tensorboard: 1}", "log.tensorboard: expected true or false, got 1"),
    ("log: {tensorboard: y}", "log.tensorboard: expected true or false, got y"),
    ("train: {seed: 1}\ntrain: {seed: 2}", "mine.yaml:2: train: given twice"),
    ("a: &a [1]\nb: [*a, *a]\n", "mine.yaml:1: anchors and aliases"),
    ("#" * 10_000_000, "larger than 1 MB"),
    ("train: {seed: 7}".encode("utf-16"), "not UTF-8 at byte 0"),
]


@pytest.mark.parametrize(("text", "key", "value"), READ, ids=[repr(text) for text, _, _ in READ])
def test_a_word_is_read_as_its_key_wants_it(tmp_path, text, key, value):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    found = load_config(path)
    for name in key.split("."):
        found = getattr(found, name)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[repr(text[:30]) for text, _ in REFUSED])
def test_a_word_that_is_none_of_its_kind_is_refused(tmp_path, text, message):
    assert message in in_file(tmp_path, text)


WORDS = st.sampled_from(
    ["train", "seed", "data", "trunk", "width", "name", "family", "vae", "&a", "*a", "!!x", "${a}", "<<", "no", "1e400"]
)
TEXTS = st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))
PIECES = st.lists(WORDS | st.sampled_from([": ", "\n", "\n  ", "{", "}", "[", "]", ", ", "- ", "'", "#"]), max_size=30)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(st.binary(max_size=80) | TEXTS | PIECES.map(lambda pieces: "".join(pieces).encode()))
def test_two_thousand_documents_are_valid_or_one_line(tmp_path_factory, document):
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(document)
    try:
        load_config(path)
    except ConfigError as error:
        assert len(str(error)) <= 200 and "\n" not in str(error)
