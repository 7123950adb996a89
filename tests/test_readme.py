"""Every command of README and docs is one that genvision understands; training commands resolve through --dry-run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from runs import fresh_launch, genvision, write_pictures  # noqa: F401

from genvision import cli, commands

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(?:\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LAUNCHERS = (
    ["genvision"],
    ["accelerate", "launch", "train_gen.py"],
    ["torchrun", "--nproc_per_node", "2", "train_gen.py"],
)


def shown():
    """The words of each `genvision ...` and `... train_gen.py ...` line in a fence, as genvision sees them."""
    found = []
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for block in (block for page in pages for block in FENCE.findall(page.read_text())):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and "=" in words[0]:
                del words[0]  # environment variables
            for launcher in LAUNCHERS:
                if words[: len(launcher)] == launcher:
                    found.append(([] if launcher == ["genvision"] else ["train"]) + words[len(launcher) :])
    return found


COMMANDS = shown()


def test_the_readme_shows_how_to_train_sample_score_and_rank():
    assert {"train", "sample", "score", "nll", "leaderboard"} <= {words[0] for words in COMMANDS}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_of_the_readme_is_understood(words, tmp_path, monkeypatch):
    """Beside the README lie its configs; the runs and photos that it speaks of are made up."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    write_pictures(tmp_path / "photos", 4)
    if words[0] == "train" and "--resume" not in words:
        extra = [] if "--dry-run" in words else ["--dry-run"]
        said = genvision(*words, *extra)
        assert said.code == 0, said.err
        assert "# parameters      " in said.out and not (tmp_path / "runs").exists()
        return
    parser = cli._Parser(prog=words[0])
    cli.PARSERS[words[0]](parser)
    assert parser.parse_intermixed_args(words[1:]).run is getattr(commands, words[0])
