"""Damaged weights end in one kind of error, whatever was damaged; secrets and sockets stay untouched."""

from __future__ import annotations

import os
import random
import resource
import socket
import subprocess
import sys

import pytest
from runs import fresh_launch, genvision, pictures, train  # noqa: F401
from test_training_checkpoint import HASH
from test_training_toy import ToyBatches, accelerator, fingerprint, toy_config, toy_state  # noqa: F401

from genvision.errors import ConfigError, RunError
from genvision.training.checkpoint import FILES, load, save
from genvision.training.folders import commit
from genvision.training.loop import train as train_steps


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Bits flipped, a piece cut out, doubled or filled, a length in the header grown."""
    whole, kind = bytearray(content), chance.randrange(5)
    a, b = sorted(chance.randrange(len(whole)) for _ in range(2))
    if kind == 0:
        for _ in range(chance.randrange(1, 9)):
            whole[chance.randrange(len(whole) if chance.random() < 0.3 else min(600, len(whole)))] ^= (
                1 << chance.randrange(8)
            )
    elif kind == 1:
        del whole[a:b]
    elif kind == 2:
        whole[a:a] = whole[a:b]
    elif kind == 3:
        whole[a:b] = chance.choice([b"\x00", b"\xff", b"9", b"["]) * (b - a)
    else:
        whole[:8] = chance.choice([2**63 - 1, 2**32, len(whole), 0, 2**64 - 1]).to_bytes(8, "little")
    return bytes(whole)


def shapes_of(state) -> list:
    return [tensor.shape for module in (state.family, state.ema.module) for tensor in module.state_dict().values()]


def memory() -> int:
    """The most bytes that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("examples", [300, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.timeout(900)
def test_mutated_weights_are_refused_or_are_weights(accelerator, tmp_path, monkeypatch, examples):
    """Valid by their manifest, so that it is the readers that are tried. What is refused leaves the state untouched."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # three quarters of the time, and of other tests
    config, chance = toy_config(steps=2), random.Random(0)
    state = toy_state(config, accelerator)
    for _ in train_steps(state, ToyBatches(), config, accelerator):
        pass
    folder = save(state, tmp_path, HASH, keep=1)
    whole = {name: (folder / name).read_bytes() for name in FILES}
    fresh, refused = toy_state(config, accelerator), 0
    before, shapes, resident = fingerprint(fresh), shapes_of(fresh), memory()
    for _ in range(examples):
        name = chance.choice(FILES)
        commit(folder, {**whole, name: mutated(whole[name], chance)}.items())
        if fingerprint(fresh) != before:
            fresh = toy_state(config, accelerator)
        try:
            load(fresh, folder, HASH)
        except RunError as error:
            assert "\n" not in str(error) and fingerprint(fresh) == before
            refused += 1
        except ConfigError:  # a hash of another configuration is a legible one
            assert name == "state.json"
        assert shapes_of(fresh) == shapes
    assert refused > examples // 2
    assert memory() - resident < 200 * 2**20


def test_a_header_that_claims_more_than_the_file_allocates_nothing(accelerator, tmp_path):
    """A shape is compared with the model's before memory is asked for."""
    state = toy_state(toy_config(), accelerator)
    folder = save(state, tmp_path, HASH, keep=1)
    header = b'{"head.bias":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
    content = len(header).to_bytes(8, "little") + header + bytes(64)
    commit(folder, {name: content if name == FILES[0] else (folder / name).read_bytes() for name in FILES}.items())
    with pytest.raises(RunError, match="damaged"):
        load(state, folder, HASH)


def test_secrets_of_the_environment_reach_no_file(pictures, tmp_path, monkeypatch):
    for name in ("HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "hunter2-hunter2")
    said = train(pictures, tmp_path, "backbone=vit", "family=vae")
    doctor, traceback = genvision("doctor"), genvision("train", "train.steps=x", "--debug")
    for each in (said, doctor, traceback):
        assert "hunter2" not in each.out + each.err
    assert (said.code, doctor.code, traceback.code) == (0, 0, 2) and "Traceback" in traceback.err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 15 and not [path for path in files if b"hunter2" in path.read_bytes()]


def test_no_test_reaches_the_network():
    with pytest.raises(OSError, match="tests have no network"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "OSError: tests have no network" in done.stderr
