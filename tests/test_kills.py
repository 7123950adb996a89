"""A crash at any point of writing loses nothing: the run goes on to the bits of one that was never killed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from runs import FAMILIES, pictures  # noqa: F401

DRIVER = Path(__file__).with_name("killing.py")


def kills(*arguments: object) -> dict:
    """What the driver found, in a process that nothing was computed in before it forks."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(DRIVER), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_a_kill_at_any_point_of_writing_a_checkpoint(tmp_path):
    told = kills(tmp_path, "genvision")
    names = {"folder made", "half a file written", "file flushed", "folder committed", "old folder set aside"}
    assert len(told["points"]) >= 40 and names < set(told["points"])
    committed = 0
    for name, end in zip(told["points"], told["ends"], strict=True):
        committed += name == "folder committed"
        expected = {"killed": True, "again": 0, "left": [], "fingerprint": told["straight"], "points": []}
        assert end == expected | {"began": 3 * committed}, name


@pytest.mark.parametrize("writer", ["in place", "accelerate"])
def test_writers_that_lose_a_run_are_found_out(tmp_path, writer):
    told = kills(tmp_path, writer)
    fates = [end["again"] == 0 and end["fingerprint"] == told["straight"] for end in told["ends"]]
    assert all(end["killed"] for end in told["ends"]) and not all(fates)


@pytest.mark.slow
def test_kills_at_any_moment_of_writing_a_checkpoint(tmp_path):
    told = kills(tmp_path, "aimed", 50)
    assert told["writing"] >= 20, "too few of the kills met a checkpoint that was being written"
    assert told["ends"] == [[0, True, []]] * 50


RUNS = [("vae", 16), *(pytest.param(family, 1, marks=pytest.mark.slow) for family in FAMILIES)]


@pytest.mark.parametrize(("family", "every"), RUNS)
@pytest.mark.timeout(1200)
def test_a_kill_at_any_point_of_a_run(pictures, tmp_path, family, every):
    told = kills(tmp_path, "kill", pictures, every, f"family={family}", "backbone=vit", "log.grid_every_steps=3")
    assert told["straight"]["code"] == 0 and len(told["ends"]) == -(-len(told["points"]) // every) >= 5
    for end in told["ends"]:
        name = told["points"][end.pop("point") - 1]
        assert end.pop("killed") and end.pop("kept") is not None and end.pop("failed") is None
        assert end == {"points": [], **told["straight"]}, name


@pytest.mark.parametrize(("family", "every"), RUNS)
@pytest.mark.timeout(1200)
def test_a_full_disk_at_any_point_of_a_run(pictures, tmp_path, family, every):
    """One line that says where and how much room there is, exit code 6; with room again, the same bits."""
    told = kills(tmp_path, "full", pictures, every, f"family={family}", "backbone=vit", "log.grid_every_steps=3")
    for end in told["ends"]:
        name, failed = told["points"][end.pop("point") - 1], end.pop("failed")
        assert not end.pop("killed") and failed["code"] == 6, name
        # a first status that was written all the same is that of a run which was never begun
        assert failed["status"] in (None, "failed", *["running"] * (name == "target replaced")), name
        assert re.fullmatch(r"cannot write .*: No space left on device \(.* MiB free\).*\n", failed["error"])
        assert failed["left"] == [] and not [file for file in end.pop("kept") if ".tmp" in file], name
        assert end == {"points": [], **told["straight"]}, name
