"""The command line: what each command prints, its exit codes, and errors of one line."""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from runs import CELLS, TINY, fresh_launch, genvision, pictures, train, trained, tree, write_pictures  # noqa: F401
from safetensors.torch import load_file, save_file

from genvision import __version__, build, cli, data, load
from genvision.activations import count_activations
from genvision.config import load_config
from genvision.config.groups import choices
from genvision.evaluation.record import read_record
from genvision.families.diffusion import Diffusion
from genvision.families.vae import VAE
from genvision.spec import Batch, Draw

OFFLINE = ("--extractor", "efficientnet-lite0")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train.stepz=3"], "unknown key train.stepz; did you mean train.steps?"),
        (["steps=3"], "unknown key steps; did you mean "),
        (["train.steps=many"], "train.steps: expected a whole number or null, got many"),
        (["train.batch_size=0"], "train.batch_size: must be more than 0"),
        (["backbone=wit"], "backbone=wit is unknown (did you mean vit?)"),
        (["train.steps"], "train.steps: no value"),
        (["--config", "/no/such.yaml"], "cannot read this config file"),
        (["backbone=vit", "data.height=27", "--dry-run"], "27x28 pixels or codes cannot be cut into 2x2 patches"),
        (["backbone=vit", "sample.scheduler=ddim", "--dry-run"], "use one of euler, heun, dpm++, unipc"),
        (["--no-such-option"], "unrecognized arguments: --no-such-option; see genvision train --help"),
    ],
)
def test_a_wrong_word_is_one_line_and_exit_code_2(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    said = genvision("train", *words)
    assert said.code == 2 and message in said.error, said.err
    assert said.out == "" and list(tmp_path.iterdir()) == []


def test_an_unknown_command_lists_those_that_exist():
    said = genvision("trian")
    assert said.code == 2 and said.error.startswith("no command 'trian'; commands are train, sample, score, nll, ")
    assert genvision().error.startswith("no command given; ")
    said = genvision("--help")
    assert said.code == 0 and all(f"  {name} " in said.out for name in cli.PARSERS) and said.err == ""
    assert genvision("--version") == (0, f"genvision {__version__}\n", "")
    assert genvision("help") == said
    for name in cli.PARSERS:
        said = genvision(name, "--help")
        assert said.code == 0 and said.out.startswith(f"usage: genvision {name}")
        assert genvision("help", name) == said and cli.PARSERS[name].__doc__ in said.out


@pytest.mark.parametrize("name", cli.PARSERS)
def test_every_option_is_explained_with_its_default(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")  # no word is broken
    parser = argparse.ArgumentParser()
    cli.PARSERS[name](parser)
    text = " ".join(genvision(name, "--help").out.split())
    for action in parser._actions[1:]:
        has_one = action.default is not None and action.default is not False
        assert action.help and action.help + f"; {action.default} by default" * has_one in text


def test_defaults_that_a_family_has_are_told_as_they_are():
    text = " ".join(genvision("nll", "--help").out.split())
    steps, probes = (Diffusion.likelihood_options[name] for name in ("steps", "probes"))
    assert "same for every N; 0 by default" in " ".join(genvision("sample", "--help").out.split())
    assert f"behind a diffusion estimate; {steps} by default" in text
    assert f"of its divergence; {probes} by default" in text
    assert f"K samples make it tighter; {VAE.likelihood_options['bound']} by default" in text


def test_the_actions_of_a_leaderboard_are_told():
    lines = genvision("leaderboard", "--help").out.splitlines()
    told = dict(re.split("  +", line.strip(), maxsplit=1) for line in lines[lines.index("actions:") + 1 :])
    assert list(told) == ["build RUNS", "verify RUN", "reproduce RUN", "resample RUN", "diff A B"]
    assert "--out, RUNS/leaderboard by default" in told["build RUNS"] and "--seeds or --steps" in told["resample RUN"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sample", "run"], "the following arguments are required: --out"),
        (["sample", "run", "--out", "x", "--num-images", "0"], "'0' is not a whole number of at least 1"),
        (["sample", "run", "--out", "x", "--num-images", "1.5"], "'1.5' is not a whole number"),
        (["sample", "run", "--out", "x", "--seed", "-1"], "--seed"),
        (["sample", "run", "--out", "x", "--seed", str(2**63)], "is not a whole number from 0 to 2^63 - 1"),
        (["score", "."], ". is no run, whose test split could be the reference; give --reference"),
        (["score", "run", "--reconstruct", "--reference", "mnist"], "leave out --reference"),
        (["nll", "run", "--split", "all"], "invalid choice: 'all'"),
        (["leaderboard", "burn", "runs"], "invalid choice: 'burn'"),
        (["data", "show"], "genvision data show needs a set"),
        (["data", "list", "mnist"], "genvision data list takes no set; leave out mnist, or write data show mnist"),
        (["help", "trian"], "no command 'trian'"),
    ],
)
def test_wrong_usage_is_one_line_too(words, message):
    said = genvision(*words)
    assert said.code == 2 and message in said.error and said.out == "", said.err


def test_missing_things_have_codes_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENVISION_DATA", str(tmp_path))
    said = genvision("train", "data=folder:nowhere", "data.height=8", "data.width=8", "data.channels=1")
    assert (said.code, "folder:nowhere: no such folder" in said.error) == (3, True)
    said = genvision("train", "data=cifar10", f"data.root={tmp_path}")
    assert (said.code, "data.download=true" in said.error) == (3, True)
    said = genvision("sample", "runs/none", "--out", "x")
    assert said.code == 4
    assert said.error == "no folder runs/none here, and the Hub does not answer for it; check the path"
    said = genvision("nll", "none")
    assert (said.code, "none is not a run" in said.error) == (4, True)
    said = genvision("score", "none", "--reference", "fashion_mnist_mini", *OFFLINE)
    assert (said.code, "none: nothing lies there; name a run" in said.error) == (3, True)
    said = genvision("leaderboard", "build", "none")
    assert (said.code, "none: no such folder of runs" in said.error) == (3, True)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_model_is_told_with_what_named_it_and_with_runs_that_are_there(
    trained, tmp_path, monkeypatch, pictures
):
    monkeypatch.chdir(tmp_path)
    for name in ("aa", "bb"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.yaml").touch()
    missing = "no folder {} here, and the Hub does not answer for it; {}"
    near = "name a run, such as runs/aa or runs/bb"
    several = "runs is a folder of runs; name one of them, such as runs/aa or runs/bb"
    no_run = "is not a run: it has no config.yaml; name a folder below run.dir, such as runs/aa or runs/bb"
    asked = {
        ("sample", "runs/no", "--out", "x"): missing.format("runs/no", near),
        ("sample", "runs", "--out", "x"): several,
        ("score", "runs", "--reference", "mnist", *OFFLINE): several,
        ("nll", "runs"): f"runs {no_run}",
        ("nll", "runs/no"): f"runs/no {no_run}",
        ("sample", trained("diffusion").path, "--guide", "runs/no", "--out", "x"): "--guide: "
        + missing.format("runs/no", near),
        ("train", f"data=folder:{pictures}", *TINY, "codec.run=nope"): "codec.run: " + missing.format("nope", "check"),
        ("train", f"data=folder:{pictures}", *TINY, "train.init_from=nope"): "train.init_from: "
        + missing.format("nope", "check the path"),
    }
    for words, message in asked.items():
        said = genvision(*words)
        assert said.code == 4 and said.last_error.startswith(message), said
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_debug_adds_the_traceback(tmp_path):
    words = ("train", "train.stepz=3", "backbone=vit")
    assert "Traceback" not in genvision(*words).err
    said = genvision(*words, "--debug")
    assert said.code == 2 and said.err.startswith("Traceback (most recent call last):")
    assert said.err.rstrip().splitlines()[-1] == "genvision: error: " + genvision(*words).error


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        (KeyboardInterrupt(), 143, "interrupted"),
        (MemoryError(), 7, "out of memory: lower train.micro_batch_size"),
        (torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate"), 7, "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), 7, "out of memory"),
    ],
)
def test_interruption_and_lack_of_memory(monkeypatch, fault, code, message):
    def strikes(*_, **__):
        raise fault

    monkeypatch.setattr("genvision.experiment.run", strikes)
    said = genvision("train", "backbone=vit")
    assert said.code == code and said.error.startswith(message)


