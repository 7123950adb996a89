"""Runs from configuration to leaderboard row: what they leave behind, how they go on, and how they fail."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cells import make_cell, randomise
from PIL import Image
from runs import (  # noqa: F401
    CELLS,
    FAMILIES,
    TINY,
    fresh_launch,
    genvision,
    one_run,
    pictures,
    train,
    trained,
    tree,
    write_pictures,
)
from safetensors.torch import load_file
from torch import Tensor, nn

from genvision import build, data, load, run_samples
from genvision.config import config_hash, load_config
from genvision.config.ranges import leaves
from genvision.errors import StorageError
from genvision.evaluation import registered
from genvision.evaluation.leaderboard import collect
from genvision.evaluation.protocol import build_protocol
from genvision.evaluation.record import read_record
from genvision.experiment import Experiment
from genvision.families import Diffusion
from genvision.initialise import carry_over, initialise, resize_positions
from genvision.outcome import Outcome, git_state, summary
from genvision.run_folder import RunFolder, resume_hash
from genvision.scoring import Scored
from genvision.spec import Batch, Draw, ImageSpec

SCORED = ("score.num_images=40", "score.extractor=efficientnet-lite0")
EVALUATIONS = {
    "vae": "one network evaluation",
    "autoregressive": "64 network evaluations",
    "diffusion": "3 network evaluations",
}
TEST_IMAGES = 10  # of the 60 pictures, by the hash of their paths


def status(folder):
    return json.loads((folder.path / "status.json").read_text())


def metrics(folder):
    return [json.loads(line) for line in folder.metrics.read_text().splitlines()]


def interrupt_after(monkeypatch, step):
    """Control-C once `step` steps have been made and watched."""
    watch = Experiment._watch

    def watched(self, report, *rest):
        watch(self, report, *rest)
        if report.step == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(Experiment, "_watch", watched)


def poison(monkeypatch, step):
    """The loss of step `step` (counted from 1) is not a number."""
    real = Diffusion.loss

    def loss(self, batch, draw):
        terms = real(self, batch, draw)
        return {name: value * math.nan for name, value in terms.items()} if draw.step == step - 1 else terms

    monkeypatch.setattr(Diffusion, "loss", loss)


@pytest.mark.parametrize(("family", "backbone"), CELLS)
def test_every_cell_goes_from_configuration_to_leaderboard_row(pictures, tmp_path, family, backbone):
    said = train(pictures, tmp_path, f"family={family}", f"backbone={backbone}")
    assert said.code == 0, said.err
    folder = one_run(tmp_path)
    assert folder.name == f"{family}-{backbone}-folder-001"
    assert status(folder) == {"state": "finished", "step": 6, "total_steps": 6}

    asked = load_config(None, [f"data=folder:{pictures}", f"family={family}", f"backbone={backbone}", *TINY])
    config = dataclasses.replace(asked, run=dataclasses.replace(asked.run, dir=str(tmp_path)))
    assert load_config(folder.config) == config

    record = read_record(folder.result)
    train_set = data.load(config.data, "train")
    cost = build.cost(config, train_set.spec)
    expected = {
        **{"run": folder.name, "status": "finished", "family": family, "backbone": backbone, "data": "folder"},
        **{"size": "tiny", "seed": 0, "config_hash": config_hash(config), "dataset_sha256": train_set.fingerprint},
        **{"parameters": cost.parameters, "macs_per_image": cost.macs_per_image, "images_seen": 48, "steps": 6},
        **{"sampled_images": 6, "processes": 1, "precision": "no", "grid": "samples/final.png", "reason": None},
        "network_evaluations_per_image": {"vae": 1, "autoregressive": 64, "diffusion": 3}[family],
        "note": f"not scored (score.num_images=0); an image takes {EVALUATIONS[family]}",
    }
    assert {key: record[key] for key in expected} == expected
    assert record["command"].startswith("genvision train data=folder:")
    kind = {"vae": "bound", "autoregressive": "exact", "diffusion": None}[family]
    assert (record["bits_per_dim"] or {"kind": None})["kind"] == kind
    if kind:
        assert record["bits_per_dim"]["num_images"] == len(data.load(config.data, "test")) == TEST_IMAGES
        assert 5 < record["bits_per_dim"]["value"] < 13 and f"({kind}, {TEST_IMAGES} test images)" in said.out

    lines = metrics(folder)
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert [line["images_seen"] for line in lines] == [16, 32, 48]
    assert [math.isfinite(line["loss"]) for line in lines] == [True] * 3
    assert [line.get("validation_loss") is not None for line in lines] == [False, False, True]
    assert [path.name for path in sorted(folder.checkpoints.iterdir())] == ["step-000000003", "step-000000006"]
    assert {path.name for path in folder.samples.iterdir()} == {"final.png", "final.npz"}
    with np.load(folder.samples / "final.npz") as archive:
        drawn = load(folder.path)(6, output_type="pt").images
        assert np.array_equal(archive["images"], drawn.numpy()) and archive["labels"].tolist() == [0, 1, 0, 1, 0, 1]
    grid = np.array(Image.open(folder.samples / "final.png"))[2:, 2:, 0]
    shown = grid.reshape(2, 18, 2, 18).transpose(0, 2, 1, 3)[:, :, :16:2, :16:2]  # log.grid_images, a class a column
    assert np.array_equal(shown.reshape(4, 8, 8), drawn[:4, 0].numpy())

    board = tmp_path / "leaderboard"
    assert {path.name for path in board.iterdir()} == {
        "index.html",
        "leaderboard.json",
        "leaderboard.csv",
        "leaderboard-seeds.csv",
        "leaderboard.md",
    }
    assert folder.name in (board / "index.html").read_text()
    for path in (folder.path / "samples/final.png", folder.model, folder.result, board / "index.html"):
        assert str(path) in said.out


def test_a_recorded_configuration_gives_the_same_run_again(trained, tmp_path):
    folder = trained("diffusion")
    said = genvision("train", "--config", folder.config, f"run.dir={tmp_path}", "run.name=again")
    assert said.code == 0, said.err
    assert tree(tmp_path / "again" / "model") == tree(folder.model)
    assert tree(tmp_path / "again" / "samples") == tree(folder.samples)


def test_default_names_are_numbered_and_a_given_one_is_never_taken(pictures, tmp_path):
    for _ in range(2):
        assert train(pictures, tmp_path, "backbone=vit", "train.steps=1").code == 0
    assert train(pictures, tmp_path, "backbone=vit", "train.steps=1", "run.name=mine").code == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"diffusion-vit-folder-001", "diffusion-vit-folder-002", "mine", "leaderboard"}
    rows = (tmp_path / "leaderboard" / "leaderboard.json").read_text()
    assert all(name in rows for name in names - {"leaderboard"})
    before = tree(tmp_path)
    said = train(pictures, tmp_path, "backbone=vit", "train.steps=1", "run.name=mine")
    assert said.code == 2 and f"run {tmp_path}/mine exists already; go on with --resume" in said.error
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["score.num_images=4"], 3, "efficientnet-lite0"),  # the alternative to Inception is named
        (["score.num_images=4", "score.extractor=vgg"], 2, "score.extractor=vgg"),
        (["score.num_images=3", "score.extractor=efficientnet-lite0"], 3, "3 images are too few to score"),
        (["score.num_images=4", "score.extractor=efficientnet-lite0", "data.channels=4"], 2, "images of 4 channels"),
        (["data.path=/no/such/folder"], 3, "/no/such/folder"),
        (
            ["score.num_images=4", "score.extractor=efficientnet-lite0", "score.reference=folder:/no/such"],
            3,
            "/no/such",
        ),
        (["data.height=9"], 2, "9x8 pixels or codes cannot be cut into 2x2 patches"),
        (["sample.scheduler=ddim"], 2, "sample.scheduler=ddim cannot serve family.path=flow"),
        (["data.crop_padding=8"], 2, "data.crop_padding=8"),
        (["data.validation_fraction=0.001"], 3, "leave no validation images"),
        (["train.init_from=/no/such/run"], 4, "/no/such/run"),
        (["log.tensorboard=true"], 2, "pip install 'genvision[tensorboard]'"),
        (["--resume", "auto"], 2, "set run.name"),
        (["--resume", "auto", "run.name=new", "score.num_images=4"], 3, "efficientnet-lite0"),
    ],
)
def test_what_cannot_work_is_refused_before_a_folder_is_made(pictures, tmp_path, monkeypatch, words, code, message):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    runs = tmp_path / "runs"
    said = train(pictures, runs, "backbone=vit", *words)
    assert said.code == code and message in said.error, said.err
    assert not runs.exists()


def no_network(*_, **__):
    raise OSError("no network here")


def test_a_set_without_held_out_images_is_trained_all_the_same(pictures, tmp_path):
    said = train(pictures, tmp_path, "backbone=vit", "data.validation_fraction=0", "train.validate_every_steps=2")
    assert said.code == 0, said.err
    assert all("validation_loss" not in line for line in metrics(one_run(tmp_path)))


def test_a_tokenizer_says_how_much_of_its_codebook_it_uses_and_what_its_samples_are(pictures, tmp_path):
    words = ("family=vae", "backbone=convnet", "family.latent=vq", "family.codebook_size=8", "run.name=tokens")
    said = train(pictures, tmp_path, *words)
    assert said.code == 0, said.err
    folder = RunFolder(tmp_path / "tokens")
    record, told = read_record(folder.result), metrics(folder)[-1]
    assert record["bits_per_dim"] is None and "codes are drawn uniformly" in record["note"]
    assert record["validation"]["codebook_usage"] == told["codebook_usage"] in [k / 8 for k in range(1, 9)]
    assert 1 <= told["codebook_perplexity"] <= 8 * told["codebook_usage"] + 1e-3 and 0 < told["psnr_db"] < 30
    assert f"codebook_usage {told['codebook_usage']:.4g}  codebook_perplexity " in said.out
    assert "note: codes are drawn uniformly" in said.out
    said = genvision("sample", folder.path, "--num-images", 2, "--out", tmp_path / "out")
    assert said.code == 0 and "codes are drawn uniformly" in said.out
    said = genvision("nll", folder.path)
    assert said.code == 2 and "family=vae has no bits/dim of pixels" in said.error
    again = train(pictures, tmp_path, *words[:-1], "run.name=again", f"train.init_from={folder.path}")
    assert again.code == 0 and "resized 0, left 0" in again.out


class EightPixels(nn.Module):
    """An extractor without weights, quick enough to score every step."""

    name, metric_name, resize, dim = "eight-pixels", "FD-EightPixels", "none", 8

    def __init__(self, weights: Path | None) -> None:
        super().__init__()

    def forward(self, images: Tensor) -> Tensor:
        return images[:, 0, ::4, ::2].flatten(1) / 255


def test_observing_a_run_does_not_change_it(trained, pictures, tmp_path, monkeypatch):
    """Validated, drawn, scored and saved after every step, as against hardly ever."""
    monkeypatch.setattr(registered, "_REGISTERED", {})
    monkeypatch.setenv("GENVISION_CACHE", str(tmp_path / "cache"))
    registered.register_extractor(EightPixels)
    words = ("score.num_images=8", "score.extractor=eight-pixels", f"score.reference=folder:{pictures}")
    words += tuple(f"{key}_every_steps=1" for key in ("log.grid", "train.validate", "train.save"))
    words += ("log.every_steps=1", "score.every_steps=1")
    said = train(pictures, tmp_path / "runs", "backbone=vit", *words)
    assert said.code == 0, said.err
    folder = one_run(tmp_path / "runs")
    assert tree(folder.model) == tree(trained("diffusion").model) != {}
    lines = metrics(folder)
    assert [line["step"] for line in lines if "validation_loss" in line] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in lines if line.get("frechet", 0) > 0] == [1, 2, 3, 4, 5]  # then the run's own
    assert read_record(folder.result)["metrics"]["frechet"]["name"] == "FD-EightPixels"
    names = sorted(path.name for path in folder.samples.iterdir())
    assert names == ["final.npz", "final.png", *(f"step_{step:07d}.png" for step in range(1, 6))]


def test_validation_is_the_averaged_weights_under_the_same_noise_every_time(trained):
    folder = trained("vae")
    config = folder.read_config()
    held_out = data.load(config.data, "validation")
    family = load(folder.path).generator
    draw = Draw(0, 0, torch.arange(len(held_out)))
    batch = Batch(held_out.images, held_out.labels)
    with torch.no_grad():
        expected = family.loss(batch, draw)["loss"].mean().item()
        told = family.diagnostics([(batch, draw)])
    assert metrics(folder)[-1]["validation_loss"] == pytest.approx(expected, rel=1e-5)
    channels = {"": config.family.latent_channels, "top_": config.family.top_channels}
    per_channel = {f"{prefix}kl_nats_{channel:02d}" for prefix, n in channels.items() for channel in range(n)}
    assert set(told) == {"active_units", "top_active_units", "psnr_db"} | per_channel
    assert {name: metrics(folder)[-1][name] for name in told} == pytest.approx(told, rel=1e-4)
    assert read_record(folder.result)["validation"] == pytest.approx({"validation_loss": expected, **told}, rel=1e-4)
    assert all(name not in line for name in told for line in metrics(folder)[:-1])


@pytest.mark.parametrize("family", [*FAMILIES, "vae family.latent=vq"])
def test_an_interrupted_run_goes_on_to_the_same_bytes(pictures, tmp_path, monkeypatch, family):
    words = (*f"family={family}".split(), "backbone=vit", "train.steps=12", "train.save_every_steps=6")
    if family == "diffusion":
        words += ("denoiser.trunk.dropout=0.2", "data.flip=true", "data.crop_padding=1")
    assert train(pictures, tmp_path, *words, "run.name=straight").code == 0
    with monkeypatch.context() as patch:
        interrupt_after(patch, 7)
        said = train(pictures, tmp_path, *words, "run.name=broken")
    broken, straight = RunFolder(tmp_path / "broken"), RunFolder(tmp_path / "straight")
    assert said.code == 143 and said.last_error == f"interrupted; go on with --resume {broken.path}"
    assert status(broken)["state"] == "interrupted" and not broken.result.exists() and not broken.model.exists()
    said = genvision("train", "--resume", broken.path)
    assert said.code == 0 and f"{broken.path}: resuming at step 6" in said.out, said.err
    assert status(broken) == {"state": "finished", "step": 12, "total_steps": 12}
    assert tree(broken.model) == tree(straight.model) != {}
    assert tree(broken.samples) == tree(straight.samples)
    for name in ("model.safetensors", "ema.safetensors", "optimizer.safetensors"):
        last = "checkpoints/step-000000012"
        assert (broken.path / last / name).read_bytes() == (straight.path / last / name).read_bytes()
    timeless = [
        [{k: v for k, v in line.items() if k not in ("seconds", "images_per_second")} for line in metrics(folder)]
        for folder in (broken, straight)
    ]
    assert timeless[0] == timeless[1]
    records = [read_record(folder.result) for folder in (broken, straight)]
    same = ("images_seen", "steps", "bits_per_dim", "parameters", "config_hash")
    assert [records[0][key] for key in same] == [records[1][key] for key in same]


def test_resume_auto_starts_goes_on_and_ends(pictures, tmp_path, monkeypatch):
    words = ("backbone=vit", "run.name=one", "--resume", "auto")
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)  # before the first checkpoint
        assert train(pictures, tmp_path, *words).code == 143
    assert not (tmp_path / "one" / "checkpoints").exists()
    with monkeypatch.context() as patch:
        interrupt_after(patch, 4)
        said = train(pictures, tmp_path, *words)
        assert said.code == 143 and "starting at step 0" in said.out
    said = train(pictures, tmp_path, *words)
    assert said.code == 0 and "resuming at step 3" in said.out
    before = tree(tmp_path)
    said = train(pictures, tmp_path, *words)
    assert said == (0, f"{tmp_path}/one is finished already; nothing to do\n", "")
    assert tree(tmp_path) == before


@pytest.fixture
def stopped(pictures, tmp_path, monkeypatch):
    """A run interrupted after step 4, with a checkpoint at step 3."""
    with monkeypatch.context() as patch:
        interrupt_after(patch, 4)
        assert train(pictures, tmp_path / "runs", "backbone=vit", "run.name=one").code == 143
    return RunFolder(tmp_path / "runs" / "one")


def test_damaged_checkpoints_are_refused_and_nothing_is_touched(stopped):
    weights_file = stopped.checkpoints / "step-000000003" / "model.safetensors"
    weights_file.write_bytes(weights_file.read_bytes()[:-1])
    before = tree(stopped.path)
    said = genvision("train", "--resume", stopped.path)
    assert said.code == 4 and "none of its 1 checkpoints can be read" in said.last_error
    said = genvision("train", "--resume", stopped.checkpoints / "step-000000003")
    assert said.code == 4 and "damaged" in said.error
    assert tree(stopped.path) == before


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("train.learning_rate=0.5", "train.learning_rate=0.5: "),
        ("train.seed=1", "train.seed=1: "),
        ("denoiser.trunk.width=48", "denoiser.trunk.width=48: "),
        ("data.flip=true", "data.flip=True: "),
    ],
)
def test_a_run_is_not_gone_on_with_under_another_configuration(stopped, pictures, word, message):
    before = tree(stopped.path)
    for said in (
        genvision("train", "--resume", stopped.path, word),
        train(pictures, stopped.path.parent, "backbone=vit", "run.name=one", "--resume", "auto", word),
    ):
        assert said.code == 2 and said.error.startswith(message) and "config.yaml has " in said.error
    assert tree(stopped.path) == before


HOLDS = """
import sys, time
from pathlib import Path
from genvision.storage import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_two_processes_do_not_train_in_one_folder(stopped):
    with subprocess.Popen([sys.executable, "-c", HOLDS, stopped.path], stdout=subprocess.PIPE) as other:
        assert other.stdout and other.stdout.readline() == b"held\n"
        before = tree(stopped.path)
        said = genvision("train", "--resume", stopped.path)
        assert said.code == 2 and said.error.startswith(f"{stopped.path} is in use by another process")
        assert tree(stopped.path) == before and other.poll() is None
        other.kill()  # its lock is nobody's after that
    (stopped.path / ".result.json.77.tmp").write_text("left by one that was killed")
    (stopped.checkpoints / ".tmp-step-000000006-77").mkdir()
    said = genvision("train", "--resume", stopped.path)
    assert said.code == 0 and not [path for path in stopped.path.rglob("*") if ".tmp" in path.name]


