"""Runs of every released format, kept in golden/: drawn from, and gone on with, by the code of today."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from runs import FAMILIES, fresh_launch, genvision, pictures  # noqa: F401

from genvision.run_folder import RunFolder
from genvision.training.folders import FORMAT

GOLDEN = Path(__file__).with_name("golden")
KEPT = [(folder.name, family) for folder in sorted(GOLDEN.glob("format-*")) for family in FAMILIES]
every_run = pytest.mark.parametrize(("form", "family"), KEPT)


def equal_images(ours: Path, theirs: Path) -> bool:
    """Whether of every image at least 99.9 % of the pixels are at most one gray level apart.

    Of 600 images that the autoregressive model drew, weights wrong by 1e-3 changed 2 % at all, and none by two levels.
    """
    one, other = (np.load(file)["images"].astype(int) for file in (ours, theirs))
    assert one.shape == other.shape and other.std() > 1
    return ((abs(one - other) <= 1).reshape(len(one), -1).mean(1) >= 0.999).all()


def losses(file: Path) -> list[float]:
    """Of steps 4, 5 and 6."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [row["loss"] for row in rows if "loss" in row and row["step"] > 3]


def test_there_are_runs_of_every_family_in_the_present_format():
    assert {family for form, family in KEPT if form == f"format-{FORMAT}"} == {*FAMILIES}


@every_run
def test_a_kept_model_draws_what_it_drew(tmp_path, form, family):
    golden = GOLDEN / form / family
    drawn = tmp_path / "drawn.npz"
    said = genvision("sample", golden / "model", "--num-images", 6, "--out", drawn)
    assert said.code == 0, said.err
    assert equal_images(drawn, golden / "samples" / "final.npz")


@every_run
def test_a_kept_run_is_gone_on_with(tmp_path, monkeypatch, pictures, form, family):
    golden = GOLDEN / form / family
    shutil.copytree(golden, tmp_path / "runs" / family)
    run = RunFolder(tmp_path / "runs" / family)
    for later in ("model", "samples"):
        shutil.rmtree(run.path / later)
    (run.path / "metrics.jsonl").unlink()
    os.symlink(pictures, tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    said = genvision("train", "--resume", f"runs/{family}")
    assert said.code == 0 and "resuming at step 3" in said.out, said.err
    assert losses(run.metrics) == pytest.approx(losses(golden / "metrics.jsonl"), rel=1e-4)
    drawn, there = (path / "samples" / "final.npz" for path in (run.path, golden))
    assert equal_images(drawn, there)