def test_memory_that_no_machine_has_is_code_7(pictures, tmp_path):
    said = train(pictures, tmp_path, "backbone=vit", "sample.chunk_size=100000000000000")
    assert said.code == 7 and "sample.chunk_size" in said.last_error, said.err


def test_a_fault_of_our_own_is_not_hidden(monkeypatch):
    def strikes(*_, **__):
        raise RuntimeError("something else")

    monkeypatch.setattr("genvision.experiment.run", strikes)
    with pytest.raises(RuntimeError, match="something else"):
        genvision("train", "backbone=vit")


@pytest.mark.parametrize("family", ["vae", "autoregressive", "diffusion"])
def test_a_dry_run_says_what_would_be_and_writes_nothing(pictures, tmp_path, monkeypatch, family):
    monkeypatch.chdir(tmp_path)
    words = [f"data=folder:{pictures}", *TINY, f"family={family}", "backbone=mixer", "run.dir=somewhere"]
    said = genvision("train", *words, "--dry-run")
    assert said.code == 0 and said.err == "" and list(tmp_path.iterdir()) == []
    config = load_config(None, words)
    cost = build.cost(config, data.spec_of(config.data))
    facts = dict(re.findall(r"^# (\S.*?)  +(.*)$", said.out, re.MULTILINE))
    assert facts["parameters"] == f"{cost.parameters:,}"
    assert facts["MACs per image"].startswith(f"{cost.macs_per_image:,} ")
    kept, less = map("{:,}".format, count_activations(config, data.spec_of(config.data), "no"))
    assert facts["activations"].startswith(f"{kept} bytes") and f"; {less} with train.grad" in facts["activations"]
    assert facts["images"] == "1x8x8, 2 classes"
    assert facts["run folder"] == f"somewhere/{family}-mixer-folder-001"
    evaluations, grid = {
        "vae": (1, "encoder 2x2, decoder 2x2"),
        "autoregressive": (64, "predictor 8x8"),
        "diffusion": (3, "denoiser 4x4"),
    }[family]
    assert facts["sampling"] == f"{evaluations} network evaluations per image" and facts["token grid"] == grid
    (tmp_path / "config.yaml").write_text(said.out)
    assert load_config(tmp_path / "config.yaml") == config
    assert genvision("train", "--config", "config.yaml", "--dry-run").out == said.out
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


