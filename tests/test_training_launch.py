"""What a launch makes of this machine: processes, threads, precision; and two processes against one."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from test_training_toy import ToyBatches, accelerator, fingerprint, toy_config, toy_state  # noqa: F401

from genvision.data import ImageSet
from genvision.errors import ConfigError, DataError, NonFiniteError, StorageError
from genvision.machine import available_cores
from genvision.spec import Draw
from genvision.training import checkpoint
from genvision.training.checkpoint import latest, load, save
from genvision.training.launch import header, make_accelerator, same_everywhere, set_threads
from genvision.training.loop import local_windows, train

needs_cpu = pytest.mark.skipif(torch.accelerator.is_available(), reason="describes a machine without an accelerator")


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@needs_cpu
def test_the_accelerator_of_this_machine(accelerator, threads, monkeypatch):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")  # would divide every loss by 4
    accelerator.state._reset_state(True)
    config = toy_config(precision="bf16")
    ours = make_accelerator(dataclasses.replace(config, run=dataclasses.replace(config.run, threads=1)))
    assert ours.device.type == "cpu" and ours.mixed_precision == "bf16" and ours.gradient_accumulation_steps == 1
    assert not ours.ddp_handler.broadcast_buffers
    assert header(ours) == f"device cpu | processes 1 | threads 1 each | precision bf16 | torch {torch.__version__}"


@needs_cpu
def test_bf16_trains_float32_weights_and_leaves_the_average_its_own(accelerator):
    """Preparing a model rebinds its forward to itself; a copy taken later would run the live weights."""
    accelerator.state._reset_state(True)
    config = toy_config(precision="bf16", steps=3)
    ours = make_accelerator(config)
    state = toy_state(config, ours, dropout=0.0)
    seen = []
    hook = state.family.head.register_forward_hook(lambda _module, _inputs, out: seen.append(out.dtype))
    for _ in train(state, ToyBatches(), config, ours):
        pass
    hook.remove()
    assert seen == [torch.bfloat16] * 3
    assert {p.dtype for module in (state.family, state.ema.module) for p in module.parameters()} == {torch.float32}
    draw = Draw(0, 0, torch.arange(4))
    batch = ToyBatches().at(draw)
    before = state.ema.module(batch, draw)["loss"]
    with torch.no_grad():
        state.family.head.bias.add_(10)
    assert torch.equal(state.ema.module(batch, draw)["loss"], before)


@needs_cpu
def test_unconnected_processes_are_refused(accelerator, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="launched as 2 processes"):
        make_accelerator(toy_config())


@pytest.mark.parametrize(
    ("environment", "asked", "local", "expected"),
    [
        ({}, None, 1, 3),  # nobody said anything: as it was
        ({"OMP_NUM_THREADS": "1"}, None, 1, 3),  # a person's choice
        ({"OMP_NUM_THREADS": "1", "ACCELERATE_MIXED_PRECISION": "no"}, None, 1, available_cores()),
        ({"OMP_NUM_THREADS": "1", "TORCHELASTIC_RUN_ID": "x"}, None, 2, max(1, available_cores() // 2)),
        ({"OMP_NUM_THREADS": "1", "ACCELERATE_MIXED_PRECISION": "no"}, None, 10**6, 1),
        ({"OMP_NUM_THREADS": "2", "ACCELERATE_MIXED_PRECISION": "no"}, None, 1, 3),
        ({"OMP_NUM_THREADS": "1", "ACCELERATE_MIXED_PRECISION": "no"}, 2, 1, 2),
    ],
)
def test_threads_are_mended_only_where_a_launcher_took_them(threads, monkeypatch, environment, asked, local, expected):
    for name in list(os.environ):
        if name.startswith(("ACCELERATE_", "TORCHELASTIC_", "OMP_")):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    torch.set_num_threads(3)
    set_threads(asked, local)
    assert torch.get_num_threads() == expected


def run_and_write(root: Path) -> None:
    """What each of two processes does, and process 0 writes down; also run here, alone, for comparison."""
    config = toy_config(micro_batch_size=3, precision="no")
    accelerator = make_accelerator(config)
    state = toy_state(config, accelerator, seed=accelerator.process_index, dropout=0.0)  # the first one's weights count
    reports = []
    for report in train(state, ToyBatches(), config, accelerator):
        reports.append((report.loss, report.terms["error"], report.grad_norm, report.lr, report.images_seen))
        if state.step == 4:
            save(state, root, "hash", keep=1)
    facts = {
        "world": accelerator.num_processes,
        "slots": gather_object([[s for w in local_windows(config.train, accelerator) for s in w.tolist()]]),
        "fingerprints": gather_object([fingerprint(state)]),
        "reports": reports,
        "weights": {name: p.flatten().tolist() for name, p in state.family.named_parameters()},
        "average": {name: p.flatten().tolist() for name, p in state.ema.module.named_parameters()},
        "faults": gather_object([shared_faults(root, accelerator)]),
    }
    if accelerator.is_main_process:
        (root / "facts.json").write_text(json.dumps(facts))


def shared_faults(root: Path, accelerator: Accelerator) -> list[str]:
    """Faults that strike one process alone; all of them must answer alike."""
    found = []
    config = toy_config()
    last = accelerator.num_processes - 1
    state = toy_state(config, accelerator, poison=2 if accelerator.process_index == last else None)
    try:
        for _ in train(state, ToyBatches(), config, accelerator):
            before = fingerprint(state)
    except NonFiniteError as fault:
        found.append(str(fault).partition("; stopped")[0])
    found.append(f"at step {state.step}, as after it: {fingerprint(state) == before}")
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, max_bad_steps=1))
    for _ in train(state, ToyBatches(), config, accelerator):
        pass
    alike = len(set(gather_object([fingerprint(state)]))) == 1
    found.append(f"at step {state.step}, {state.skipped_steps} passed over, {state.ema.updates} made, alike: {alike}")
    images = torch.full((2, 1, 4, 4), accelerator.process_index, dtype=torch.uint8)
    same_everywhere(ImageSet("toys", "train", images * 0, None, ()))
    try:
        same_everywhere(ImageSet("toys", "train", images, None, ()))
    except DataError as fault:
        found.append(str(fault).partition(" (")[0])
    if accelerator.is_main_process:
        checkpoint.commit = lambda *_: (_ for _ in ()).throw(StorageError("disk full"))
    try:
        save(state, root / "elsewhere", "hash", keep=1)
    except StorageError as fault:
        found.append(str(fault))
    try:
        local_windows(dataclasses.replace(config.train, batch_size=7), accelerator)
    except ConfigError as fault:
        found.append(str(fault))
    return found


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Facts of two processes, and where they left their checkpoint."""
    root = tmp_path_factory.mktemp("pair")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", __file__, str(root)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads((root / "facts.json").read_text()), root


