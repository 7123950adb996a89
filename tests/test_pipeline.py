"""Exported models: what is saved is what is loaded, bit for bit, and nothing else is believed."""

from __future__ import annotations

import errno
import json
import shutil
import stat
from types import SimpleNamespace

import diffusers.utils.hub_utils as hub_utils
import numpy as np
import pytest
import torch
from cells import make_cell, randomise, some_images
from diffusers.pipelines import pipeline_utils
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from runs import FAMILIES, fresh_launch, genvision, pictures, trained, tree  # noqa: F401
from safetensors.torch import load_file, save_file

from genvision import exports, load, pipelines
from genvision.errors import ConfigError, RunError, StorageError
from genvision.pipelines import ImageGenerationPipeline, to_pil
from genvision.sampling import draw_images, log_likelihoods
from genvision.spec import ImageSpec

SPEC = ImageSpec(3, 4, 6, classes=3)
TRUNKS = {"vae": ("vit", "conv"), "autoregressive": ("pixelcnn",), "diffusion": ("unet",)}
ROLES = {"vae": {"encoder", "decoder"}, "autoregressive": {"predictor"}, "diffusion": {"denoiser"}}


def pipeline_of(family):
    own = {"steps": 2, "scheduler": "heun", "guidance": 2.0} if family == "diffusion" else {}
    cell = randomise(make_cell(family, TRUNKS[family], SPEC)).eval()
    return ImageGenerationPipeline.from_family(cell, {"chunk_size": 4, "precision": "no", **own})


@pytest.fixture
def exported(tmp_path):
    """A diffusion export to spoil."""
    pipeline_of("diffusion").export(tmp_path / "model")
    return tmp_path / "model"


def edit(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in {**content, **changes}.items() if value is not ...}))


def refused(source):
    """The one line that loading is refused with."""
    with pytest.raises(RunError) as caught:
        load(source)
    assert caught.value.exit_code == 4 and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("how", ["export", "save_pretrained"])
def test_a_round_trip_changes_no_bit(tmp_path, family, how):
    pipeline = pipeline_of(family)
    getattr(pipeline, how)(tmp_path / "model")
    again = ImageGenerationPipeline.from_pretrained(tmp_path / "model")
    weights = pipeline.generator.state_dict()
    assert weights.keys() == again.generator.state_dict().keys()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in again.generator.state_dict().items())
    assert again.generator.options == pipeline.generator.options and again.generator.spec == SPEC
    assert dict(again.config.sampling) == dict(pipeline.config.sampling)
    images = pipeline(5, seed=3, output_type="pt").images
    assert torch.equal(again(5, seed=3, output_type="pt").images, images) and images.shape == (5, 3, 4, 6)
    assert [np.array(image).tolist() for image in again(5, seed=3).images] == images.movedim(1, -1).tolist()
    assert not any(module.training for module in again.generator.modules())
    assert not any(p.requires_grad for p in again.generator.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_an_export_is_json_and_safetensors_alone(tmp_path, family):
    pipeline_of(family).export(tmp_path / "model")
    files = {path.relative_to(tmp_path / "model").as_posix() for path in (tmp_path / "model").rglob("*.*")}
    networks = {f"{role}/{name}" for role in ROLES[family] for name in ("config.json", WEIGHTS)}
    assert files == {"model_index.json"} | networks
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


WEIGHTS = "diffusion_pytorch_model.safetensors"


def test_a_call_takes_labels_seed_and_sampler_options():
    pipeline = pipeline_of("diffusion")
    labels = [2, 2, 0]
    settings = {"chunk_size": 4, "scheduler": "heun", "guidance": 2.0}
    expected = draw_images(pipeline.generator, 3, labels=torch.tensor(labels), seed=9, steps=3, **settings)
    assert torch.equal(pipeline(3, labels=labels, seed=9, steps=3, output_type="pt").images, expected)
    assert not torch.equal(pipeline(3, labels=labels, seed=9, output_type="pt").images, expected)


def test_a_call_tells_the_log_likelihood_of_its_images_on_request():
    pipeline, options = pipeline_of("autoregressive"), {"labels": [2, 2, 0, 1, 1], "temperature": 0.5, "guidance": 2.0}
    plain, told = (pipeline(5, output_type="pt", log_likelihood=asked, **options) for asked in (False, True))
    assert plain.log_likelihood_nats is None and torch.equal(told.images, plain.images)
    expected = log_likelihoods(pipeline.generator, told.images, labels=torch.tensor(options["labels"]), chunk_size=4)
    assert torch.equal(told.log_likelihood_nats, expected) and expected.shape == (5,) and (expected < 0).all()
    with pytest.raises(ConfigError, match="log-likelihood of an image is not known to family=diffusion"):
        pipeline_of("diffusion")(1, log_likelihood=True)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_images_come_as_pil(channels, mode):
    (image,) = some_images(1, ImageSpec(channels, 2, 1))
    shown = to_pil(image)
    assert (shown.mode, shown.size) == (mode, (1, 2))
    assert np.array_equal(np.array(shown).reshape(2, 1, channels), image.movedim(0, -1).numpy())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_folder_and_its_model_load_alike(trained, family):
    folder = trained(family)
    by_run, by_model = load(folder.path), load(str(folder.model))
    ema = load_file(max(folder.checkpoints.iterdir()) / "ema.safetensors")
    for pipeline in (by_run, by_model):
        weights = pipeline.generator.state_dict()
        assert weights.keys() == ema.keys() and all(torch.equal(weights[name], ema[name]) for name in ema)
    images = [pipeline(3, seed=1, output_type="pt").images for pipeline in (by_run, by_model)]
    assert torch.equal(*images)
    assert by_run.config.sampling["chunk_size"] == 4  # that of the run


def test_an_export_takes_the_place_of_the_one_before(exported):
    other = pipeline_of("vae")
    (exported / "denoiser" / "stale.json").write_text("{}")
    other.export(exported)
    assert {path.name for path in exported.iterdir()} == {"model_index.json", "encoder", "decoder"}
    modes = {stat.S_IMODE(path.stat().st_mode) for path in exported.rglob("*.*")}
    assert len(modes) == 1  # weights are no more secret than their configuration


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), pipelines.SafetensorError("full")])
def test_an_export_that_fails_leaves_the_one_before(exported, monkeypatch, fault):
    before = tree(exported.parent)

    def fails(self, folder):
        folder.mkdir()
        (folder / "half").write_text("x")
        raise fault

    monkeypatch.setattr(ImageGenerationPipeline, "save_pretrained", fails)
    with pytest.raises(StorageError, match="cannot write .*model: ") as caught:
        pipeline_of("vae").export(exported)
    assert caught.value.exit_code == 6 and tree(exported.parent) == before