COMBINATIONS = [
    pytest.param(
        cell,
        data_set,
        size,
        marks=[] if (i + j + k) % 4 == 0 and size != "large" else pytest.mark.slow,
        id=f"{'-'.join(cell)}-{data_set}-{size}",
    )
    for i, cell in enumerate(CELLS)
    for j, data_set in enumerate(choices("data"))
    for k, size in enumerate(sorted((s for s in choices("size") if "-" not in s), key="large".__eq__))
]  # sizes of images of these sets, the large one last: each cell meets each set once quickly, and each other size


@pytest.mark.parametrize(("cell", "data_set", "size"), COMBINATIONS)
def test_every_combination_of_groups_passes_a_dry_run(pictures, cell, data_set, size):
    words = (f"family={cell[0]}", f"backbone={cell[1]}", f"size={size}")
    places = {"folder": (f"data=folder:{pictures}",), "stream": ("data=stream:a/b", "data.classes=10")}
    said = genvision("train", *words, *places.get(data_set, (f"data={data_set}",)), "--dry-run")
    if cell == ("autoregressive", "mixer") and data_set in places:  # of 64x64 pixels
        assert said.code == 2 and "a mixer of 64x64 tokens has 16,789,504 weights a layer" in said.error
        return
    assert (said.code, said.err) == (0, "")
    assert re.search(r"^# parameters      [1-9]", said.out, re.MULTILINE)


def test_the_dry_run_counts_what_is_trained(trained):
    folder = trained("vae")
    said = genvision("train", "--config", folder.config, "--dry-run")
    parameters = sum(p.numel() for p in load(folder.path).generator.parameters())
    assert f"# parameters      {parameters:,}\n" in said.out


