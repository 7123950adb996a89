"""Drawing: image k is the same bytes whatever else is drawn. Writing: lossless, whole, never over something else."""

from __future__ import annotations

import errno

import numpy as np
import pytest
import torch
from cells import make_cell, randomise, some_images
from crowd import every_process
from PIL import Image
from runs import FAMILIES, fresh_launch, tree  # noqa: F401

from genvision.errors import ConfigError, DataError, StorageError
from genvision.sampling import draw_images, write, write_grid, write_images
from genvision.sampling.write import grid_columns
from genvision.spec import ImageSpec

SPEC = ImageSpec(1, 4, 6, classes=3)


def cell(family, spec=SPEC):
    backbones = {"vae": ("vit", "conv"), "autoregressive": ("pixelcnn",), "diffusion": ("unet",)}
    return randomise(make_cell(family, backbones[family], spec))


@pytest.mark.parametrize("family", FAMILIES)
def test_image_k_is_the_same_bytes_for_any_number_of_images(family):
    generator = cell(family)
    many = draw_images(generator, 9, seed=5, chunk_size=4)
    assert many.shape == (9, 1, 4, 6) and many.dtype == torch.uint8
    for n in (1, 3, 4, 5, 8):
        assert torch.equal(draw_images(generator, n, seed=5, chunk_size=4), many[:n]), n
    assert torch.equal(generator.sample(9, seed=5, chunk_size=4), many)
    assert len({image.numpy().tobytes() for image in many}) == 9
    others = {image.numpy().tobytes() for image in draw_images(generator, 9, seed=6, chunk_size=4)}
    assert others.isdisjoint(image.numpy().tobytes() for image in many)


def test_every_chunk_is_drawn_whole(monkeypatch):
    generator, seen = cell("vae"), []
    draw_chunk = generator.sample_chunk
    monkeypatch.setattr(generator, "sample_chunk", lambda slots, *rest: seen.append(slots) or draw_chunk(slots, *rest))
    assert len(draw_images(generator, 6, chunk_size=4)) == 6
    assert [slots.tolist() for slots in seen] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_labels_are_k_mod_classes_unless_given(monkeypatch):
    generator, seen = cell("diffusion"), []
    inner = generator._sample
    monkeypatch.setattr(generator, "_sample", lambda draw, y, **rest: seen.append(y.tolist()) or inner(draw, y, **rest))
    usual = draw_images(generator, 6, chunk_size=4, steps=2)
    assert seen == [[0, 1, 2, 0], [1, 2, 2, 2]]  # padding takes the last label
    seen.clear()
    chosen = draw_images(generator, 6, labels=torch.tensor([1, 1, 0, 0, 2, 2]), chunk_size=4, steps=2)
    assert seen == [[1, 1, 0, 0], [2, 2, 2, 2]]
    same = [k for k in range(6) if torch.equal(usual[k], chosen[k])]
    assert same == [1, 3, 5]  # where both labels agree


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_a_thousand_images_of_ten_classes_are_a_hundred_of_each(monkeypatch, processes):
    generator = cell("vae", SPEC._replace(classes=10))
    monkeypatch.setattr(generator, "_sample", lambda draw, y: y.to(torch.uint8))  # an image that is its label
    for drawn in every_process(processes, lambda: draw_images(generator, 1000, chunk_size=64)):
        assert torch.equal(drawn.long(), generator.check_labels(None, 1000))  # which are those that a file is given
        assert drawn.bincount().tolist() == [100] * 10


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], "2 labels were given for 3 images"),
        ([], "0 labels were given for 3 images"),
        ([0, 1, 3], "label 3: must be from 0 to 2"),
        ([0, -1, 0], "label -1: must be from 0 to 2"),
    ],
)
def test_impossible_labels_are_refused(labels, message):
    with pytest.raises(ConfigError, match=message):
        draw_images(cell("vae"), 3, labels=torch.tensor(labels))


def test_labels_mean_nothing_to_an_unconditional_family():
    generator = cell("vae", SPEC._replace(classes=0))
    assert len(draw_images(generator, 2)) == 2
    with pytest.raises(ConfigError, match="trained without"):
        draw_images(generator, 2, labels=torch.tensor([0, 0]))