@needs_cpu
def test_two_processes_equal_one(pair, accelerator, monkeypatch):
    facts, _ = pair
    config = toy_config(micro_batch_size=3)
    state = toy_state(config, accelerator, dropout=0.0)
    reports = list(train(state, ToyBatches(), config, accelerator))
    assert facts["world"] == 2 and facts["slots"] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert facts["fingerprints"][0] == facts["fingerprints"][1]
    for theirs, ours in zip(facts["reports"], reports, strict=True):
        expected = (ours.loss, ours.terms["error"], ours.grad_norm, ours.lr, ours.images_seen)
        assert theirs == pytest.approx(expected, rel=1e-6)
    for key, module in (("weights", state.family), ("average", state.ema.module)):
        for name, p in module.named_parameters():
            torch.testing.assert_close(torch.tensor(facts[key][name]), p.detach().flatten(), rtol=0, atol=1e-6)


@needs_cpu
def test_one_process_goes_on_from_a_checkpoint_of_two(pair, accelerator):
    facts, root = pair
    config = toy_config(micro_batch_size=3)
    state = toy_state(config, accelerator, dropout=0.0)
    assert json.loads((latest(root) / "state.json").read_text())["world_size"] == 2
    load(state, latest(root), "hash")
    assert (state.step, state.images_seen) == (4, 32)
    for _ in train(state, ToyBatches(), config, accelerator):
        pass
    for name, p in state.family.named_parameters():
        torch.testing.assert_close(torch.tensor(facts["weights"][name]), p.detach().flatten(), rtol=0, atol=1e-6)


@needs_cpu
def test_a_fault_of_one_process_is_everybodys(pair):
    facts, root = pair
    expected = [
        "step 3: loss is nan, error is nan, grad_norm is nan; images: toy 2.7",
        "at step 2, as after it: True",
        "at step 12, 1 passed over, 11 made, alike: True",
        "toys: the processes have read different images",
        "disk full",
        "train.batch_size=7: not divisible by 2 processes",
    ]
    assert facts["faults"] == [expected, expected]
    assert not (root / "elsewhere").exists()


if __name__ == "__main__":
    run_and_write(Path(sys.argv[1]))
