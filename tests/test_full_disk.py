"""A disk that is really full, or refuses: one line, exit code 6, the checkpoints before untouched, the same bits after.

The fault points of `test_kills.py` say "no space" at every point of writing; here a file system of a few megabytes says
so, with everything that comes along: files half written, no room for the reason either, flushes that fail late.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import subprocess

import pytest
from runs import fresh_launch, genvision, pictures, train, trained, tree  # noqa: F401
from test_training_toy import ToyBatches, accelerator, toy_config, toy_state  # noqa: F401

from genvision import experiment
from genvision.errors import StorageError
from genvision.experiment import Experiment
from genvision.run_folder import RunFolder
from genvision.training.checkpoint import latest, save
from genvision.training.metrics import MetricsLog

MIB = 2**20


@pytest.fixture
def disk(tmp_path):
    """A file system of 8 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = shutil.which("mount") and os.geteuid() == 0
    if not mounted or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", place], check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    yield place
    subprocess.run(["umount", place], check=True)


def fill(disk, left):
    """Leave so many bytes."""
    with (disk / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        file.write(bytes(shutil.disk_usage(disk).free - left))


# what is being written when the room runs out, after which step, and what room there is for it
FULL = {"checkpoint": (4, 300_000), "anything": (4, 0), "model": (6, 100_000), "leaderboard": (6, 220_000)}


@pytest.mark.parametrize("what", FULL)
def test_a_full_disk_loses_nothing(pictures, trained, disk, monkeypatch, what):
    step, left = FULL[what]
    watch = Experiment._watch

    def watched(self, report, *rest):
        watch(self, report, *rest)
        if report.step == step:
            fill(disk, left)

    with monkeypatch.context() as patch:
        patch.setattr(Experiment, "_watch", watched)
        if what == "leaderboard":
            build = experiment.build_leaderboard
            patch.setattr(experiment, "build_leaderboard", lambda *place: fill(disk, 30_000) or build(*place))
        said = train(pictures, disk / "runs", "backbone=vit", "run.name=run", "log.every_steps=1")
    folder = RunFolder(disk / "runs" / "run")
    line = r"cannot write (/.*): .*No space left on device.* \(.*\d\.\d MiB free\); free some space.*"
    assert said.code == 6 and re.fullmatch(line, said.last_error), said.err
    assert ("/step-000000006: " in said.last_error) == (step == 4)  # the cause, not what failed after it
    if what == "checkpoint":
        assert re.search(r"/step-000000006: No space .* \(0\.\d MiB needed, 0\.3 MiB free\)", said.last_error)
    assert [path.name for path in disk.rglob("*.tmp*")] == [] == list(folder.checkpoints.glob(".tmp*"))
    kept = {"step-000000003"} if step == 4 else {"step-000000003", "step-000000006"}
    assert {path.name for path in folder.checkpoints.iterdir()} == kept and latest(folder.checkpoints).name == max(kept)
    expected = tree(trained("diffusion").checkpoints)
    for file, digest in tree(folder.checkpoints).items():
        assert file.endswith(("state.json", "MANIFEST.json")) or digest == expected[file]
    state = json.loads((folder.path / "status.json").read_text())["state"]
    assert state == ("running" if what == "anything" else "failed")  # there was no room to say more

    (disk / "ballast").unlink()
    said = genvision("train", "--resume", folder.path)
    assert said.code == 0, said.err
    assert json.loads((folder.path / "status.json").read_text())["state"] == "finished"
    assert tree(folder.model) == tree(trained("diffusion").model) != {}
    assert tree(folder.samples) == tree(trained("diffusion").samples)


@pytest.fixture
def limit():
    """Refuse to let files grow past a size, as a quota does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_quota_loses_nothing(accelerator, tmp_path, limit):
    config = toy_config()
    state = toy_state(config, accelerator)
    save(state, tmp_path / "root", "hash", keep=1)
    before = tree(tmp_path)
    state.step = 1
    for size in (0, 100, 4000):
        limit(size)
        with pytest.raises(StorageError, match=r"step-000000001: File too large \(0\.0 MiB needed, .* MiB free\)"):
            save(state, tmp_path / "root", "hash", keep=1)
        limit(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
        assert tree(tmp_path) == before
    assert latest(save(state, tmp_path / "root", "hash", keep=1).parent).name == "step-000000001"


def test_a_log_that_finds_no_room_says_so_once(tmp_path, limit):
    path = tmp_path / "metrics.jsonl"
    with pytest.raises(StorageError, match="metrics.jsonl: File too large") as caught, MetricsLog(path) as log:
        log.write({"step": 1})
        limit(20)
        log.write({"step": 2})
    assert caught.value.exit_code == 6
    limit(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    with MetricsLog(path, step=1) as log:  # the line that was cut short is gone
        log.write({"step": 2})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]


def test_a_folder_that_may_not_be_written_is_said(accelerator, tmp_path):
    """As another user: nothing is forbidden to root."""
    state = toy_state(toy_config(), accelerator)
    root = save(state, tmp_path / "root", "hash", keep=1).parent
    state.step = 1
    before = tree(root)
    root.chmod(0o555)
    user = os.geteuid()
    with pytest.raises(StorageError, match="step-000000001: Permission denied; mend the permissions") as caught:
        os.seteuid(user or 65534)
        try:
            save(state, root, "hash", keep=1)
        finally:
            os.seteuid(user)
    assert caught.value.exit_code == 6 and tree(root) == before
    root.chmod(0o755)