@pytest.mark.parametrize("family", FAMILIES)
def test_drawing_leaves_everything_as_it_was(family):
    generator = cell(family)
    for training in (True, False):
        generator.train(training)
        before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
        ambient = torch.get_rng_state()
        draw_images(generator, 2, chunk_size=2)
        assert {module.training for module in generator.modules()} == {training}
        assert all(torch.equal(tensor, before[name]) for name, tensor in generator.state_dict().items())
        assert torch.equal(torch.get_rng_state(), ambient)
        assert all(p.requires_grad and p.grad is None for p in generator.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_module_is_in_eval_mode_while_images_are_drawn(family):
    generator, modes = cell(family).train(), set()
    for module in generator.modules():
        module.register_forward_pre_hook(lambda module, _: modes.add(module.training))
    draw_images(generator, 2, chunk_size=2)
    assert modes == {False}


def test_an_error_while_drawing_restores_the_mode(monkeypatch):
    generator = cell("vae").train()
    monkeypatch.setattr(generator, "_sample", lambda *_: (_ for _ in ()).throw(ConfigError("no")))
    with pytest.raises(ConfigError):
        draw_images(generator, 2)
    assert generator.training


def test_precision_is_that_of_an_autocast_around_the_networks():
    generator, seen = cell("diffusion"), []
    generator.denoiser.register_forward_hook(lambda _module, _inputs, out: seen.append(out.dtype))
    full = draw_images(generator, 4, chunk_size=4, steps=2)
    assert set(seen) == {torch.float32}
    seen.clear()
    half = draw_images(generator, 4, chunk_size=4, steps=2, precision="bf16")
    assert set(seen) == {torch.bfloat16}
    assert not torch.equal(full, half) and (full.int() - half.int()).abs().float().mean() < 20
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(generator.sample(4, chunk_size=4, steps=2), half)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_png_folders_are_lossless(tmp_path, channels, mode):
    images = some_images(3, ImageSpec(channels, 5, 7))
    write_images(images, tmp_path / "out")
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == ["000000.png", "000001.png", "000002.png"]
    for file, image in zip(files, images, strict=True):
        with Image.open(file) as shown:
            assert (shown.format, shown.mode) == ("PNG", mode)
            pixels = np.array(shown).reshape(5, 7, channels)
        assert np.array_equal(pixels, image.movedim(0, -1).numpy())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("labels", [None, torch.tensor([2, 0, 1])])
def test_npz_holds_images_and_labels(tmp_path, labels):
    images = some_images(3, SPEC)
    write_images(images, tmp_path / "out.npz", labels=labels, log_likelihood_nats=None)
    with np.load(tmp_path / "out.npz", allow_pickle=False) as archive:
        assert sorted(archive) == (["images"] if labels is None else ["images", "labels"])
        assert archive["images"].dtype == np.uint8 and np.array_equal(archive["images"], images.numpy())
        if labels is not None:
            assert archive["labels"].dtype == np.int64 and archive["labels"].tolist() == [2, 0, 1]


def test_samples_are_never_mixed(tmp_path):
    images = some_images(2, SPEC)
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("keep")
    for out in (full, full / "mine.txt"):
        with pytest.raises(DataError, match="exists already") as caught:
            write_images(images, out)
        assert caught.value.exit_code == 3
    write_images(images, tmp_path / "a.npz")
    before = tree(tmp_path)
    with pytest.raises(DataError, match=r"a\.npz exists already"):
        write_images(images, tmp_path / "a.npz")
    assert tree(tmp_path) == before
    (tmp_path / "empty").mkdir()
    write_images(images, tmp_path / "empty")
    assert len(list((tmp_path / "empty").iterdir())) == 2


@pytest.mark.parametrize("out", ["new/folder", "new/file.npz", "empty"])
@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch, out, fault):
    (tmp_path / "empty").mkdir()
    real, calls = write.to_pil_image, []

    def third_fails(image):
        calls.append(image)
        if len(calls) == 3:
            raise fault
        return real(image)

    monkeypatch.setattr(write, "to_pil_image", third_fails)
    monkeypatch.setattr(np, "savez_compressed", lambda file, **_: file.write(b"PK") and (_ for _ in ()).throw(fault))
    with pytest.raises(StorageError if isinstance(fault, OSError) else KeyboardInterrupt) as caught:
        write_images(some_images(5, SPEC), tmp_path / out)
    if isinstance(fault, OSError):
        assert "No space left on device" in str(caught.value) and caught.value.exit_code == 6
    assert [path for path in tmp_path.rglob("*") if path.is_file() or path.name.startswith(".")] == []
    assert (tmp_path / "empty").is_dir()


def test_a_grid_shows_every_pixel_enlarged(tmp_path):
    images = some_images(5, ImageSpec(1, 3, 4))
    assert write_grid(images, tmp_path / "grid.png", columns=3, scale=2) == tmp_path / "grid.png"
    with Image.open(tmp_path / "grid.png") as shown:
        assert shown.mode == "RGB"
        grid = np.array(shown)
    assert grid.shape == (2 * (6 + 2) + 2, 3 * (8 + 2) + 2, 3)
    for k, image in enumerate(images):
        top, left = 2 + (k // 3) * 8, 2 + (k % 3) * 10
        cut = grid[top : top + 6, left : left + 8]
        assert (cut == cut[..., :1]).all()
        assert np.array_equal(cut[::2, ::2, 0], image[0].numpy()) and np.array_equal(cut[1::2, 1::2], cut[::2, ::2])
    assert (grid[:2] == 255).all() and (grid[:, :2] == 255).all()


def test_a_grid_shows_colors_without_their_alpha(tmp_path):
    for channels, shown in ((2, 1), (3, 3), (4, 3)):
        images = some_images(1, ImageSpec(channels, 2, 2))
        write_grid(images, tmp_path / "grid.png", columns=1, scale=1)
        pixels = np.array(Image.open(tmp_path / "grid.png"))
        centre = pixels if pixels.shape[0] == 2 else pixels[2:4, 2:4]
        assert np.array_equal(centre[..., :shown], images[0, :shown].movedim(0, -1).numpy())


def test_a_grid_has_a_column_per_class_where_that_can_be_read():
    assert [grid_columns(classes) for classes in (0, 1, 2, 10, 16, 17, 100)] == [8, 8, 2, 10, 16, 8, 8]


def test_equal_images_make_equal_files(tmp_path):
    images = some_images(2, SPEC)
    for name in ("one", "two"):
        write_images(images, tmp_path / name)
    assert tree(tmp_path / "one") == tree(tmp_path / "two") != {}
