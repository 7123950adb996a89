"""The scripts in samples/: each runs on a finished run, and its picture shows what its first line says."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from runs import fresh_launch, pictures, reset_launch, trained  # noqa: F401

from genvision import data, load
from genvision.spec import Draw

SAMPLES = Path(__file__).parents[1] / "samples"


def run_script(monkeypatch, capsys, name, *words):
    """Run samples/NAME; the picture it wrote, (rows, columns, H, W) of gray 8x8 images."""
    out = Path(words[words.index("--out") + 1])
    reset_launch()
    monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
    runpy.run_path(str(SAMPLES / name), run_name="__main__")
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    pixels = np.array(Image.open(out))
    assert (pixels == pixels[..., :1]).all()
    inner = pixels[2:, 2:, 0]  # frames of 2 pixels around images that are shown twice as large
    rows, columns = (side // 18 for side in inner.shape)
    cells = inner[: rows * 18, : columns * 18].reshape(rows, 18, columns, 18).transpose(0, 2, 1, 3)
    return cells[:, :, :16:2, :16:2]


def test_class_grid_has_a_class_in_each_column(trained, tmp_path, monkeypatch, capsys):
    folder = trained("diffusion")
    shown = run_script(
        monkeypatch, capsys, "class_grid.py", folder.path, "--rows", 3, "--guidance", 2, "--out", tmp_path / "g.png"
    )
    expected = load(folder.path)(6, labels=[0, 1] * 3, guidance=2.0, output_type="pt").images
    assert shown.shape == (3, 2, 8, 8) and np.array_equal(shown.reshape(6, 8, 8), expected[:, 0].numpy())


def test_guidance_shows_one_noise_under_each_strength(trained, tmp_path, monkeypatch, capsys):
    folder = trained("diffusion")
    words = (folder.path, "--strengths", 1, 1e4, "--seed", 4, "--out", tmp_path / "g.png")
    shown = run_script(monkeypatch, capsys, "guidance.py", *words)
    for row, strength in zip(shown, (1.0, 1e4), strict=True):
        expected = load(folder.path)(2, seed=4, guidance=strength, output_type="pt").images
        assert np.array_equal(row, expected[:, 0].numpy())
    assert (shown[0] != shown[1]).any()


def test_interpolation_walks_from_one_latent_to_the_other(trained, tmp_path, monkeypatch, capsys):
    folder = trained("vae")
    words = (folder.path, "--rows", 2, "--columns", 5, "--seed", 3, "--out", tmp_path / "walk.png")
    shown = run_script(monkeypatch, capsys, "interpolation.py", *words)
    assert shown.shape == (2, 5, 8, 8)
    family = load(folder.path).generator
    # the left ends are the latents of images 0 and 2 of this seed, the right ones of 1 and 3
    for row, label in enumerate((0, 1)):
        sampled = family.sample(4, labels=torch.full((4,), label), seed=3, chunk_size=4)[:, 0].int().numpy()
        for column, k in ((0, 2 * row), (4, 2 * row + 1)):
            assert np.abs(shown[row, column].astype(int) - sampled[k]).max() <= 1
    steps = np.abs(np.diff(shown.astype(int), axis=1)).mean((2, 3))
    ends = np.abs(shown[:, 0].astype(int) - shown[:, -1]).mean((1, 2))
    assert (steps.max(1) <= ends).all() and (ends > 0).all()


def test_completion_keeps_the_upper_half(trained, tmp_path, monkeypatch, capsys):
    folder = trained("autoregressive")
    words = (folder.path, "--columns", 3, "--rows", 2, "--out", tmp_path / "c.png")
    shown = run_script(monkeypatch, capsys, "completion.py", *words)
    real = data.load(folder.read_config().data, "test").images[:3, 0].numpy()
    assert shown.shape == (3, 3, 8, 8)
    assert np.array_equal(shown[0], real)
    for row in (1, 2):
        assert np.array_equal(shown[row, :, :4], real[:, :4])
        assert (shown[row, :, 4:] != real[:, 4:]).any()
    assert (shown[1, :, 4:] != shown[2, :, 4:]).any()


def test_trajectory_goes_from_noise_to_the_sample(trained, tmp_path, monkeypatch, capsys):
    folder = trained("diffusion")
    words = (folder.path, "--rows", 3, "--columns", 4, "--seed", 5, "--out", tmp_path / "t.png")
    shown = run_script(monkeypatch, capsys, "trajectory.py", *words)
    assert shown.shape == (3, 4, 8, 8)
    pipeline = load(folder.path)
    labels = torch.tensor([0, 1, 0])
    samples = pipeline.generator.sample(3, labels=labels, seed=5, chunk_size=3, steps=3)[:, 0].numpy()
    assert np.array_equal(shown[:, -1], samples)
    noise = next(pipeline.generator.trajectory(Draw(5, 0, torch.arange(3)), labels, steps=3))[:, 0]
    assert np.array_equal(shown[:, 0], ((noise.clamp(-1, 1) + 1) * 127.5).round().numpy())
    assert (shown[:, 1] != shown[:, 2]).any()


@pytest.mark.parametrize(
    ("name", "family", "message"),
    [
        ("completion.py", "vae", "is no run of family=autoregressive on pixels, which alone completes images"),
        ("guidance.py", "vae", "guidance means nothing to family=vae; leave it out"),
        ("interpolation.py", "diffusion", "is no vae of family.latent=gaussian, which alone has latents"),
        ("trajectory.py", "vae", "is of family=vae: only a diffusion one goes from noise to image"),
    ],
)
def test_a_run_that_a_script_cannot_use_is_one_line(trained, tmp_path, monkeypatch, capsys, name, family, message):
    for source, code, expected in ((trained(family).path, 2, message), (tmp_path / "none", 4, "no folder")):
        with pytest.raises(SystemExit) as caught:
            run_script(monkeypatch, capsys, name, source, "--out", tmp_path / "x.png")
        said = capsys.readouterr()
        assert caught.value.code == code and said.out == ""
        assert said.err.startswith("genvision: error: ") and said.err.count("\n") == 1 and expected in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(path.name for path in SAMPLES.glob("*.py")))
def test_every_script_is_short_and_says_how_to_run_it(name):
    source = (SAMPLES / name).read_text()
    assert len(source.splitlines()) < 60
    assert f"python samples/{name} RUN" in source.splitlines()[0]