def test_a_run_is_not_gone_on_with_on_other_images(stopped, pictures, tmp_path):
    """They may lie elsewhere, but not differ in one pixel."""
    moved = shutil.copytree(pictures, tmp_path / "moved")
    victim = next(path for path in sorted(moved.rglob("*.png")) if path.name != "00.png")
    pixels = np.array(Image.open(victim))
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(victim)
    before = tree(stopped.path)
    said = genvision("train", "--resume", stopped.path, f"data.path={moved}")
    assert said.code == 3 and "the training images are no longer those" in said.error and tree(stopped.path) == before
    shutil.copy(pictures / victim.relative_to(moved), victim)
    assert genvision("train", "--resume", stopped.path, f"data.path={moved}").code == 0


def test_what_is_watched_may_change_on_the_way(stopped, trained):
    words = (
        "train.save_every_steps=1",
        "train.keep_checkpoints=5",
        "train.validate_every_steps=2",
        "log.every_steps=1",
    )
    assert genvision("train", "--resume", stopped.path, *words).code == 0
    assert len(list(stopped.checkpoints.iterdir())) == 4 and tree(stopped.model) == tree(trained("diffusion").model)


@pytest.mark.parametrize("family", FAMILIES)
def test_whatever_else_is_set_otherwise_is_another_run(family):
    """Every key of the resolved configuration in turn."""
    config = load_config(None, [f"family={family}", "backbone=vit", "data=mnist", *TINY])
    free = re.compile(
        r"(run|log|sample|score)\..*|data\.(path|root|download|max_bad_fraction)|train\.(steps|images|minutes|"
        r"init_from|compile|shard|gradient_checkpointing|max_bad_steps|save_every_steps|keep_checkpoints|validate_every_steps|validation_images)"
    )
    found = {
        key for key, _ in leaves(config) if resume_hash(set_otherwise(config, key.split("."))) == resume_hash(config)
    }
    assert found == {key for key, _ in leaves(config) if free.fullmatch(key)} and len(found) > 30


