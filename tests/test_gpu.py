"""On an accelerator: the numbers of the CPU, the same bits after a stop, every precision, and errors with a remedy.

    pytest -m gpu -n 8

Every process asks for the workspace of cuBLAS that makes sums come in one order before it first calls it.
"""

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
from cells import CELL_IDS, CELLS, cell_config, draw_of, make_cell, randomise, some_batch, some_images
from runs import CELLS as BACKBONE_CELLS
from runs import TINY, genvision, reset_launch
from test_training_toy import TRAIN, fingerprint
from torch.nn.attention import SDPBackend, sdpa_kernel

from genvision.build import build
from genvision.config import load_config
from genvision.config.schema import EmaConfig
from genvision.config.trunks import BACKBONES, FAMILY_ROLES
from genvision.data import Batches, ImageSet, load
from genvision.evaluation.extractors import make_extractor
from genvision.evaluation.record import FILE_NAME, read_record
from genvision.layers.attention import attend
from genvision.spec import Batch, ImageSpec
from genvision.training import checkpoint
from genvision.training.loop import train
from genvision.training.state import make_state, switch

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator of CUDA"),
]
ROOT = Path(__file__).resolve().parents[1]
SPEC = ImageSpec(1, 8, 8, classes=3)
IMAGES = ImageSet("noise", "train", some_images(20, SPEC), torch.arange(20) % 3, ("a", "b", "c"))
NINE = [f"{family}-{backbone}" for family, backbone in BACKBONE_CELLS]


