"""Any number of processes is one: the same files of images, the same gradient, and runs that go from two to one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from runs import FAMILIES, fresh_launch, pictures, trained, tree  # noqa: F401

pytestmark = pytest.mark.skipif(torch.accelerator.is_available(), reason="describes a machine without an accelerator")
DRIVER = Path(__file__).with_name("worlds.py")


def worlds(*arguments: object):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(DRIVER), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("worlds")


@pytest.fixture(scope="module")
def told(place):
    return worlds("together", place)


@pytest.mark.usefixtures("told")
def test_exactly_n_images_without_duplicates_by_one_two_and_three_processes(place):
    for family in FAMILIES:
        for n, chunk in ((1, 8), (7, 8), (64, 8), (64, 32)):
            drawn = [tree(place / "drawn" / str(size) / f"{family}-{n}-{chunk}") for size in (1, 2, 3)]
            assert list(drawn[0]) == [f"{k:06d}.png" for k in range(n)] and len({*drawn[0].values()}) == n
            assert drawn[1] == drawn[0] and drawn[2] == drawn[0], (family, n, chunk)


@pytest.mark.slow
def test_a_thousand_images_of_every_cell_by_one_two_and_three_processes(tmp_path):
    compared = 0
    for cell in worlds("all", tmp_path):
        for n in (1, 7, 64, 1000):
            for chunk in (8, 32):
                drawn = [tree(tmp_path / str(size) / f"{cell}-{n}-{chunk}") for size in (1, 2, 3)]
                assert list(drawn[0]) == [f"{k:06d}.png" for k in range(n)] and len({*drawn[0].values()}) == n
                assert drawn[1] == drawn[0] and drawn[2] == drawn[0], (cell, n, chunk)
                compared += 1
    assert compared == 72


def test_sampling_killed_ten_times_and_given_again(tmp_path, trained):
    killed, left, again, straight = worlds("kill", tmp_path, trained("vae").path)
    assert killed and left == 1  # each one removed what the one before had left
    assert again == straight == [0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "straight"]
    files = tree(tmp_path / "killed")
    assert list(files) == [f"{k:06d}.png" for k in range(12)] and files == tree(tmp_path / "straight")


def test_a_run_goes_from_one_process_to_two_and_back(told):
    (first,), second, (last,) = told["legs"]
    assert second[0]["bits"] == second[1]["bits"]
    rates = first["rates"] | second[0]["rates"] | last["rates"]
    assert rates == told["straight"]["rates"] and len(rates) == 12  # exactly
    for leg, steps in ((first, range(4)), (second[0], range(4, 8)), (last, range(8, 12))):
        for step in steps:
            asked = [slot for each in leg["slots"] for slot in each[str(step)]]
            assert sorted(asked) == list(range(8)) and len(leg["slots"]) == (2 if step in range(4, 8) else 1)
    ours, theirs = torch.tensor(told["straight"]["weights"]), torch.tensor(last["weights"])
    assert (ours - theirs).norm() / ours.norm() <= 1e-6


@pytest.mark.parametrize(("dtype", "bound"), [("torch.float32", 1e-6), ("torch.float64", 1e-12)])
def test_two_processes_have_the_gradient_of_one(told, dtype, bound):
    (one,), two = (torch.tensor(grads, dtype=torch.float64) for grads in told["gradients"][dtype])
    assert torch.equal(two[0], two[1])
    assert (two[0] - one).abs().max() / one.abs().max() <= bound