def set_otherwise(section, names):
    """A copy in which one setting has another value."""
    name, *rest = names
    if isinstance(section, dict):
        return {**section, name: [section[name]]}
    value = getattr(section, name)
    return dataclasses.replace(section, **{name: set_otherwise(value, rest) if rest else [value]})


def test_a_resumed_run_may_be_longer_and_sample_otherwise(stopped):
    said = genvision("train", "--resume", stopped.checkpoints / "step-000000003", "train.steps=8", "sample.seed=4")
    assert said.code == 0, said.err
    assert status(stopped)["step"] == 8 and stopped.read_config().sample.seed == 4
    assert [line["step"] for line in metrics(stopped)] == [2, 4, 6, 8]


def test_a_run_goes_on_from_another_working_folder(stopped, tmp_path, monkeypatch):
    """run.dir as recorded may mean nothing there; the leaderboard is the one beside the run."""
    config = stopped.config.read_text()
    stopped.config.write_text(config.replace(str(stopped.path.parent), "runs_elsewhere"))
    monkeypatch.chdir(tmp_path)
    said = genvision("train", "--resume", "runs/one")
    assert said.code == 0, said.err
    assert "one" in (stopped.path.parent / "leaderboard" / "index.html").read_text()
    assert not (tmp_path / "runs_elsewhere").exists()