def test_options_may_stand_between_keys(pictures):
    tail = (f"data=folder:{pictures}", *TINY)
    plain = genvision("train", "train.steps=3", "backbone=vit", *tail, "train.steps=4", "--dry-run")
    mixed = genvision("train", "--dry-run", "train.steps=3", "--debug", "backbone=vit", *tail, "train.steps=4")
    assert plain.code == 0 and plain == mixed and "\n  steps: 4\n" in plain.out


def test_sample_writes_what_the_pipeline_draws(trained, tmp_path):
    folder = trained("diffusion")
    words = ("sample", folder.path, "--num-images", 6, "--seed", 3, "--labels", "1,0,0")
    own = ("--steps", 2, "--scheduler", "heun", "--guidance", 1.5)
    said = genvision(*words, "--out", tmp_path / "png", *own)
    assert said.code == 0
    assert said.out == f"{tmp_path}/png: 6 images from the EMA weights of {folder.path}, seed 3\n"
    options = {"steps": 2, "scheduler": "heun", "guidance": 1.5}
    expected = load(folder.path)(6, labels=[1, 0, 0, 1, 0, 0], seed=3, output_type="pt", **options).images
    files = sorted((tmp_path / "png").iterdir())
    drawn = np.stack([np.array(Image.open(file)) for file in files])
    assert np.array_equal(drawn, expected[:, 0].numpy())
    assert genvision(*words, "--out", tmp_path / "a.npz", *own).code == 0
    with np.load(tmp_path / "a.npz") as archive:
        assert np.array_equal(archive["images"], expected.numpy()) and archive["labels"].tolist() == [1, 0, 0, 1, 0, 0]
    assert genvision("sample", folder.model, "--out", tmp_path / "b.npz", "--num-images", 2).code == 0
    with np.load(tmp_path / "b.npz") as archive:
        assert np.array_equal(archive["images"], load(folder.path)(2, output_type="pt").images.numpy())
        assert archive["labels"].tolist() == [0, 1]


def test_sample_takes_the_options_of_an_autoregressive_sampler_and_tells_the_log_likelihood(trained, tmp_path):
    folder = trained("autoregressive")
    words = ("sample", folder.path, "--num-images", 5, "--seed", 3, "--out", tmp_path / "a.npz", "--log-likelihood")
    words += ("--labels", "1,0,0")
    own = ("--temperature", 0.7, "--top-k", 9, "--top-p", 0.8, "--guidance", 1.5)
    assert genvision(*words, *own).code == 0
    options = {"temperature": 0.7, "top_k": 9, "top_p": 0.8, "guidance": 1.5, "log_likelihood": True}
    expected = load(folder.path)(5, seed=3, labels=[1, 0, 0, 1, 0], output_type="pt", **options)
    with np.load(tmp_path / "a.npz") as archive:
        assert sorted(archive) == ["images", "labels", "log_likelihood_nats"]
        assert np.array_equal(archive["images"], expected.images.numpy())
        assert np.array_equal(archive["log_likelihood_nats"], expected.log_likelihood_nats.numpy())


