"""Two processes that hold half of the weights each train what two that hold all of them train."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from runs import BACKBONES, CELLS, fresh_launch, pictures  # noqa: F401
from test_training_toy import toy_config

from genvision.errors import ConfigError
from genvision.evaluation.record import read_record
from genvision.run_folder import RunFolder
from genvision.training import launch

pytestmark = pytest.mark.skipif(torch.accelerator.is_available(), reason="describes a machine without an accelerator")
DRIVER = Path(__file__).with_name("sharded.py")
FEW = ["diffusion-convnet"]
REST = sorted({f"{family}-{backbone}" for family, backbone in CELLS} - {*FEW})


def sharded(*arguments: object):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(DRIVER), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def distance(ours: list[float], theirs: list[float]) -> float:
    ours, theirs = torch.tensor(ours, dtype=torch.float64), torch.tensor(theirs, dtype=torch.float64)
    return ((ours - theirs).norm() / theirs.norm()).item()


def check(found: dict) -> None:
    plain, shared, again, alone = (found[way] for way in ("plain", "shared", "again", "alone"))
    for kind in ("weights", "average", "moments"):
        assert shared[0][kind] == shared[1][kind]  # whole, in each process
        assert distance(shared[0][kind], plain[0][kind]) < 5e-5, kind
        assert again[0][kind] == shared[0][kind], kind  # stopped and gone on with: the same bits
        assert distance(alone[0][kind], shared[0][kind]) < 5e-5, kind  # by one process that holds all of it
    for ours, theirs in zip(shared[0]["numbers"], plain[0]["numbers"], strict=True):
        assert all(math.isclose(a, b, rel_tol=1e-4) for a, b in zip(ours, theirs, strict=True))
    assert shared[0]["held"] + shared[1]["held"] == plain[0]["held"] == alone[0]["held"]
    assert shared[0]["held"] < 0.52 * plain[0]["held"]


def test_shares_of_the_weights_train_what_all_of_them_train(tmp_path):
    for found in sharded("cells", tmp_path, *FEW):
        check(found)


@pytest.mark.slow
def test_shares_of_the_weights_of_the_other_cells(tmp_path):
    for found in sharded("cells", tmp_path, *REST):
        check(found)


def test_a_run_of_two_that_share_is_gone_on_with_by_one(tmp_path, pictures):
    two, one = sharded("run", tmp_path, pictures)
    assert [code for code, _ in (*two, *one)] == [0, 0, 0] and "Traceback" not in str(two + one)
    run = RunFolder(tmp_path / "run")
    assert read_record(run.result)["processes"] == 1 and run.state() == "finished"


def test_a_bad_step_is_passed_over_by_all_that_share(tmp_path):
    plain, shared = sharded("bad", tmp_path)
    assert [one["skipped"] for one in (*plain, *shared)] == [1] * 4
    assert shared[0]["weights"] == shared[1]["weights"]
    assert distance(shared[0]["weights"], plain[0]["weights"]) < 1e-3  # bf16


def test_a_full_disk_is_said_by_all_that_share(tmp_path):
    assert sharded("full", tmp_path) == [["no room", "no room"], ["step-000000001"]]


@pytest.mark.parametrize(
    ("other", "named"), [({"precision": "fp16"}, "precision=fp16"), ({"compile": True}, "compile")]
)
def test_what_does_not_go_with_shares_is_refused(monkeypatch, other, named):
    monkeypatch.setattr(launch, "resolve_precision", lambda asked, device: asked)  # as on a GPU
    config = toy_config(**{"compile": False, "shard": True, **other})
    with pytest.raises(ConfigError, match=f"train.shard=true does not go with train.{named}"):
        launch.make_accelerator(config)