def test_a_budget_that_is_used_up_is_not_shortened_afterwards(trained, tmp_path):
    run = shutil.copytree(trained("vae").path, tmp_path / "run")
    (run / "status.json").write_text('{"state": "preempted"}')
    said = genvision("train", "--resume", run, "train.steps=5")
    assert said.code == 2 and "6 steps are made, more than the 5 that were asked for" in said.last_error
    assert RunFolder(run).read_config().train.steps == 6  # nothing was written


def test_what_is_no_run_cannot_be_resumed(tmp_path):
    for word in (), ("backbone=vit",):  # that there is no run comes first
        said = genvision("train", "--resume", tmp_path / "nothing", *word)
        assert said.code == 4 and said.error.endswith("no run and no checkpoint lies there; name run.dir/run.name")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    said = genvision("train", "--resume", tmp_path / "run", "backbone=vit")
    assert said.code == 2 and "leave out --config and groups" in said.error


def test_the_run_that_a_resumption_meant_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for run in ("runs/bb", "runs/cc", "else/dd"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "config.yaml").touch()
    for words, named in {
        ("cc",): "such as runs/cc",
        ("old/cc",): "such as runs/cc",
        ("dd",): "such as runs/bb or runs/cc",
        ("runs",): "such as runs/bb or runs/cc",
        ("else",): "such as else/dd",
        ("x", "run.dir=else"): "such as else/dd",
    }.items():
        said = genvision("train", "--resume", *words)
        assert said.code == 4
        assert said.error == (
            f"--resume {words[0]}: no run and no checkpoint lies there; name run.dir/run.name, {named}"
        )


