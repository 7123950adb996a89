"""Signals: training ends between two steps with a checkpoint, under every launcher, and goes on to the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from runs import TINY, fresh_launch, genvision, pictures, train, trained, tree  # noqa: F401

from genvision.data import Batches
from genvision.interruption import SIGNALS
from genvision.run_folder import RunFolder
from genvision.run_samples import RunSamples
from genvision.sampling import draw as drawing
from genvision.training import checkpoint, folders

ROOT = Path(__file__).resolve().parents[1]
needs_cpu = pytest.mark.skipif(torch.accelerator.is_available(), reason="describes a machine without an accelerator")


def status(folder):
    return json.loads((folder.path / "status.json").read_text())


def checkpoints(folder):
    return sorted(path.name for path in folder.checkpoints.iterdir())


def send(*numbers):
    for number in numbers:
        os.kill(os.getpid(), number)


def signalled_before(monkeypatch, owner, name, *numbers, call=0):
    """Send signals to this process at the call-th call of a function."""
    real, calls = getattr(owner, name), iter(range(10**6))

    def wrapped(*arguments, **options):
        if next(calls) == call:
            send(*numbers)
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, wrapped)


def goes_on_like(folder, straight):
    """The run, resumed, ends with the bytes of one that was never stopped."""
    said = genvision("train", "--resume", folder.path)
    assert said.code == 0, said.err
    assert status(folder)["state"] == "finished" and not list(folder.checkpoints.glob(".tmp-*"))
    assert tree(folder.model) == tree(straight.model) != {}
    lines = [[json.loads(line)["loss"] for line in run.metrics.read_text().splitlines()] for run in (folder, straight)]
    assert lines[0] == lines[1]


@pytest.mark.parametrize(
    "numbers", [*((number,) for number in SIGNALS), (signal.SIGTERM,) * 3, (signal.SIGTERM, signal.SIGINT)]
)
def test_a_signal_ends_training_after_the_step_with_a_checkpoint(pictures, tmp_path, monkeypatch, trained, numbers):
    before = [signal.getsignal(number) for number in SIGNALS]
    with monkeypatch.context() as patch:
        signalled_before(patch, Batches, "at", *numbers, call=3)
        said = train(pictures, tmp_path, "backbone=vit", "run.name=run")
    folder, name = RunFolder(tmp_path / "run"), signal.Signals(numbers[0]).name
    assert said.code == 143 and said.last_error == f"interrupted by {name}; go on with --resume {folder.path}"
    state = "interrupted" if name == "SIGINT" else "preempted"
    assert status(folder) == {"state": state, "reason": f"interrupted by {name}", "step": 4, "total_steps": 6}
    assert checkpoints(folder) == ["step-000000003", "step-000000004"] and not folder.result.exists()
    assert [signal.getsignal(number) for number in SIGNALS] == before
    goes_on_like(folder, trained("diffusion"))


def test_a_second_control_c_does_not_wait_for_the_step(pictures, tmp_path, monkeypatch, trained):
    with monkeypatch.context() as patch:
        signalled_before(patch, Batches, "at", signal.SIGINT, signal.SIGINT, call=4)
        said = train(pictures, tmp_path, "backbone=vit", "run.name=run")
    folder = RunFolder(tmp_path / "run")
    assert said.code == 143 and said.last_error == f"interrupted; go on with --resume {folder.path}"
    assert status(folder)["state"] == "interrupted" and checkpoints(folder) == ["step-000000003"]
    goes_on_like(folder, trained("diffusion"))


@pytest.mark.parametrize("call", range(5))
def test_a_signal_while_a_checkpoint_is_written(pictures, tmp_path, monkeypatch, trained, call):
    with monkeypatch.context() as patch:
        signalled_before(patch, folders, "write_file", signal.SIGTERM, call=call)
        said = train(pictures, tmp_path, "backbone=vit", "run.name=run")
    folder = RunFolder(tmp_path / "run")
    assert said.code == 143 and status(folder)["state"] == "preempted" and status(folder)["step"] == 3
    assert checkpoints(folder) == ["step-000000003"]  # and no temporary folder
    if call == 2:
        goes_on_like(folder, trained("diffusion"))


def test_a_signal_while_the_last_checkpoint_is_written_does_not_lose_it(pictures, tmp_path, monkeypatch, trained):
    with monkeypatch.context() as patch:
        signalled_before(patch, Batches, "at", signal.SIGUSR1, call=3)
        signalled_before(patch, folders, "write_file", signal.SIGTERM, call=6)  # of the second checkpoint
        said = train(pictures, tmp_path, "backbone=vit", "run.name=run")
    folder = RunFolder(tmp_path / "run")
    assert said.code == 143 and said.last_error == f"interrupted by SIGUSR1; go on with --resume {folder.path}"
    assert checkpoints(folder) == ["step-000000003", "step-000000004"] and status(folder)["step"] == 4
    goes_on_like(folder, trained("diffusion"))


def test_a_long_look_at_the_run_is_cut_short(pictures, tmp_path, monkeypatch, trained):
    words = ("backbone=vit", "run.name=run", "train.save_every_steps=100", "log.grid_every_steps=2")
    with monkeypatch.context() as patch:
        signalled_before(patch, RunSamples, "draw", signal.SIGTERM)
        patch.setattr(RunSamples, "write_grid", lambda *_: pytest.fail("a signal had come before"))
        said = train(pictures, tmp_path, *words)
    folder = RunFolder(tmp_path / "run")
    assert said.code == 143 and status(folder)["state"] == "preempted" and checkpoints(folder) == ["step-000000002"]
    goes_on_like(folder, trained("diffusion"))


def test_a_step_that_ends_a_run_is_logged_but_not_looked_at(pictures, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        signalled_before(patch, Batches, "at", signal.SIGTERM, call=3)
        train(pictures, tmp_path, "backbone=vit", "run.name=run", "log.grid_every_steps=4")
    folder = RunFolder(tmp_path / "run")
    assert [json.loads(line)["step"] for line in folder.metrics.read_text().splitlines()] == [2, 4]
    assert not folder.samples.exists()


def test_a_signal_after_training_leaves_the_rest_to_be_done(pictures, tmp_path, monkeypatch, trained):
    with monkeypatch.context() as patch:
        signalled_before(patch, RunSamples, "write_all", signal.SIGTERM)
        said = train(pictures, tmp_path, "backbone=vit", "run.name=run")
    folder = RunFolder(tmp_path / "run")
    assert said.code == 143 and status(folder)["state"] == "preempted" and not folder.result.exists()
    goes_on_like(folder, trained("diffusion"))


@pytest.mark.parametrize("number", SIGNALS)
def test_a_command_ends_at_once_and_leaves_nothing(trained, tmp_path, monkeypatch, number):
    with monkeypatch.context() as patch:
        signalled_before(patch, drawing, "shared", number)
        said = genvision("sample", trained("diffusion").path, "--num-images", 3, "--out", tmp_path / "images.npz")
    assert said.code == 143 and said.error == f"interrupted by {signal.Signals(number).name}"
    assert not list(tmp_path.iterdir())


LAUNCHERS = {
    "accelerate": ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--quiet"),
    "torchrun": ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"),
}


@needs_cpu
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("launcher", "victim", "ends"),
    [
        *(("accelerate", "launcher", False), ("torchrun", "launcher", False)),
        pytest.param("accelerate", "launcher", True, marks=pytest.mark.slow),
        pytest.param("torchrun", "rank 1", True, marks=pytest.mark.slow),
    ],
)
def test_under_a_launcher(pictures, tmp_path, launcher, victim, ends):
    """The launcher or one process is told to end; all end, with one checkpoint, and no process is left.

    ends  and the run then `ends` under the same launcher, with the bytes of one that was not stopped
    """
    total = 400 if ends else 3000
    words = (
        f"data=folder:{pictures}",
        *TINY,
        "backbone=vit",
        f"train.steps={total}",
        f"train.save_every_steps={total}",
    )
    words += (f"run.dir={tmp_path}", "run.name=run", "log.every_steps=1")
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, *LAUNCHERS[launcher], str(ROOT / "train_gen.py"), *words]
    folder = RunFolder(tmp_path / "run")
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as launched:
        until(lambda: folder.metrics.is_file() and folder.metrics.stat().st_size > 2000, launched)
        workers = psutil.Process(launched.pid).children(recursive=True)
        ranks = [worker for worker in workers if "RANK" in worker.environ()] or workers
        last = max(ranks, key=lambda worker: int(worker.environ().get("RANK", 0)))
        os.kill(last.pid if victim == "rank 1" else launched.pid, signal.SIGTERM)
        _, said = launched.communicate(timeout=60)
        _, alive = psutil.wait_procs(workers, timeout=60)
    assert launched.returncode != 0 and not alive
    assert (b"--num_processes 2 starts one process on CPUs; use torchrun" in said) == (launcher == "accelerate")
    assert status(folder)["state"] == "preempted", status(folder)
    (made,) = checkpoints(folder)
    assert made == f"step-{status(folder)['step']:09d}" and checkpoint.latest(folder.checkpoints).name == made
    if not ends:  # one process goes on with what two began
        said = genvision("train", "--resume", folder.path, f"train.steps={status(folder)['step'] + 3}")
        assert said.code == 0 and f"resuming at step {int(made.removeprefix('step-'))}" in said.out
        return
    for more in (("--resume", "auto"), ("run.name=straight",)):
        subprocess.run([*command, *more], env=environment, timeout=250, check=True, capture_output=True)
    assert tree(folder.model) == tree(tmp_path / "straight" / "model") != {}


def until(condition, launched, seconds=120):
    """Wait for what a launched process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert launched.poll() is None and time.monotonic() < end, launched.stderr.read().decode()[-2000:]
        time.sleep(0.02)