@pytest.mark.parametrize(
    ("family", "words", "code", "message"),
    [
        ("vae", ["--steps", "3"], 2, "steps means nothing to family=vae; leave it out"),
        ("vae", ["--guidance", "2"], 2, "guidance means nothing to family=vae"),
        ("autoregressive", ["--steps", "2"], 2, "steps means nothing to family=autoregressive"),
        ("diffusion", ["--top-k", "2"], 2, "top_k means nothing to family=diffusion; leave it out"),
        ("autoregressive", ["--temperature", "0"], 2, "sample.temperature=0.0 must be more than 0"),
        ("autoregressive", ["--top-p", "1.5"], 2, "sample.top_p=1.5 must be more than 0 and at most 1"),
        ("autoregressive", ["--log-likelihood"], 2, "--log-likelihood has no place in a folder of PNGs"),
        ("diffusion", ["--scheduler", "ddim"], 2, "sample.scheduler=ddim cannot serve family.path=flow"),
        ("diffusion", ["--steps", "1001"], 2, "sample.steps=1001 must be a number from 1 to 1000"),
        ("diffusion", ["--guidance-interval", "0.9", "0.1"], 2, "[0.9, 0.1]: the first time must be below"),
        ("diffusion", ["--guidance", "nan"], 2, "sample.guidance=nan"),
        ("diffusion", ["--guidance", "-1"], 2, "sample.guidance=-1.0"),
        ("vae", ["--labels", "zero"], 2, "--labels zero: write whole numbers separated by commas"),
        ("vae", ["--labels", "0,2"], 2, "label 2: must be from 0 to 1"),
        ("vae", ["--labels", "-1"], 2, "label -1: must be from 0 to 1"),
    ],
)
def test_sample_refuses_what_the_run_cannot_do(trained, tmp_path, family, words, code, message):
    said = genvision("sample", trained(family).path, "--num-images", 4, "--out", tmp_path / "out", *words)
    assert said.code == code and message in said.error, said.err  # no bar was drawn
    assert list(tmp_path.iterdir()) == []