def test_a_diverged_run_says_so_and_stays_on_the_leaderboard(trained, pictures, tmp_path, monkeypatch):
    shutil.copytree(trained("diffusion").path, tmp_path / "sound")
    with monkeypatch.context() as patch:
        poison(patch, 5)
        said = train(pictures, tmp_path, "backbone=vit", "run.name=lost")
    lost = RunFolder(tmp_path / "lost")
    assert said.code == 5 and said.last_error.startswith("step 5: loss is nan"), said.err
    reason = status(lost)["reason"]
    assert status(lost) == {"state": "diverged", "reason": reason, "step": 4, "total_steps": 6}
    assert reason.startswith("step 5: loss is nan") and "train.learning_rate" in reason
    record = read_record(lost.result)
    assert (record["status"], record["reason"], record["steps"], record["metrics"]) == ("diverged", reason, 4, None)
    assert {row["run"]: row["status"] for row in collect(tmp_path)} == {"shared": "finished", "lost": "diverged"}
    assert genvision("leaderboard", "build", tmp_path).code == 0
    assert "step 5: loss is nan" in (tmp_path / "leaderboard" / "index.html").read_text()


def test_a_huge_learning_rate_diverges(pictures, tmp_path):
    words = ("backbone=vit", "train.learning_rate=1e18", "train.clip_norm=0", "train.warmup_steps=0")
    said = train(pictures, tmp_path, *words)
    assert said.code == 5, said.err
    assert read_record(one_run(tmp_path).result)["status"] == "diverged"


