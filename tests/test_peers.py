"""One of two processes fails or runs out of memory: all end, and the run's folder says which it was and why."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from runs import TINY, genvision, pictures  # noqa: F401

from genvision import cli
from genvision.data import Batches
from genvision.evaluation.record import read_record
from genvision.run_folder import RunFolder

pytestmark = pytest.mark.skipif(torch.accelerator.is_available(), reason="describes a machine without an accelerator")


def fail(how: str, *words: str) -> int:
    """What each process does; the second one fails in the fifth step."""
    real = Batches.at

    def at(self, draw):
        if os.environ["RANK"] == "1" and draw.step == 4:
            raise torch.OutOfMemoryError("tried to allocate") if how == "memory" else ZeroDivisionError("a bug")
        return real(self, draw)

    Batches.at = at
    return cli.main(["train", *words])


@pytest.mark.parametrize(("how", "reason"), [("memory", "tried to allocate"), ("bug", "a bug")])
def test_a_process_that_fails_is_named(pictures, tmp_path, how, reason):
    words = (f"data=folder:{pictures}", *TINY, "backbone=vit", f"run.dir={tmp_path}", "run.name=run")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", __file__, how]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*command, *words], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert ("genvision: error: out of memory: lower train.micro_batch_size" in done.stderr) == (how == "memory")
    folder = RunFolder(tmp_path / "run")
    status = json.loads((folder.path / "status.json").read_text())
    assert (status["state"], status["reason"]) == ("failed", f"process 1: {reason}")
    assert [path.name for path in folder.checkpoints.iterdir()] == ["step-000000003"]
    assert genvision("train", "--resume", folder.path).code == 0
    assert read_record(folder.result)["status"] == "finished"


if __name__ == "__main__":
    sys.exit(fail(*sys.argv[1:]))