def test_sample_never_writes_into_what_is_there(trained, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.png").write_bytes(b"")
    said = genvision("sample", trained("vae").path, "--out", tmp_path / "out")
    assert said.code == 3 and "exists already" in said.error
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.png"]


@pytest.mark.parametrize(("family", "out"), [("vae", "out.npz"), ("autoregressive", "out"), ("diffusion", "out")])
def test_weights_that_are_no_numbers_end_sampling_without_a_file(trained, tmp_path, family, out):
    run = shutil.copytree(trained(family).path, tmp_path / "run")
    for file in (run / "model").rglob("*.safetensors"):
        weights = load_file(file)
        next(w for w in weights.values() if w.is_floating_point()).view(-1)[0] = torch.nan
        save_file(weights, file)
    said = genvision("sample", run, "--num-images", 4, "--out", tmp_path / out)
    assert said.code == 5 and "the weights have diverged" in said.last_error, said.err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_drawn(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("genvision.sample_command.draw_images", None)  # drawing would be no StorageError
    (tmp_path / "file").write_bytes(b"")
    causes = {
        "/proc/x.npz": "No such file or directory; choose another folder",
        tmp_path / "file" / "x.npz": "Not a directory; choose another folder",
    }
    for out, cause in causes.items():
        said = genvision("sample", trained("vae").path, "--out", out)
        assert (said.code, said.error) == (6, f"cannot write {out}: {cause}")
    said = genvision("nll", trained("vae").path, "--json", "/proc/x.json")
    assert (said.code, said.error.startswith("cannot write /proc/x.json: ")) == (6, True)
    said = genvision("sample", trained("vae").path, "--out", tmp_path / "new" / "one.png")
    assert (said.code, f"--out {tmp_path}/new/one.png: images go into a folder" in said.error) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("number", "end"),
    [
        (errno.ENOSPC, r"No space left on device \(\d+\.\d MiB free\); free some space or choose another folder"),
        (errno.EACCES, "Permission denied; mend the permissions or choose another folder"),
        (errno.EROFS, "Read-only file system; choose another folder"),
        (errno.EIO, r"Input/output error \(.* free\); free some space, mend the permissions or choose another folder"),
    ],
)
def test_a_refusal_to_write_says_what_helps_against_its_cause(tmp_path, monkeypatch, number, end):
    def refuses(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("tempfile.TemporaryFile", refuses)
    said = genvision("sample", "run", "--out", tmp_path / "x.npz")
    assert said.code == 6 and re.fullmatch(f"cannot write {tmp_path}/x.npz: {end}", said.error)


def test_an_interrupted_command_that_cannot_be_resumed_does_not_say_so(trained, tmp_path, monkeypatch):
    def strikes(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("genvision.sample_command.write_images", strikes)
    said = genvision("sample", trained("vae").path, "--num-images", 2, "--out", tmp_path / "out")
    assert (said.code, said.last_error) == (143, "interrupted")


def test_a_run_without_a_model_says_how_to_get_one(trained, tmp_path):
    shutil.copytree(trained("vae").path, tmp_path / "run", ignore=shutil.ignore_patterns("model"))
    said = genvision("sample", tmp_path / "run", "--out", tmp_path / "out")
    assert said.code == 4 and f"genvision train --resume {tmp_path}/run" in said.error


def test_scores_are_of_whole_sets_of_lossless_images(pictures, tmp_path):
    reference = ("--reference", f"folder:{pictures}", *OFFLINE)
    folder = tmp_path / "images"
    write_pictures(folder, 4)
    for file in folder.glob("*/*.png"):
        file.rename(folder / file.name)
    said = genvision("score", folder, *reference, "--num-images", 5)
    assert said.code == 3 and "found 4 images where 5 were asked for" in said.error
    Image.open(folder / "00.png").save(folder / "04.jpg")
    said = genvision("score", folder, *reference)
    assert said.code == 3 and "04.jpg: scores need lossless images" in said.error
    (folder / "04.jpg").unlink()
    said = genvision("score", folder, *reference, "--seed", 1)
    assert said.code == 2 and "--seed is for drawing" in said.error
    said = genvision("score", folder, "--reference", "fashion_mnist_mini:test", *OFFLINE)
    assert said.code == 2 and "its images are (1, 28, 28), the generated ones (1, 8, 8)" in said.error
    said = genvision("score", folder, "--reference", "garments", *OFFLINE)
    assert said.code == 2 and "reference 'garments'" in said.error
    said = genvision("score", folder, "--reference", "cifar10", *OFFLINE)  # downloads nothing unasked
    assert said.code == 3 and "data.download=true" in said.error


def test_reconstructions_are_scored_against_the_images_they_are_of(trained, tmp_path, monkeypatch):
    folder, report = trained("vae"), tmp_path / "report.json"
    said = genvision("score", folder.path, "--reconstruct", *OFFLINE, "--json", report)
    assert said.code == 0, said.err
    told = json.loads(report.read_text())
    real = data.load(folder.read_config().data, "test")
    family = load(folder.path).generator
    with torch.no_grad():
        images = family.reconstruct(Batch(real.images, real.labels), Draw(0, 0, torch.arange(10)))
    mse = (images.double() - real.images.double()).square().mean((1, 2, 3))
    psnr = 10 * torch.log10(255**2 / mse)
    assert told["metrics"]["psnr"]["value"] == pytest.approx(psnr.mean().item(), rel=1e-3)
    assert told["metrics"]["frechet"]["name"] == "rFD-EffNetLite0" and told["metrics"]["frechet"]["value"] > 1
    assert told["protocol"]["num_images"] == told["protocol"]["reference"]["num_images"] == 10
    how = {"split": "test", "ema": 0.999, "batch_size": 4, "pixels": "mean"}
    assert told["protocol"]["reconstruction"] == how and told["protocol_hash"] in said.out
    monkeypatch.setattr("genvision.families.vae.VAE.reconstruct", lambda self, batch, draw: batch.images)
    genvision("score", folder.path, "--reconstruct", *OFFLINE, "--num-images", 7, "--json", report)
    told = json.loads(report.read_text())
    assert told["metrics"]["psnr"]["value"] == 100 and told["protocol"]["num_images"] == 7
    said = genvision("score", trained("diffusion").path, "--reconstruct", *OFFLINE)
    assert said.code == 2 and "family=diffusion has no latents to reconstruct images from" in said.error


def test_a_score_finds_its_reference_before_minutes_of_drawing(trained, monkeypatch):
    monkeypatch.setattr("genvision.score_command.draw", lambda *_: pytest.fail("drew images first"))
    words = ("score", trained("vae").path, *OFFLINE)
    said = genvision(*words, "--reference", "folder:/no/such", "--num-images", 4)
    assert said.code == 3 and "/no/such: no such folder" in said.error
    said = genvision(*words, "--reference", "fashion_mnist_mini")
    assert said.code == 2 and "--num-images is needed" in said.error


@pytest.mark.parametrize(("family", "meaning"), [("vae", "upper bound, bound=elbo"), ("autoregressive", "exact")])
def test_nll_is_the_number_of_the_record(trained, tmp_path, family, meaning):
    folder = trained(family)
    said = genvision("nll", folder.path, "--json", tmp_path / "nll.json")
    bits = read_record(folder.result)["bits_per_dim"]
    assert json.loads((tmp_path / "nll.json").read_text()) == {"data": "folder", **bits}
    assert said.out == f"{bits['value']:.4f} bits/dim ({meaning}), 10 images of folder:test\n"
    said = genvision("nll", folder.path, "--split", "validation", "--num-images", 2)
    assert said.code == 0 and said.out.endswith(f"({meaning}), 2 images of folder:validation\n")


def test_more_importance_samples_make_the_bound_tighter_and_its_name_says_how_many(trained, tmp_path):
    folder, found = trained("vae"), []
    for name in ("elbo", "iwae:1", "iwae:16"):
        said = genvision("nll", folder.path, "--bound", name, "--json", tmp_path / "nll.json")
        assert said.out.endswith(f" bits/dim (upper bound, bound={name}), 10 images of folder:test\n"), said
        found.append(json.loads((tmp_path / "nll.json").read_text()))
    assert [(bits["kind"], bits["bound"]) for bits in found] == [
        ("bound", "elbo"),
        ("bound", "iwae:1"),
        ("bound", "iwae:16"),
    ]
    elbo, one, many = (bits["value"] for bits in found)
    assert many < one and abs(elbo - one) < 0.1


@pytest.mark.parametrize(
    ("family", "bound", "message"),
    [
        ("vae", "elbow", "'elbow' is neither elbo nor iwae:K, such as iwae:64"),
        ("vae", "iwae:0", "'iwae:0' is neither elbo nor iwae:K"),
        ("autoregressive", "iwae:4", "--bound means nothing to the bits/dim of family=autoregressive"),
    ],
)
def test_a_bound_that_cannot_be_had_is_refused(trained, family, bound, message):
    said = genvision("nll", trained(family).path, "--bound", bound)
    assert said.code == 2 and message in said.error


def test_a_family_without_likelihood_says_so(trained, monkeypatch):
    monkeypatch.setattr("genvision.families.diffusion.Diffusion.likelihood", None)
    said = genvision("nll", trained("diffusion").path)
    assert said.code == 2 and "family=diffusion has no bits/dim of pixels" in said.error


def test_the_leaderboard_is_rebuilt_from_result_files_alone(trained, tmp_path):
    for family in ("vae", "diffusion"):
        (tmp_path / "runs" / family).mkdir(parents=True)
        shutil.copy(trained(family).result, tmp_path / "runs" / family)
    said = genvision("leaderboard", "build", tmp_path / "runs", "--out", tmp_path / "board")
    assert said == (0, f"{tmp_path}/board/index.html\n", "")
    rows = json.loads((tmp_path / "board" / "leaderboard.json").read_text())["unranked"]
    assert sorted((row["family"], row["folder"]) for row in rows) == [("diffusion", "diffusion"), ("vae", "vae")]
    assert genvision("leaderboard", "build", tmp_path / "runs").code == 0
    assert tree(tmp_path / "runs" / "leaderboard") == tree(tmp_path / "board")


def test_data_is_listed_shown_and_checked(pictures, tmp_path):
    said = genvision("data", "list")
    assert said.code == 0 and "fashion_mnist_mini" in said.out and "found in" in said.out
    size = ("data.height=8", "data.width=8", "data.channels=1")
    out = tmp_path / "grid.png"
    said = genvision("data", "show", f"folder:{pictures}", "--split", "test", *size, "--out", out)
    assert said == (0, f"{out}\n", "") and Image.open(out).size == (8 * 10 + 2, 2 * 10 + 2)
    said = genvision("data", "check", f"folder:{pictures}", *size)
    assert said.code == 0 and "50" in said.out
    said = genvision("data", "check", "folder:/no/such", *size)
    assert said.code == 3 and "/no/such: no such folder" in said.error


def test_the_doctor_answers():
    said = genvision("doctor")
    assert said.code == 0 and f"genvision {__version__}" in said.out
