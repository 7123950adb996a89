"""What saves memory or time in training changes no number but by rounding, and nothing that is saved."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from cells import CELL_IDS, CELLS, cell_config, draw_of, make_cell, randomise, some_batch
from runs import CELLS as RUNS
from runs import fresh_launch, one_run, pictures, train  # noqa: F401
from safetensors.torch import load_file
from torch import nn

from genvision.config.schema import EmaConfig, TrainConfig
from genvision.networks.network import REPEATED_BLOCKS
from genvision.run_folder import resume_hash
from genvision.spec import ImageSpec
from genvision.training import checkpoint
from genvision.training.launch import make_accelerator
from genvision.training.state import TrainState, make_state, switch

SPEC = ImageSpec(1, 8, 8, classes=3)
OFF = TrainConfig(gradient_checkpointing=False, compile=False, shard=False)
SWITCHES = {"bf16": "train.precision=bf16", "checkpointing": "train.gradient_checkpointing=true"}
SWITCHES["compile"] = "train.compile=true"


def blocks(cell: nn.Module) -> list[nn.Module]:
    return [module for module in cell.modules() if type(module).__name__ in REPEATED_BLOCKS]


@pytest.mark.parametrize(("family", "trunks"), CELLS, ids=CELL_IDS)
def test_gradient_checkpointing_runs_every_block_twice_to_the_same_gradient(family, trunks) -> None:
    cell = randomise(make_cell(family, trunks, SPEC, trunk={"dropout": 0.3}))
    seen: list[nn.Module] = []
    for block in blocks(cell):
        block.register_forward_pre_hook(lambda module, _: seen.append(module))

    def gradient() -> tuple[torch.Tensor, list[torch.Tensor]]:
        torch.manual_seed(3)
        seen.clear()
        loss = cell(some_batch(2, SPEC), draw_of(2))["loss"].sum()
        return loss, torch.autograd.grad(loss, list(cell.parameters()))

    loss, plain = gradient()
    assert sorted(map(id, seen)) == sorted(map(id, blocks(cell)))
    switch(cell, dataclasses.replace(OFF, gradient_checkpointing=True))
    again, checkpointed = gradient()
    assert sorted(map(id, seen)) == sorted(2 * list(map(id, blocks(cell))))
    assert torch.equal(loss, again)
    assert all(torch.equal(a, b) for a, b in zip(plain, checkpointed, strict=True))


def test_what_is_drawn_and_validated_is_never_run_twice() -> None:
    cell = make_cell("diffusion", ("vit",), SPEC)
    switch(cell, dataclasses.replace(OFF, gradient_checkpointing=True))
    seen: list[nn.Module] = []
    for block in blocks(cell):
        block.register_forward_pre_hook(lambda module, _: seen.append(module))
    with torch.no_grad():
        cell.loss(some_batch(2, SPEC), draw_of(2))
    cell.sample(1, chunk_size=1, steps=1)
    assert len(seen) == 2 * len(blocks(cell))


def test_switches_are_no_part_of_what_a_checkpoint_must_share() -> None:
    config = cell_config("diffusion", ("vit",))

    def hash_of(**options) -> str:
        return resume_hash(dataclasses.replace(config, train=dataclasses.replace(config.train, **options)))

    assert hash_of(gradient_checkpointing=True, compile=True) == hash_of(gradient_checkpointing=False, compile=False)
    assert hash_of(seed=1) != hash_of(seed=2)


@pytest.mark.slow
def test_compiled_weights_and_checkpoints_fit_uncompiled_networks(tmp_path) -> None:
    train = dataclasses.replace(
        OFF, steps=1, compile=True, learning_rate=1e-3, weight_decay=0.0, betas=(0.9, 0.99), precision="no"
    )
    states: list[TrainState] = []
    for config in (train, dataclasses.replace(train, compile=False)):
        config = dataclasses.replace(cell_config("diffusion", ("vit",)), train=config, ema=EmaConfig(decay=0.9))
        accelerator = make_accelerator(config)
        states.append(make_state(make_cell("diffusion", ("vit",), SPEC, seed=len(states)), config, accelerator))
    compiled, plain = states
    loss = compiled.family(some_batch(2, SPEC), draw_of(2))["loss"]
    loss.sum().backward()
    compiled.optimizer.step()
    folder = checkpoint.save(compiled, tmp_path / "checkpoints", "hash", keep=1)
    checkpoint.load(plain, folder, "hash")
    compiled.family.denoiser.save_pretrained(tmp_path / "denoiser")
    saved = load_file(tmp_path / "denoiser" / "diffusion_pytorch_model.safetensors")
    assert saved.keys() == plain.family.denoiser.state_dict().keys()
    again, theirs = (state.family(some_batch(2, SPEC), draw_of(2))["loss"] for state in states)
    torch.testing.assert_close(again, theirs, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(again, loss)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # most of it compiles
@pytest.mark.parametrize(("family", "backbone"), RUNS)
def test_ten_steps_of_every_cell_with_every_switch(family, backbone, pictures, tmp_path) -> None:
    """The loss after ten steps: equal with checkpointing, near with the others."""
    losses = {}
    for name, word in {"plain": "train.seed=0", **SWITCHES}.items():
        words = (f"family={family}", f"backbone={backbone}", "trunk.dropout=0.1", "train.steps=10", "log.every_steps=1")
        said = train(pictures, tmp_path / name, *words, "sample.num_images=1", word)
        assert said.code == 0, said.err
        lines = (one_run(tmp_path / name).path / "metrics.jsonl").read_text().splitlines()
        losses[name] = [json.loads(line)["loss"] for line in lines]
        assert len(losses[name]) == 10
    assert losses["checkpointing"] == losses["plain"]
    assert losses["compile"][0] == pytest.approx(losses["plain"][0], rel=0.1)  # it draws other dropout
    assert losses["compile"][-1] == pytest.approx(losses["plain"][-1], rel=0.1)
    assert losses["bf16"] == pytest.approx(losses["plain"], rel=0.05)
    assert losses["bf16"] != losses["plain"]