def test_a_run_that_fails_keeps_its_reason(pictures, tmp_path, monkeypatch):
    def full(*_, **__):
        raise StorageError("disk full")

    monkeypatch.setattr(run_samples, "write_grid", full)
    said = train(pictures, tmp_path, "backbone=vit")
    folder = one_run(tmp_path)
    assert said.code == 6 and said.last_error == "disk full"
    assert status(folder) == {"state": "failed", "reason": "disk full", "step": 6, "total_steps": 6}
    record = read_record(folder.result)
    assert (record["status"], record["reason"]) == ("failed", "disk full")
    monkeypatch.undo()
    assert genvision("train", "--resume", folder.path).code == 0  # everything was trained; the rest is done again
    assert read_record(folder.result)["status"] == "finished" and status(folder)["state"] == "finished"


def test_minutes_are_frozen_into_steps(pictures, tmp_path):
    words = ("backbone=vit", "train.steps=null", "train.minutes=0.001", "train.warmup_steps=20")
    said = train(pictures, tmp_path, *words)
    assert said.code == 0, said.err
    folder = one_run(tmp_path)
    config = folder.read_config()
    assert config.train.minutes is None and config.train.steps == status(folder)["step"] >= 20
    assert read_record(folder.result)["config_hash"] == config_hash(config)


def test_the_frozen_budget_holds_when_the_same_command_is_given_again(pictures, tmp_path, monkeypatch):
    """From step 20 on a run is a pure function of the step, however fast the machine is that goes on with it."""
    monkeypatch.setattr("genvision.training.loop.measured_steps", lambda *_: 24)
    words = ("backbone=vit", "train.steps=null", "train.minutes=5", "train.warmup_steps=20", "run.name=one")
    with monkeypatch.context() as patch:
        interrupt_after(patch, 22)
        assert train(pictures, tmp_path, *words, "train.save_every_steps=7", "--resume", "auto").code == 143
    monkeypatch.setattr("genvision.training.loop.measured_steps", lambda *_: 30)
    said = train(pictures, tmp_path, *words, "train.save_every_steps=7", "--resume", "auto")
    assert said.code == 0 and "resuming at step 21" in said.out, said.err
    assert RunFolder(tmp_path / "one").read_config().train.steps == status(RunFolder(tmp_path / "one"))["step"] == 24


def test_minutes_count_what_was_spent_before_a_stop(pictures, tmp_path, monkeypatch):
    measured = []
    take = lambda _, seconds, done, spent: measured.append((list(seconds), done, spent)) or 24  # noqa: E731
    monkeypatch.setattr("genvision.training.loop.measured_steps", take)
    words = ("backbone=vit", "train.steps=null", "train.minutes=5", "train.warmup_steps=20", "run.name=one")
    with monkeypatch.context() as patch:
        interrupt_after(patch, 16)
        assert train(pictures, tmp_path, *words, "train.save_every_steps=7", "--resume", "auto").code == 143
    before = json.loads((tmp_path / "one" / "checkpoints" / "step-000000014" / "state.json").read_text())["seconds"]
    assert train(pictures, tmp_path, *words, "train.save_every_steps=7", "--resume", "auto").code == 0
    ((seconds, done, spent),) = measured
    assert (len(seconds), done) == (6, 20) and before > 0 and spent == pytest.approx(before + sum(seconds))


def test_a_run_starts_from_the_weights_of_another(trained, pictures, tmp_path):
    source = trained("diffusion")
    same = train(pictures, tmp_path, "backbone=vit", f"train.init_from={source.path}", "run.name=same")
    total = len(load(source.path).generator.state_dict())
    assert same.code == 0 and f"{source.path}: loaded {total}, resized 0, left 0\n" in same.out, same.err
    larger = ("data.height=12", "data.width=12", "data.labels=false", "train.steps=1", "run.name=larger")
    said = train(pictures, tmp_path, "backbone=vit", f"train.init_from={source.model}", *larger)
    left = "left 1: denoiser.condition.label.weight"
    assert said.code == 0 and f"loaded {total - 2}, resized 1, {left}\n" in said.out, said.err


def test_a_mixer_says_what_it_cannot_take_to_images_of_another_size(trained, pictures, tmp_path):
    source = trained("diffusion", "mixer")
    larger = ("data.height=12", "data.width=12", "train.steps=1", "run.name=larger")
    said = train(pictures, tmp_path, "backbone=mixer", f"train.init_from={source.path}", *larger)
    why = "8 of these are of token-MLPs, which number the places of an image and so fit images of one size alone"
    assert said.code == 0 and "left 8: denoiser.trunk.blocks.0.mixing.up.weight, " in said.out, said.err
    assert why in said.out


