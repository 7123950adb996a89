"""Generators of codes, end to end: trained on a finished autoencoder, exported with it, drawn from again."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from runs import fresh_launch, genvision, pictures, train, trained  # noqa: F401
from safetensors.torch import load_file, save_file
from test_samples import run_script

from genvision import data
from genvision.codecs import fit_codec
from genvision.errors import RunError
from genvision.pipelines import load
from genvision.run_folder import RunFolder

KINDS = {
    "diffusion": ("gaussian", ["denoiser.patch=1"]),
    "autoregressive": ("vq", ["family.likelihood=categorical"]),
}


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory, pictures):
    """Kind of latents -> a finished autoencoder's folder."""
    made: dict[str, RunFolder] = {}

    def run(latent: str) -> RunFolder:
        if latent not in made:
            runs = tmp_path_factory.mktemp("codecs")
            said = train(pictures, runs, "family=vae", "backbone=convnet", f"family.latent={latent}", "run.name=vae")
            assert said.code == 0, said.err
            made[latent] = RunFolder(runs / "vae")
        return made[latent]

    return run


@pytest.fixture(scope="module")
def generator(tmp_path_factory, pictures, autoencoder):
    """Family -> a finished generator of codes."""
    made: dict[str, RunFolder] = {}

    def run(family: str) -> RunFolder:
        if family not in made:
            latent, words = KINDS[family]
            runs, codec = tmp_path_factory.mktemp("generators"), f"codec.run={autoencoder(latent).path}"
            said = train(pictures, runs, f"family={family}", "backbone=vit", *words, codec, "run.name=codes")
            assert said.code == 0, said.err
            made[family] = RunFolder(runs / "codes")
        return made[family]

    return run


@pytest.mark.parametrize("family", KINDS)
def test_a_run_on_codes_has_its_record_and_no_bits_of_pixels(generator, family) -> None:
    record = json.loads(generator(family).result.read_text())
    assert record["status"] == "finished" and record["bits_per_dim"] is None
    said = genvision("nll", generator(family).path)
    assert said.code == 2 and "about codes" in said.error


@pytest.mark.parametrize("family", KINDS)
def test_an_export_needs_no_other_run_and_draws_the_same_images(generator, family, tmp_path) -> None:
    folder = generator(family)
    moved = shutil.copytree(folder.model, tmp_path / "elsewhere")
    drawn = load(moved)(6, output_type="pt").images
    assert torch.equal(drawn, torch.from_numpy(np.load(folder.samples / "final.npz")["images"]))
    assert len(drawn.unique(dim=0)) == 6


def test_latents_are_brought_to_unit_scale_and_the_run_remembers_how(generator, autoencoder, tmp_path) -> None:
    folder = generator("diffusion")
    state = json.loads(folder.codec.read_text())
    assert (
        len(state["mean"]) == len(state["std"]) == load(autoencoder("gaussian").path).config.options["latent_channels"]
    )
    assert load(folder.path).config.codec["state"] == state


def test_a_resumed_run_takes_the_codec_that_its_folder_remembers(generator, tmp_path) -> None:
    folder = RunFolder(shutil.copytree(generator("diffusion").path, tmp_path / "codes"))
    config, state = folder.read_config(), json.loads(folder.codec.read_text())
    train_set = data.load(config.data, "train")
    assert fit_codec(config, train_set, None).state == state  # what a new run measures
    state["mean"][0] += 1
    folder.codec.write_text(json.dumps(state))
    assert fit_codec(config, train_set, folder).state == state
    folder.codec.write_text(json.dumps(state | {"fingerprint": "0" * 16}))
    with pytest.raises(RunError, match="name the run it was trained with"):
        fit_codec(config, train_set, folder)
    folder.codec.write_text(json.dumps({name: value for name, value in state.items() if name != "std"}))
    with pytest.raises(RunError, match=r"the codec's std of \d+ latent channels is None"):
        fit_codec(config, train_set, folder)


def test_the_scripts_show_images_of_codes_or_say_that_they_cannot(
    generator, autoencoder, tmp_path, monkeypatch, capsys
):
    folder, out = generator("diffusion").path, tmp_path / "out.png"
    words = ("--rows", 2, "--columns", 3, "--out", out)
    shown = run_script(monkeypatch, capsys, "trajectory.py", folder, *words)
    assert shown.shape == (2, 3, 8, 8)
    assert np.array_equal(shown[:, -1], load(folder)(2, chunk_size=2, output_type="pt").images[:, 0].numpy())
    for script, run in (("completion.py", generator("autoregressive")), ("interpolation.py", autoencoder("vq"))):
        with pytest.raises(SystemExit) as caught:
            run_script(monkeypatch, capsys, script, run.path, "--out", tmp_path / "none.png")
        assert caught.value.code == 2 and capsys.readouterr().err.startswith(f"genvision: error: {run.path} is no ")


@pytest.mark.parametrize("family", KINDS)
def test_a_score_stands_beside_that_of_the_codec(autoencoder, pictures, tmp_path, family) -> None:
    latent, words = KINDS[family]
    codec, offline = autoencoder(latent).path, ("--extractor", "efficientnet-lite0")
    scored = ("score.num_images=8", "score.extractor=efficientnet-lite0", "train.steps=1", "run.name=codes")
    said = train(pictures, tmp_path, f"family={family}", "backbone=vit", *words, f"codec.run={codec}", *scored)
    assert said.code == 0, said.err
    reports = []
    for run in (codec, tmp_path / "codes"):  # of a generator of codes, what comes back of the images is its codec's
        report = tmp_path / f"{run.name}.json"
        assert genvision("score", run, "--reconstruct", "--num-images", 8, *offline, "--json", report).code == 0
        reports.append(json.loads(report.read_text())["metrics"])
    assert reports[0] == reports[1]
    distance, psnr = reports[0]["frechet"], reports[0]["psnr"]
    told = f"reconstructions of its codec: rFD-EffNetLite0 {distance['value']:.4g}  PSNR (dB) {psnr['value']:.4g}"
    assert json.loads((tmp_path / "codes" / "result.json").read_text())["note"] == told and told in said.out
    assert told in (tmp_path / "leaderboard" / "index.html").read_text()


def test_another_autoencoder_under_the_generator_is_refused(generator, tmp_path) -> None:
    moved = shutil.copytree(generator("diffusion").model, tmp_path / "elsewhere")
    (weights,) = (moved / "decoder").glob("*.safetensors")
    tensors = load_file(weights)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, weights)
    said = genvision("sample", moved, "--num-images", "1", "--out", tmp_path / "x.npz")
    assert said.code == 4 and "the codec's weights have hash" in said.error


@pytest.mark.parametrize(
    ("family", "latent", "message"),
    [
        ("diffusion", "vq", "its codes are tokens, family=diffusion generates values"),
        ("autoregressive", "gaussian", "its codes are values, family=autoregressive generates tokens"),
        ("vae", "gaussian", "family=vae generates pixels"),
    ],
)
def test_codes_of_the_wrong_kind_are_refused_in_one_line(autoencoder, pictures, tmp_path, family, latent, message):
    said = train(pictures, tmp_path, f"family={family}", "backbone=vit", f"codec.run={autoencoder(latent).path}")
    assert said.code == 2 and message in said.error and not any(tmp_path.iterdir())


def test_a_codec_that_is_no_autoencoder_is_refused(trained, pictures, tmp_path) -> None:
    said = train(pictures, tmp_path, "family=diffusion", f"codec.run={trained('autoregressive').path}")
    assert said.code == 2 and "an autoencoder" in said.error.replace("name a run of family=vae", "an autoencoder")
