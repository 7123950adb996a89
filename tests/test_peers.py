"""One of two processes fails or runs out of memory: all end, and the run's folder says which it was and why."""

from __future__ import annotations

import json
import os
import re
import signal
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
            if how == "hang":
                os.kill(os.getpid(), signal.SIGSTOP)
            raise torch.OutOfMemoryError("tried to allocate") if how == "memory" else ZeroDivisionError("a bug")
        return real(self, draw)

    Batches.at = at
    return cli.main(["train", *words])


def launched(pictures, root, how, *more):
    """Two processes, and the folder of their run."""
    words = (f"data=folder:{pictures}", *TINY, "backbone=vit", f"run.dir={root}", "run.name=run", *more)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", __file__, how]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*command, *words], env=environment, capture_output=True, text=True, timeout=150, check=False)
    return done, RunFolder(root / "run")


@pytest.mark.parametrize(("how", "reason"), [("memory", "tried to allocate"), ("bug", "a bug")])
def test_a_process_that_fails_is_named(pictures, tmp_path, how, reason):
    done, folder = launched(pictures, tmp_path, how)
    assert done.returncode == 1
    assert ("genvision: error: out of memory: lower train.micro_batch_size" in done.stderr) == (how == "memory")
    status = json.loads((folder.path / "status.json").read_text())
    assert (status["state"], status["reason"]) == ("failed", f"process 1: {reason}")
    assert [path.name for path in folder.checkpoints.iterdir()] == ["step-000000003"]
    assert genvision("train", "--resume", folder.path).code == 0
    assert read_record(folder.result)["status"] == "finished"


@pytest.mark.slow
def test_a_process_that_hangs_is_named(pictures, tmp_path):
    """Stopped as by a debugger: it can neither answer nor end by itself."""
    done, folder = launched(pictures, tmp_path, "hang", "run.timeout_minutes=0.1")
    assert done.returncode == 1 and "genvision: error: process 1 does not answer" in done.stderr
    assert re.search(r"rank +: 0 .*\n +exitcode +: 8 ", done.stderr), done.stderr
    waits = done.stderr.partition("Timeout (0:00:04.8")[2]  # the other says where it waits
    assert "in accumulate_gradients" in waits and "in watched" in waits
    status = json.loads((folder.path / "status.json").read_text())
    assert (status["state"], status["reason"], status["step"]) == ("failed", "process 1 does not answer", 4)
    assert genvision("train", "--resume", folder.path).code == 0


if __name__ == "__main__":
    sys.exit(fail(*sys.argv[1:]))