@pytest.fixture(autouse=True)
def exact():
    """Products and convolutions in full float32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.fixture
def one_order():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def on_both(cell):
    """The same randomised cell in eval mode on the CPU and on the accelerator."""
    here, there = (randomise(make_cell(*cell, SPEC)).eval() for _ in range(2))
    return here, there.cuda()


def moved(batch: Batch) -> Batch:
    return Batch(batch.images.cuda(), None if batch.labels is None else batch.labels.cuda())


@pytest.mark.parametrize("cell", CELLS, ids=CELL_IDS)
def test_losses_and_gradients_are_those_of_the_cpu(cell):
    batch, draw = some_batch(4, SPEC), draw_of(4)
    grads, losses = [], []
    for family, data, asked in zip(
        on_both(cell), (batch, moved(batch)), (draw, draw._replace(slots=draw.slots.cuda())), strict=True
    ):
        loss = family(data, asked)["loss"]
        loss.sum().backward()
        losses.append(loss.detach().cpu())
        grads.append(torch.cat([p.grad.flatten().cpu() for p in family.parameters() if p.grad is not None]))
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-5)
    assert torch.linalg.vector_norm(grads[1] - grads[0]) < 1e-3 * torch.linalg.vector_norm(grads[0])


@pytest.mark.parametrize("cell", CELLS, ids=CELL_IDS)
def test_images_are_those_of_the_cpu(cell):
    options = {"steps": 5} if cell[0] == "diffusion" else {}
    here, there = (family.sample(6, seed=3, chunk_size=6, **options).int() for family in on_both(cell))
    assert here.float().std() > 10  # images, not one colour
    close = ((here - there).abs() <= 1).float().mean()
    assert close > (0.9 if cell[0] == "autoregressive" else 0.99)  # there a level that flips changes those after it


@pytest.mark.parametrize("causal", [False, True])
def test_attention_has_a_fused_kernel_in_bf16(causal):
    q, k, v = torch.randn(3, 2, 4, 64, 32, device="cuda", generator=torch.Generator("cuda").manual_seed(0))
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):  # raises where nothing else would do
        fused = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), causal=causal)
    with sdpa_kernel(SDPBackend.MATH):
        torch.testing.assert_close(fused.float(), attend(q, k, v, causal=causal), rtol=0.02, atol=0.02)


def trained(family: str, backbone: str, root: Path, *, stop: int | None = None, precision: str = "no", steps: int = 6):
    """(state, reports) of a tiny cell trained on the accelerator, after `stop` thrown away and gone on with."""
    trunks = tuple(BACKBONES[backbone][role] for role in FAMILY_ROLES[family])
    config = cell_config(family, trunks, trunk={"dropout": 0.2})
    own = {"steps": steps, "batch_size": 6, "micro_batch_size": 4, "gradient_checkpointing": False, "compile": False}
    config = dataclasses.replace(config, train=dataclasses.replace(TRAIN, **own), ema=EmaConfig(0.9))
    reset_launch()
    accelerator, reports = Accelerator(mixed_precision=precision), []
    for attempt, end in enumerate((stop, None) if stop else (None,)):
        state = make_state(randomise(build(config, SPEC), seed=attempt), config, accelerator)
        batches = Batches(IMAGES, batch_size=6, seed=5, flip=True, crop_padding=1, device=accelerator.device)
        if attempt:
            checkpoint.load(state, checkpoint.latest(root), "hash")
        for report in train(state, batches, config, accelerator):
            reports.append(report)
            if state.step == end:
                checkpoint.save(state, root, "hash", keep=1)
                break
    return state, reports


@pytest.mark.parametrize(("family", "backbone"), BACKBONE_CELLS, ids=NINE)
def test_a_resumed_run_has_the_bits_of_one_that_never_stopped(family, backbone, tmp_path, one_order):
    whole, reports = trained(family, backbone, tmp_path)
    again, parts = trained(family, backbone, tmp_path, stop=3)
    assert next(whole.family.parameters()).is_cuda
    assert [(r.step, r.terms, r.grad_norm) for r in parts] == [(r.step, r.terms, r.grad_norm) for r in reports]
    assert fingerprint(again) == fingerprint(whole)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize(("family", "backbone"), BACKBONE_CELLS, ids=NINE)
def test_low_precision_trains_as_float32_does(family, backbone, precision, tmp_path):
    first, last = (
        [step.terms["loss"] for step in trained(family, backbone, tmp_path, precision=how)[1]]
        for how in ("no", precision)
    )
    assert len(first) == len(last) == 6
    assert last == pytest.approx(first, rel=0.05)


def test_checkpointing_a_block_keeps_the_loss_and_frees_memory():
    words = ["family=diffusion", "backbone=vit", "size=small", "data=fashion_mnist_mini"]
    found = []
    for checkpointing in ("false", "true"):
        config = load_config(None, [*words, f"train.gradient_checkpointing={checkpointing}"])
        spec = ImageSpec(1, 28, 28, classes=10)
        family = build(config, spec).cuda().train()
        switch(family, config.train)
        torch.cuda.reset_peak_memory_stats()
        loss = family(moved(some_batch(64, spec)), draw_of(64)._replace(slots=torch.arange(64).cuda()))["loss"].mean()
        loss.backward()
        found.append((loss.item(), torch.cuda.max_memory_allocated()))
        del family, loss
    (kept, much), (freed, little) = found
    assert freed == pytest.approx(kept, rel=1e-5)
    assert little < 0.6 * much


def test_features_are_those_of_the_cpu():
    images = load(load_config(None, ["data=fashion_mnist_mini"]).data, "test").images[:32]
    here, there = (make_extractor("efficientnet-lite0", None, device)(images).pool for device in ("cpu", "cuda"))
    assert torch.linalg.vector_norm(there - here) < 1e-4 * torch.linalg.vector_norm(here)


@pytest.mark.parametrize(("family", "backbone"), BACKBONE_CELLS, ids=NINE)
def test_a_run_from_configuration_to_record(family, backbone, tmp_path):
    words = [word for word in TINY if not word.startswith(("train.precision", "sample.num"))]
    scored = ("sample.num_images=24", "score.num_images=24", "score.extractor=efficientnet-lite0")
    said = genvision(
        *("train", "data=fashion_mnist_mini", f"family={family}", f"backbone={backbone}", *words, *scored),
        *(f"run.dir={tmp_path}", "run.name=one"),
    )
    assert said.code == 0, said.err
    record = read_record(tmp_path / "one" / FILE_NAME)
    assert record["status"] == "finished" and record["device"] == torch.cuda.get_device_name()
    assert record["precision"] == "bf16" and record["metrics"]["frechet"]["value"] > 0


def test_a_compiled_run_has_the_losses_of_one_that_is_not(tmp_path):
    words = [word for word in TINY if not word.startswith("log.every")]
    told = []
    for compiled in ("false", "true"):
        said = genvision(
            *("train", "data=fashion_mnist_mini", "family=diffusion", "backbone=vit", *words, "log.every_steps=1"),
            *(f"train.compile={compiled}", f"run.dir={tmp_path}", f"run.name={compiled}"),
        )
        assert said.code == 0, said.err
        lines = (tmp_path / compiled / "metrics.jsonl").read_text().splitlines()
        told.append([json.loads(line)["loss"] for line in lines])
    assert told[1] == pytest.approx(told[0], rel=1e-3)


def test_out_of_memory_says_what_to_do(tmp_path):
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.01)
    try:
        said = genvision(
            *("train", "data=fashion_mnist_mini", "family=diffusion", "backbone=vit", "size=small"),
            *("train.batch_size=4096", f"run.dir={tmp_path}", "run.name=large"),
        )
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert said.code == 7 and said.last_error.startswith("out of memory: "), said.err
    assert "train.micro_batch_size" in said.last_error


def test_the_doctor_names_the_device():
    assert f"cuda:0 {torch.cuda.get_device_name()}" in genvision("doctor").out


def test_the_launch_file_for_one_gpu(tmp_path):
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", "configs/accelerate/one_gpu.yaml"]
    words = ["data=fashion_mnist_mini", "family=vae", "backbone=mixer", *TINY, f"run.dir={tmp_path}", "run.name=one"]
    done = subprocess.run(
        [*command, "train_gen.py", *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"device {torch.cuda.get_device_name()} | processes 1" in done.stdout