def test_weights_must_fit_to_the_name_and_shape(exported):
    file = exported / "denoiser" / WEIGHTS
    whole = load_file(file)
    whole = {name: tensor.clone() for name, tensor in whole.items()}
    name = sorted(whole)[0]
    save_file({key: value for key, value in whole.items() if key != name}, file, {"format": "pt"})
    assert "missing keys" in (line := refused(exported)) and name in line
    save_file({**whole, "extra.weight": torch.zeros(2)}, file, {"format": "pt"})
    assert "unexpected keys: extra.weight" in refused(exported)
    save_file({**whole, name: torch.zeros(7, 7)}, file, {"format": "pt"})
    assert str(exported / "denoiser") in refused(exported)
    save_file(whole, file, {"format": "pt"})
    assert load(exported)(1, output_type="pt").images.shape == (1, 3, 4, 6)


def test_a_damaged_export_is_refused(exported):
    index = exported / "model_index.json"
    whole = index.read_text()
    for content in ("", "{", "[]", "null", '"x"'):
        index.write_text(content)
        assert str(exported) in refused(exported)
    for change in ({"family": "gan"}, {"family": ["vae"]}, {"family": ...}, {"options": ...}):
        index.write_text(whole)
        edit(index, **change)
        assert "was not written by genvision" in refused(exported)
    for change in ({"options": {"name": "diffusion", "magic": 1}}, {"spec": {"channels": 3}}, {"spec": 3}):
        index.write_text(whole)
        edit(index, **change)
        assert "do not fit this genvision" in refused(exported)
    index.write_text(whole)
    (exported / "denoiser" / WEIGHTS).write_bytes((exported / "denoiser" / WEIGHTS).read_bytes()[:-9])
    assert str(exported / "denoiser") in refused(exported)
    (exported / "denoiser" / WEIGHTS).unlink()
    assert str(exported / "denoiser") in refused(exported)
    shutil.rmtree(exported / "denoiser")
    assert "has no denoiser/" in refused(exported)


def test_a_pickle_is_never_read(exported):
    weights = load_file(exported / "denoiser" / WEIGHTS)
    torch.save(weights, exported / "denoiser" / "diffusion_pytorch_model.bin")
    (exported / "denoiser" / WEIGHTS).unlink()
    assert str(exported / "denoiser") in refused(exported)


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "model_index.json is missing" in refused(tmp_path / "empty")
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("")
    assert f"genvision train --resume {run}" in refused(run)
    for name in ("nowhere", "no/where", "no/where/at/all", ""):
        assert "\n" not in refused(name)


