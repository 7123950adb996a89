"""Guidance, with and without a weaker model, inside an interval: what is mixed, what it costs, what is refused."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import torch
from cells import make_cell, randomise
from runs import fresh_launch, genvision, pictures, train, trained  # noqa: F401

from genvision import load
from genvision.errors import ConfigError
from genvision.families.diffusion import SamplerOptions
from genvision.families.guidance import Guidance
from genvision.fingerprint import short_hash
from genvision.spec import ImageSpec

SPEC = ImageSpec(1, 4, 4, classes=3)
EDM = {"path": "edm", "prediction": "preconditioned", "times": "log_normal"}


def cell(seed: int = 0, spec: ImageSpec = SPEC, **options):
    return randomise(make_cell("diffusion", ("vit",), spec, **options), 0.3, seed)


def guided(model, xt, t, y, **options):
    """What the solver of the flow path is given at (xt, t)."""
    return model.denoise(y, model.guidance(SamplerOptions(**options)))(xt, t)


@pytest.mark.parametrize("guidance", [0.0, 1.0, 3.5])
@torch.no_grad()
def test_guidance_extrapolates_from_the_prediction_without_label(guidance) -> None:
    model, xt, t, y = cell(), torch.randn(2, 1, 4, 4), torch.tensor([0.3, 0.8]), torch.tensor([0, 2])
    conditional, unconditional = (model.denoiser(xt, 1000 * t, label) for label in (y, None))
    assert not torch.allclose(conditional, unconditional)
    expected = unconditional + guidance * (conditional - unconditional)
    torch.testing.assert_close(guided(model, xt, t, y, guidance=guidance), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("labelled", [True, False])
@torch.no_grad()
def test_autoguidance_extrapolates_from_the_weaker_model_with_the_same_label(labelled) -> None:
    spec = SPEC if labelled else SPEC._replace(classes=0)
    model, guide = cell(spec=spec), cell(1, spec)
    xt, t, y = torch.randn(2, 1, 4, 4), torch.tensor([0.3, 0.8]), torch.tensor([0, 2]) if labelled else None
    own, weaker = (m.denoiser(xt, 1000 * t, y) for m in (model, guide))
    found = guided(model, xt, t, y, guidance=2.5, guide=guide)
    torch.testing.assert_close(found, weaker + 2.5 * (own - weaker), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("with_guide", [True, False])
@torch.no_grad()
def test_outside_of_the_interval_nothing_guides(with_guide) -> None:
    """Both ends belong to it; each image is judged by its own time."""
    model, guide = cell(), cell(1) if with_guide else None
    t = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9])
    xt, y = torch.randn(5, 1, 4, 4), torch.arange(5) % 3
    plain = guided(model, xt, t, y)
    always = guided(model, xt, t, y, guidance=3.0, guide=guide)
    inside = guided(model, xt, t, y, guidance=3.0, guide=guide, guidance_interval=(0.25, 0.75))
    acts = Guidance(3.0, (0.25, 0.75)).acts(t)
    assert acts.tolist() == [False, True, True, True, False]
    torch.testing.assert_close(inside, torch.where(acts[:, None, None, None], always, plain), rtol=0, atol=1e-5)
    assert not torch.allclose(plain, always, atol=1e-2)


@pytest.mark.parametrize("path", [{}, EDM], ids=["flow", "edm"])
@pytest.mark.parametrize("scheduler", ["euler", "heun or edm"])
def test_only_guided_calls_cost_two(path, scheduler) -> None:
    model, guide = cell(**path), cell(1, **path)
    scheduler = scheduler if scheduler == "euler" else "edm" if path else "heun"
    options = {"steps": 8, "scheduler": scheduler, "guidance": 2.0}
    rows = []
    for m in (model, guide):
        m.denoiser.register_forward_hook(lambda _, args, __: rows.append(len(args[0])))
    calls = model.network_evaluations(steps=8, scheduler=scheduler)
    interval = (0.05, 2.0) if path else (0.2, 0.6)
    costs = []
    for own in ({}, {"guidance_interval": interval}, {"guide": guide}, {"guide": guide, "guidance_interval": interval}):
        rows.clear()
        model.sample(2, chunk_size=2, **options, **own)
        costs.append(model.network_evaluations(**options, **own))
        assert sum(rows) / 2 == costs[-1]
    assert costs[0] == costs[2] == 2 * calls
    assert calls < costs[1] == costs[3] < 2 * calls


def test_an_interval_of_everything_or_nothing_draws_the_same_bytes() -> None:
    model = cell()
    plain, always = (model.sample(3, chunk_size=3, steps=4, guidance=w) for w in (1.0, 3.0))
    options = {"chunk_size": 3, "steps": 4, "guidance": 3.0}
    assert torch.equal(model.sample(3, guidance_interval=(0.0, 1.0), **options), always)
    assert torch.equal(model.sample(3, guidance_interval=(2.0, 3.0), **options), plain)
    assert not torch.equal(plain, always)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guidance_interval": (0.5, 0.5)}, r"sample.guidance_interval=\[0.5, 0.5\]: the first time must be below"),
        ({"guide": cell(spec=SPEC._replace(height=6))}, "the guide must share images, labels, codec, path"),
        ({"guide": cell(spec=SPEC._replace(classes=0))}, "name an earlier checkpoint of the same run"),
        ({"guide": cell(prediction="x0")}, "the guide must share images, labels, codec, path"),
        ({"guide": cell(sigma_data=0.7)}, "the guide must share images, labels, codec, path"),
        ({"guide": cell(**EDM)}, "the guide must share images, labels, codec, path"),
        ({"guide": cell(1), "guidance": 1.0}, "a guide does nothing at guidance 1; give more, such as --guidance 2"),
        ({"guide": make_cell("vae", ("vit", "vit"), SPEC)}, "the guide must share images, labels, codec, path"),
    ],
)
def test_what_cannot_guide_is_refused_before_drawing(options, message) -> None:
    for ask in (cell().network_evaluations, lambda **o: cell().sample(1, chunk_size=1, **o)):
        with pytest.raises(ConfigError, match=message):
            ask(**{"steps": 3, "guidance": 2.0, **options})


@pytest.mark.parametrize(("classes", "dropout"), [(3, 0.0), (0, 0.1)], ids=["never without", "no labels"])
def test_a_model_that_has_not_both_kinds_of_examples_needs_a_guide(classes, dropout) -> None:
    spec = SPEC._replace(classes=classes)
    model = cell(spec=spec, label_dropout=dropout)
    for ask in (model.network_evaluations, lambda **options: model.sample(1, chunk_size=1, **options)):
        with pytest.raises(ConfigError, match="sample.guidance=2.0 needs labels and .*label_dropout > 0; .* --guide"):
            ask(steps=3, guidance=2.0)
    assert model.network_evaluations(steps=3, guidance=2.0, guide=cell(1, spec, label_dropout=0.1)) == 6
    assert model.network_evaluations(steps=3) == 3


@pytest.fixture(scope="module")
def run(tmp_path_factory, pictures):
    """A finished run with checkpoints of steps 3 and 6; its weights are quick to move, so that they differ."""
    runs = tmp_path_factory.mktemp("guided")
    words = ("family=diffusion", "backbone=vit", "run.name=r", "train.learning_rate=0.05", "ema.decay=0.5")
    assert train(pictures, runs, *words).code == 0
    return runs / "r"


def images_of(path):
    with np.load(path) as archive:
        return torch.from_numpy(archive["images"])


def test_a_checkpoint_is_a_model_of_its_averaged_weights(run, tmp_path):
    early, late = (run / "checkpoints" / f"step-{step:09d}" for step in (3, 6))
    ema = safetensors.torch.load_file(early / "ema.safetensors")
    found = load(early).generator.state_dict()
    assert found.keys() == ema.keys() and all(torch.equal(found[name], ema[name]) for name in ema)
    assert short_hash(load(late).generator) == short_hash(load(run).generator) != short_hash(load(early).generator)
    said = genvision("sample", early, "--num-images", 3, "--out", tmp_path / "early.npz")
    assert said.code == 0 and f"3 images from the EMA weights of {early}, seed 0" in said.out
    assert torch.equal(images_of(tmp_path / "early.npz"), load(early)(3, output_type="pt").images)


def test_a_run_is_guided_by_its_earlier_checkpoint(run, tmp_path):
    early = run / "checkpoints" / "step-000000003"
    words = ("sample", run, "--num-images", 5, "--guidance", 3)
    said = genvision(*words, "--guide", early, "--guidance-interval", 0.3, 1, "--out", tmp_path / "a.npz")
    assert said.code == 0, said.err
    assert said.out == f"{tmp_path}/a.npz: 5 images from the EMA weights of {run}, seed 0, guided by {early}\n"
    options = {"guidance": 3.0, "guidance_interval": (0.3, 1.0), "output_type": "pt"}
    expected = load(run)(5, guide=load(early), **options).images
    assert torch.equal(images_of(tmp_path / "a.npz"), expected)
    assert not torch.equal(load(run)(5, **options).images, expected)
    assert torch.equal(load(run)(5, guide=load(run), **options).images, load(run)(5, output_type="pt").images)


def test_a_damaged_or_unknown_guide_is_refused(run, trained, tmp_path):
    words = ("sample", run, "--num-images", 2, "--guidance", 2, "--out", tmp_path / "out")
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    bad = copy / "checkpoints" / "step-000000003"
    (bad / "ema.safetensors").write_bytes(b"x")
    said = genvision(*words, "--guide", bad)
    assert said.code == 4 and "damaged (ema.safetensors is not what was written)" in said.error
    said = genvision(*words, "--guide", trained("vae").path)
    assert said.code == 2 and "the guide must share images" in said.last_error
    said = genvision("sample", trained("vae").path, "--guide", run, "--out", tmp_path / "out")
    assert said.code == 2 and "guide means nothing to family=vae; leave it out" in said.error
    assert not (tmp_path / "out").exists()


def test_a_score_names_its_guide_by_weights_and_its_interval(run, pictures, tmp_path, monkeypatch):
    early = run / "checkpoints" / "step-000000003"
    asked = []
    unscored = SimpleNamespace(nearest=None)
    monkeypatch.setattr(
        "genvision.score_command.score_images", lambda images, *_, sampling, **__: asked.append(sampling) or unscored
    )
    monkeypatch.setattr("genvision.score_command.as_json", lambda _: {"metrics": {}, "protocol": {"reference": {}}})
    monkeypatch.setattr("genvision.commands._print_metrics", lambda _: None)
    words = ("score", run, "--reference", f"folder:{pictures}", "--extractor", "efficientnet-lite0", "--num-images", 4)
    for own in ((), ("--guidance", 2, "--guide", early, "--guidance-interval", 0, 0.5, "--steps", 2)):
        said = genvision(*words, *own)
        assert said.code == 0, said.err
    plain, guided = (json.loads(json.dumps(sampling)) for sampling in asked)
    assert plain.get("guide") is None and plain["guidance_interval"] is None
    changed = {
        "guidance": 2.0,
        "guidance_interval": [0.0, 0.5],
        "guide": short_hash(load(early).generator),
        "steps": 2,
    }
    assert guided == plain | changed
    said = genvision("score", tmp_path, *words[2:], "--guidance", 2)
    assert said.code == 2 and f"--guidance is for drawing, and {tmp_path} is no run to draw from" in said.error