def test_positions_are_resized_and_the_rest_copied(trained):
    source = trained("diffusion")
    config = source.read_config()
    given = load(source.path).generator
    wider = data.spec_of(dataclasses.replace(config.data, height=12, width=12))
    family = build.build(config, wider)
    fresh = {name: p.clone() for name, p in build.build(config, wider).named_parameters()}
    outcome = initialise(family, str(source.path))
    assert (outcome.resized, outcome.left) == (["denoiser.trunk.position.table"], [])
    assert set(outcome.loaded) == set(fresh) - set(outcome.resized)
    weights_given = dict(given.named_parameters())
    for name, p in family.named_parameters():
        expected = weights_given[name]
        if name in outcome.resized:
            assert p.shape == (6, 6, 32) and expected.shape == (4, 4, 32)
            expected = resize_positions(expected, (6, 6))
        assert torch.equal(p, expected), name
    flat = resize_positions(torch.full((4, 4, 3), 0.7), (6, 5))
    torch.testing.assert_close(flat, torch.full((6, 5, 3), 0.7))
    line = resize_positions(torch.arange(8.0)[:, None, None].expand(8, 4, 1), (16, 4))[:, 0, 0]
    centres = (torch.arange(16) + 0.5) / 2 - 0.5  # where the middle of each new cell lies among the old ones
    torch.testing.assert_close(line[4:12], centres[4:12], rtol=0, atol=0.05)
    table = weights_given["denoiser.trunk.position.table"]
    torch.testing.assert_close(resize_positions(table, (4, 4)), table)