def test_a_hub_id_loads_what_the_hub_holds(exported, monkeypatch):
    asked = []
    monkeypatch.setattr(exports, "snapshot_download", lambda *a, **k: asked.append((a, k)) or str(exported))
    from_hub = load("someone/garments", revision="v1")
    assert torch.equal(from_hub(2, output_type="pt").images, load(exported)(2, output_type="pt").images)
    patterns = ["*.json", "*.safetensors", "*.md"]  # no code, no pickles
    assert asked == [(("someone/garments",), {"allow_patterns": patterns, "revision": "v1"})]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (LocalEntryNotFoundError("[Errno -2] ConnectError\nand more lines"), ""),
        (OSError("cannot connect"), ""),
        (HfHubHTTPError("403 No\nand more", response=SimpleNamespace(headers={}, request=None)), " (403 No)"),
    ],
)
def test_a_hub_that_does_not_help_is_one_line_with_its_own_words_if_it_has_any(monkeypatch, tmp_path, fault, told):
    def fails(*_, **__):
        raise fault

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(exports, "snapshot_download", fails)
    expected = f"no folder someone/garments here, and the Hub does not answer for it{told}; check the path"
    assert refused("someone/garments") == expected


def test_a_push_uploads_the_export_alone(monkeypatch):
    sent = {}
    card = SimpleNamespace(save=lambda path: None)
    for module in (hub_utils, pipeline_utils):
        for name, replacement in (
            ("create_repo", lambda repo_id, **_: SimpleNamespace(repo_id=repo_id)),
            ("load_or_create_model_card", lambda *_, **__: card),
            ("populate_model_card", lambda *_, **__: card),
        ):
            monkeypatch.setattr(module, name, replacement, raising=False)
    monkeypatch.setattr(hub_utils, "upload_folder", lambda **given: sent.update(given, files=tree_of(given)))
    pipeline_of("vae").push_to_hub("someone/garments")
    assert sent["repo_id"] == "someone/garments"
    assert sent["files"] == {"model_index.json", *(f"{r}/{n}" for r in ROLES["vae"] for n in ("config.json", WEIGHTS))}


def tree_of(given):
    return set(tree(pipelines.Path(given["folder_path"])))


def test_unknown_options_of_a_call_are_refused():
    with pytest.raises(ConfigError, match="1 labels were given for 2 images"):
        pipeline_of("vae")(2, labels=[0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_images": 0}, "num_images=0: must be a whole number of at least 1"),
        ({"num_images": 2.5}, "num_images=2.5: must be a whole number"),
        ({"num_images": True}, "num_images=True: must be a whole number"),
        ({"seed": -1}, "seed=-1: must be a whole number of at least 0"),
        ({"seed": 2**63}, "below 2^63"),
        ({"chunk_size": 0}, "chunk_size=0: must be a whole number of at least 1"),
        ({"labels": "cat"}, "labels='cat': must be a whole number, or a list of one per image"),
        ({"labels": [0.5]}, "labels=[0.5]: must be a whole number"),
        ({"labels": [[0, 1]]}, "labels=[[0, 1]]: must be a whole number"),
        ({"labels": [2**70]}, "labels=[1180591620717411303424]: must be a whole number"),
        ({"labels": 3}, "label 3: must be from 0 to 2"),
        ({"guide": 3}, "3 names no model; give a run folder, an exported folder or a Hub id"),
        ({"output_type": "np"}, "output_type='np': must be 'pil' or 'pt'"),
        ({"temperature": 2.0}, "temperature means nothing to family=diffusion"),
    ],
)
def test_an_argument_of_a_call_that_cannot_be_is_named(given, message):
    with pytest.raises(ConfigError) as caught:
        pipeline_of("diffusion")(**{"num_images": 2, **given})
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_one_label_is_that_of_all_images():
    pipeline = pipeline_of("diffusion")
    expected = pipeline(3, labels=[2, 2, 2], output_type="pt").images
    assert not torch.equal(pipeline(3, output_type="pt").images, expected)
    for label in (2, np.int64(2), torch.tensor(2), np.array([2, 2, 2]), torch.tensor([2, 2, 2], dtype=torch.int32)):
        assert torch.equal(pipeline(np.int64(3), labels=label, output_type="pt").images, expected)


def test_a_guide_may_be_named_as_on_the_command_line(trained):
    folder = trained("diffusion")
    early = folder.checkpoints / "step-000000003"
    pipeline = load(folder.path)
    expected = pipeline(2, guide=load(early), guidance=2.0, output_type="pt").images
    assert not torch.equal(pipeline(2, guidance=2.0, guide=load(folder.path), output_type="pt").images, expected)
    for name in (early, str(early)):
        assert torch.equal(pipeline(2, guide=name, guidance=2.0, output_type="pt").images, expected)


def test_what_load_does_not_know_is_a_type_error_that_names_it(exported):
    for source in (exported, "someone/garments"):
        with pytest.raises(TypeError, match="has no argument bananas: it takes revision, token, cache_dir"):
            load(source, bananas=3)
        with pytest.raises(TypeError, match=r"has no argument device: .*; move what is loaded with \.to\(device\)"):
            load(source, device="cuda")
    with pytest.raises(ConfigError, match="None names no model; give a run folder"):
        load(None)