@pytest.mark.parametrize(
    ("kind", "resized"),
    [("axial", ["position.columns", "position.rows"]), ("relative", ["blocks.0.mixing.relative"]), ("fourier", [])],
)
def test_what_numbers_places_is_resized_and_the_rest_copied(kind, resized):
    spec, options = ImageSpec(1, 8, 12), {"position": kind, "depth": 1}
    small = randomise(make_cell("diffusion", ("vit",), spec, trunk=options))
    large = make_cell("diffusion", ("vit",), spec._replace(height=12, width=18), trunk=options)
    outcome = carry_over(large, small.state_dict())
    assert sorted(outcome.resized) == [f"denoiser.trunk.{name}" for name in resized] and not outcome.left
    ours, theirs = dict(large.named_parameters()), dict(small.named_parameters())
    for name in outcome.resized:  # the middle of the image, and the offset of nothing, stay
        a, b = ours[name], theirs[name]
        assert a.shape != b.shape and a.mean((0, 1)).tolist() == pytest.approx(b.mean((0, 1)).tolist(), abs=0.05)
    if kind == "relative":
        centre = [tuple((side - 1) // 2 for side in table.shape[:2]) for table in (a, b)]
        torch.testing.assert_close(a[centre[0]], b[centre[1]], rtol=0, atol=0.05)


def test_a_resumed_run_needs_the_weights_it_started_from_no_more(trained, pictures, tmp_path, monkeypatch):
    shutil.copytree(trained("diffusion").model, tmp_path / "source")
    with monkeypatch.context() as patch:
        interrupt_after(patch, 4)
        words = (f"train.init_from={tmp_path / 'source'}", "run.name=one", "backbone=vit")
        assert train(pictures, tmp_path / "runs", *words).code == 143
    shutil.rmtree(tmp_path / "source")
    said = genvision("train", "--resume", tmp_path / "runs" / "one")
    assert said.code == 0 and "loaded" not in said.out, said.err


def test_encoder_and_decoder_of_different_backbones_are_told_apart(pictures, tmp_path):
    said = train(pictures, tmp_path, "family=vae", "encoder.backbone=vit", "decoder.backbone=convnet", "train.steps=1")
    assert said.code == 0, said.err
    record = read_record(one_run(tmp_path).result)
    assert (record["encoder_backbone"], record["decoder_backbone"]) == ("vit", "convnet")
    names = load_file(one_run(tmp_path).model / "encoder" / "diffusion_pytorch_model.safetensors")
    assert any("position" in name for name in names)


@pytest.mark.parametrize(("family", "channels"), [("vae", 2), ("autoregressive", 4), ("diffusion", 4)])
def test_images_with_alpha_are_drawn_with_alpha(pictures, tmp_path, family, channels):
    words = (f"family={family}", "backbone=convnet", f"data.channels={channels}", "train.steps=1")
    said = train(pictures, tmp_path, *words)
    assert said.code == 0, said.err
    folder = one_run(tmp_path)
    drawn = load(folder.path)(6)
    assert {(image.mode, image.size) for image in drawn.images} == {({2: "LA", 4: "RGBA"}[channels], (8, 8))}
    with np.load(folder.samples / "final.npz") as archive:
        assert archive["images"].shape == (6, channels, 8, 8)
        assert np.array_equal(archive["images"].transpose(0, 2, 3, 1), [np.array(image) for image in drawn.images])


@pytest.mark.parametrize(("kept", "scored"), [(6, 4), (4, 6)])
def test_the_first_images_of_one_draw_are_kept_and_scored(pictures, tmp_path, monkeypatch, kept, scored):
    seen, draw = [], run_samples.draw
    extractor = SimpleNamespace(name="efficientnet-lite0", weights_sha256="00", resize="none")

    def score_images(images, real, *, sampling, **_):
        seen.append(images)
        protocol = build_protocol(num_images=len(images), reference=real, extractor=extractor, sampling=sampling)
        return Scored({"frechet": {"name": "FD-EffNetLite0", "value": 48.25}}, protocol)

    monkeypatch.setattr(run_samples, "score_images", score_images)
    monkeypatch.setattr(run_samples, "draw", lambda *asked: draw(*asked)._replace(seconds=12.5))
    words = ("family=vae", "backbone=vit", *SCORED, f"sample.num_images={kept}", f"score.num_images={scored}")
    said = train(pictures, tmp_path, *words)
    assert said.code == 0 and "FD-EffNetLite0 48.25\n" in said.out, said.err
    folder = one_run(tmp_path)
    drawn = load(folder.path)(6, output_type="pt").images
    assert len(seen) == 1 and torch.equal(seen[0], drawn[:scored])
    with np.load(folder.samples / "final.npz") as archive:
        assert np.array_equal(archive["images"], drawn[:kept].numpy())
    record = read_record(folder.result)
    assert (record["sampled_images"], record["sample_seconds"]) == (6, 12.5)
    assert record["protocol"]["num_images"] == scored and record["metrics"]["frechet"]["value"] == 48.25


@pytest.mark.parametrize(
    ("data_set", "extractor", "reference"),
    [
        ("fashion_mnist_mini", "efficientnet-lite0", "fashion_mnist_mini:test"),
        ("fashion_mnist_mini", "inception", None),  # that was the FID
        ("folder", "efficientnet-lite0", None),  # the test split of a folder has no name
    ],
)
def test_the_last_line_is_the_command_of_the_fid_of_the_same_run(trained, data_set, extractor, reference):
    folder = trained("vae")
    config = folder.read_config()
    score = dataclasses.replace(config.score, num_images=2000, extractor=extractor)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, name=data_set), score=score)
    outcome = Outcome(scored=Scored({"frechet": {"name": "FD", "value": 48.25}}, {}))
    lines = summary(folder, config, load(folder.path).generator, outcome, Path("page")).splitlines()
    asked = [line for line in lines if line.startswith("FID of this run: ")]
    command = f"genvision score {folder.path} --reference {reference} --num-images 2000 --extractor inception"
    assert asked == ([f"FID of this run: {command}"] if reference else [])


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_record_names_the_commit_that_the_code_is_of(tmp_path):
    def git(*words):
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(["git", "-C", tmp_path, *who, *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    code = tmp_path / "__init__.py"
    code.write_text("")
    assert git_state(tmp_path) is None
    git("init")
    assert git_state(tmp_path) is None  # a package that was installed inside of somebody's checkout
    git("add", "."), git("commit", "-m", "one")
    (tmp_path / "notes.txt").write_text("not code")
    assert git_state(tmp_path) == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    code.write_text("changed = True\n")
    assert git_state(tmp_path) == {"commit": git("rev-parse", "HEAD"), "dirty": True}


def test_a_run_is_scored_and_the_commands_find_the_same_numbers(pictures, tmp_path):
    """The one test with a real extractor: a run's own score, `genvision score` of the run, and of its images."""
    real = write_pictures(tmp_path / "real", 40, seed=1)
    words = (*SCORED, f"score.reference=folder:{real}", "family=vae", "backbone=vit", "family.pixels=sample")
    words += ("sample.seed=5",)
    said = train(pictures, tmp_path / "runs", *words, "score.every_steps=4")
    assert said.code == 0, said.err
    folder = one_run(tmp_path / "runs")
    record = read_record(folder.result)
    assert {line["step"] for line in metrics(folder) if "frechet" in line} == {4}
    assert record["metrics"]["frechet"]["name"] == "FD-EffNetLite0" and "FID" not in json.dumps(record["metrics"])
    protocol = record["protocol"]
    assert (protocol["num_images"], protocol["reference"]["num_images"], protocol["sampling"]["ema"]) == (40, 40, 0.999)
    assert (record["sampled_images"], record["note"]) == (40, None) and record["sample_seconds"] > 0
    fid = f"genvision score {folder.path} --reference folder:{real} --num-images 40 --extractor inception"
    assert f"FID of this run: {fid}\n" in said.out
    assert f"FD-EffNetLite0 {record['metrics']['frechet']['value']:.4g}" in said.out

    extractor = ("--extractor", "efficientnet-lite0", "--reference", f"folder:{real}", "--json", tmp_path / "s.json")
    assert genvision("score", folder.path, *extractor).code == 0
    report = json.loads((tmp_path / "s.json").read_text())
    assert report["metrics"] == record["metrics"] and report["protocol_hash"] == record["protocol_hash"]

    assert genvision("sample", folder.path, "--num-images", 40, "--seed", 5, "--out", tmp_path / "png").code == 0
    said = genvision("score", tmp_path / "png", "--num-images", 40, *extractor)
    assert said.code == 0, said.err
    report = json.loads((tmp_path / "s.json").read_text())
    assert report["metrics"] == record["metrics"] and report["protocol_hash"] != record["protocol_hash"]
    assert f"FD-EffNetLite0{'':<14} {record['metrics']['frechet']['value']:.4f}" in said.out
    assert f"n 40 against 40 of folder:{real}:all, efficientnet-lite0" in said.out
    assert Path(tmp_path / "runs/leaderboard/index.html").read_text().count(folder.name) > 0
