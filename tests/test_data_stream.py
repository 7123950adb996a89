"""Streams: every format, each image once an epoch, and a place that depends on (seed, step, slot) alone."""

from __future__ import annotations

import builtins
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from runs import TINY, RunFolder, fresh_launch, genvision, tree  # noqa: F401
from safetensors.torch import load_file
from shards import CLASSES, numbered, png, write_parquet, write_tars, written
from test_interruption import needs_cpu, signalled_before

from genvision import data
from genvision.config import load_config
from genvision.data import StreamBatches
from genvision.data.augment import Augment
from genvision.data.decode import decode
from genvision.data.lanes import Lane
from genvision.data.source import Source, expanded
from genvision.errors import ConfigError, DataError
from genvision.evaluation.record import read_record
from genvision.spec import Draw

SIZES = [6] * 5  # the last shard is the test's
TRAINED = set(range(24))
WEIGHTS = "diffusion_pytorch_model.safetensors"


def config_of(path, *words):
    base = (f"data=stream:{path}", f"data.classes={CLASSES}", "data.height=8", "data.width=8", "data.channels=1")
    small = ("data.lanes=2", "data.shuffle_buffer=8", "data.resident_images=100", "train.batch_size=8")
    return load_config(None, [*base, *small, "family=vae", "backbone=vit", *words]).data


@pytest.fixture(scope="module")
def tars(tmp_path_factory):
    return write_tars(tmp_path_factory.mktemp("tars"), SIZES)


def batches(path, seed=3, batch_size=8, notes=None, **changes):
    config = replace(config_of(path), **changes)
    made = data.make_batches(config, None, batch_size=batch_size, seed=seed, device="cpu")
    made.notes = notes
    return made


def numbers(made, step, slots=None):
    """Which images stand in a step's slots."""
    batch = made.at(Draw(0, step, torch.arange(8) if slots is None else torch.as_tensor(slots)))
    found = batch.images[:, 0, 0, 0].tolist()
    assert batch.images.dtype == torch.uint8 and batch.labels.tolist() == [k % CLASSES for k in found]
    return found


@pytest.mark.parametrize("kind", ["tar folder", "tar glob", "tar range", "parquet folder", "parquet range", "images"])
def test_every_format_gives_the_same_images(tmp_path, kind):
    if kind == "images":
        for split, keys in (("train", range(24)), ("test", range(24, 30))):
            for k in keys:
                file = tmp_path / split / "abc"[k % CLASSES] / f"{k:02d}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(png(k))
    else:
        (write_tars if "tar" in kind else write_parquet)(tmp_path, SIZES)
    suffix = kind.partition(" ")[0]
    path = {"glob": f"train-*.{suffix}", "range": f"train-{{000..004}}.{suffix}"}.get(kind.partition(" ")[2], "")
    config = config_of(tmp_path / path)
    train, test = data.load(config, "train"), data.load(config, "test")
    assert sorted(train.images[:, 0, 0, 0].tolist()) == sorted(TRAINED)
    assert (
        sorted(test.images[:, 0, 3, 3].tolist()) == [*range(24, 30)] and train.spec == data.spec_of(config) == test.spec
    )
    assert train.labels.tolist() == [k % CLASSES for k in train.images[:, 0, 0, 0].tolist()]
    assert train.class_names == (("a", "b", "c") if kind == "images" else ("0", "1", "2"))
    assert {k for step in range(6) for k in numbers(batches(tmp_path / path), step)} == TRAINED


@pytest.fixture
def served(tmp_path):
    """A folder, and the address under which this machine serves it."""
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield tmp_path, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("suffix", ["tar", "parquet"])
def test_remote_shards_are_those_of_a_folder(served, suffix):
    folder, address = served
    (write_tars if suffix == "tar" else write_parquet)(folder, SIZES)
    shards = f"train-{{000..004}}.{suffix}"
    near, far = (batches(f"{place}/{shards}") for place in (folder, address))
    assert [numbers(far, step) for step in range(5)] == [numbers(near, step) for step in range(5)]
    test = data.load(config_of(f"{address}/{shards}"), "test")
    assert sorted(test.images[:, 0, 0, 0].tolist()) == list(range(24, 30))


def test_resident_images_are_of_all_shards(tars):
    kept = data.load(replace(config_of(tars), resident_images=8), "train").images[:, 0, 0, 0].tolist()
    assert kept == [0, 1, 6, 7, 12, 13, 18, 19]


def test_each_image_comes_once_an_epoch_in_an_order_of_its_own(tars):
    made = batches(tars)
    epochs = [[k for step in range(3 * e, 3 * e + 3) for k in numbers(made, step)] for e in range(4)]
    assert [Counter(epoch) for epoch in epochs] == [Counter(TRAINED)] * 4
    assert len({tuple(epoch) for epoch in epochs}) == 4
    other = batches(tars, seed=4)
    assert [numbers(other, step) for step in range(3)] != [numbers(made, step) for step in range(3)]


def test_images_are_named_by_their_shard_and_place(tars):
    made = batches(tars)
    for step in (0, 2, 5):
        draw = Draw(0, step, torch.tensor([6, 1, 3]))
        named = [re.fullmatch(rf"stream:{tars}: shard (\d), example (\d)", name) for name in made.named(draw)]
        assert [6 * int(found[1]) + int(found[2]) for found in named] == numbers(made, step, draw.slots)


def test_a_block_that_is_passed_over_is_read_to_its_end_first(tars):
    """Blocks of two examples: every second is asked for while a free thread could read beside the one before it."""
    made = batches(tars, shuffle_buffer=4)
    real = made.source.read

    def slowly(*unit):
        for example in real(*unit):
            time.sleep(0.01)
            yield example

    expected = [numbers(batches(tars, shuffle_buffer=4), step, [0]) for step in range(5)]
    made.source.read = slowly
    assert [numbers(made, step, [0]) for step in range(5)] == expected


def test_lanes_share_the_shards_of_each_epoch_anew(tars):
    lanes = [Lane(Source(config_of(tars), "train"), k, 2, 3, None) for k in range(2)]
    epochs = [[lane.units(epoch) for lane in lanes] for epoch in range(6)]
    assert all(sorted(one + two) == [(k, 0) for k in range(4)] for one, two in epochs)
    assert len({str(epoch) for epoch in epochs}) > 3


def test_a_shard_is_read_once_an_epoch_even_where_a_step_is_made_again(tars):
    """Blocks of six straddle the four slots that a lane has in a step."""
    made, read = batches(tars, shuffle_buffer=12), []
    real = made.source.read
    made.source.read = lambda *unit: read.append(unit) or real(*unit)
    for step in (0, 1, 2, 2, 3, 4, 4, 5):
        numbers(made, step)
    assert 8 <= len(read) <= 10  # two epochs of four shards, and what is read ahead


def test_blocks_are_mixed(tars):
    """The shards of a lane are files in order; what is drawn is not."""
    first = [k for step in range(3) for k in numbers(batches(tars, shuffle_buffer=24), step, range(4))]
    assert len({k // 6 for k in first}) == 2 and first != sorted(first)
    assert len({k // 6 for k in first[:6]}) == 2  # a block holds both shards of the lane


@pytest.mark.parametrize("buffer", [2, 8, 1000])
@pytest.mark.parametrize("steps", [(7, 2, 2, 11, 0), (5,), (1, 2, 3)])
def test_a_batch_is_a_function_of_its_draw(tars, steps, buffer):
    straight = batches(tars, shuffle_buffer=buffer)
    expected = [numbers(straight, step) for step in range(12)]
    made = batches(tars, shuffle_buffer=buffer)
    assert [numbers(made, step) for step in steps] == [expected[step] for step in steps]


def test_processes_share_the_batch_and_open_their_own_lanes_alone(tars):
    whole, parts = [numbers(batches(tars), step) for step in range(4)], []
    for process in range(2):
        made = batches(tars)
        parts.append([numbers(made, step, range(4 * process, 4 * process + 4)) for step in range(4)])
        assert [bool(blocks._coming) for blocks in made._blocks] == [process == 0, process == 1]
    assert [a + b for a, b in zip(*parts, strict=True)] == whole


@pytest.mark.parametrize("damage", [None, "torn", "another seed", "nonsense"])
def test_notes_save_reading_and_change_nothing(tars, tmp_path, damage):
    straight = batches(tars, seed=5 if damage == "another seed" else 3, notes=tmp_path)
    plain = batches(tars)
    expected = [numbers(plain, step) for step in range(12)]
    for step in range(9):
        numbers(straight, step)
    for file in tmp_path.iterdir():
        text = file.read_text()
        file.write_text({"torn": text[:-4], "nonsense": "[1]\n{}\nx\n"}.get(damage, text))
    made, read = batches(tars, notes=tmp_path, shuffle_buffer=2), []
    real = made.source.read
    made.source.read = lambda *unit: read.append(unit) or real(*unit)
    made.at(Draw(0, 8, torch.arange(1)))  # position 32 of lane 0, in its sixth shard
    assert len(read) <= 2 if damage in (None, "torn") else len(read) >= 6, read
    again = batches(tars, notes=tmp_path)
    assert [numbers(again, step) for step in range(7, 12)] == expected[7:]


def test_fewer_shards_than_lanes_are_read_in_stripes(tmp_path):
    write_tars(tmp_path, [12, 6])
    made = batches(tmp_path, lanes=4)
    epoch = [k for step in range(3) for k in numbers(made, step)]
    assert Counter(epoch) == Counter({k: 2 for k in range(12)})


def test_a_test_split_of_its_own_is_used(tmp_path):
    write_parquet(tmp_path, [6, 6])
    (tmp_path / "train-001.parquet").rename(tmp_path / "validation-000.parquet")
    config = config_of(tmp_path)
    assert data.load(config, "train").images[:, 0, 0, 0].tolist() == [*range(6)]
    assert data.load(config, "test").images[:, 0, 0, 0].tolist() == [*range(6, 12)]


def test_augmentation_is_that_of_resident_images(tmp_path):
    write_tars(tmp_path, SIZES, lambda k: written(np.arange(64, dtype=np.uint8).reshape(8, 8) + k))
    draw = Draw(0, 1, torch.arange(8))
    plain, flipped = (
        batches(tmp_path, **changes).at(draw).images for changes in ({}, {"flip": True, "crop_padding": 2})
    )
    assert torch.equal(flipped, Augment(3, True, 2, 8, 8)(plain, draw)) and not torch.equal(flipped, plain)


def test_bytes_are_decoded_as_files_are(tmp_path):
    generator = np.random.default_rng(0)
    for mode, channels in (("L", 1), ("RGB", 3), ("RGBA", 4), ("LA", 2)):
        from PIL import Image

        shape = (11, 9) if channels == 1 else (11, 9, channels)
        Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8), mode).save(tmp_path / "x.png")
        for wanted in (1, 3):
            file = decode(tmp_path / "x.png", 8, 8, wanted)
            assert np.array_equal(decode((tmp_path / "x.png").read_bytes(), 8, 8, wanted), file)


def test_ranges_of_paths():
    assert expanded("s3://a/b-{08..11}.tar") == [f"s3://a/b-{k:02d}.tar" for k in (8, 9, 10, 11)]
    assert expanded("a-*.tar") == ["a-*.tar"]
    with pytest.raises(ConfigError, match="5 is more than 2"):
        expanded("a-{5..2}.tar")


def cut(file):
    file.write_bytes(file.read_bytes()[:3700])
    return file.parent


def broken(k):
    return b"" if k == 9 else png(k)[: 30 if k == 8 else None]


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (lambda root: root / "nowhere", {}, "cannot be opened"),
        (lambda root: write_tars(root, [6]), {"part": "test"}, "one shard and no test split"),
        (
            lambda root: write_tars(root, [6, 6]),
            {"image_column": "jpg"},
            "no column jpg; set data.image_column to",
        ),
        (lambda root: write_tars(root, [6, 6]), {"label_column": "json"}, "no column json; set data.label_column"),
        (lambda root: write_parquet(root, [6, 6]), {"image_column": "label"}, "its image is int, not the bytes"),
        (
            lambda root: write_tars(root, [6, 6]),
            {"classes": 2},
            "shard 0, example 2: label 2 is none of",
        ),
        (lambda root: write_tars(root, [6, 6, 6], broken), {}, "shard 1, example 2: not an image"),
        (lambda root: cut(write_tars(root, [6, 6, 6]) / "train-001.tar"), {}, "shard 1 cannot be read: unexpected end"),
        (lambda root: (write_tars(root, [6, 6]) / "train-000.tar").write_bytes(b"x" * 600) and root, {}, "cannot be"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, make, changes, message):
    part = changes.pop("part", "train")
    config = replace(config_of(make(tmp_path)), **changes)
    with pytest.raises(DataError, match=message) as caught:
        Source(config, part).resident()
    assert "\n" not in str(caught.value) and str(caught.value).startswith("stream:")


def test_a_damaged_image_in_training_is_named_too(tmp_path):
    write_tars(tmp_path, [6] * 4, broken)
    with pytest.raises(DataError, match="shard 1, example [23]: (damaged|zero bytes|not)"):
        for step in range(3):
            batches(tmp_path).at(Draw(0, step, torch.arange(8)))


def test_damaged_images_may_give_their_places_to_others(tmp_path, caplog):
    """Two of a block of four: the same images for any slots of any process, with their own labels and names."""
    write_tars(tmp_path, [6] * 4, broken)
    allowed = {"max_bad_fraction": 0.5}
    steps = [numbers(batches(tmp_path, **allowed), step) for step in range(9)]
    assert {k for step in steps for k in step} == set(range(18)) - {8, 9}
    apart = batches(tmp_path, **allowed)
    assert [numbers(apart, 7, [5, 0]), numbers(apart, 2, [1])] == [[steps[7][5], steps[7][0]], [steps[2][1]]]
    named = apart.named(Draw(0, 7, torch.arange(8)))
    assert [int(name.split("shard ")[1][0]) * 6 + int(name[-1]) for name in named] == steps[7]
    assert re.search("shard 1, example 2: .*; left out", caplog.text)
    resident = Source(replace(config_of(tmp_path), **allowed), "train").resident()
    assert sorted(resident.images[:, 0, 0, 0].tolist()) == sorted(set(range(18)) - {8, 9})
    assert [re.sub(".*: shard", "shard", fault)[:18] for fault in resident.left_out] == [
        "shard 1, example 2",
        "shard 1, example 3",
    ]
    with pytest.raises(DataError, match="shard 1, example 2: "):
        Source(replace(config_of(tmp_path), max_bad_fraction=0.1), "train").resident()


def test_a_record_names_what_the_stream_has_left_out(tmp_path, monkeypatch):
    """Images that only training has met, before and after a stop."""
    write_tars(tmp_path / "data", [6] * 4, broken)
    words = (f"data=stream:{tmp_path / 'data'}", "data.classes=3", *TINY, "data.validation_fraction=0", "family=vae")
    words += ("backbone=vit", "data.lanes=2", "data.shuffle_buffer=8", "data.resident_images=6", "run.name=run")
    words += ("data.max_bad_fraction=0.5", f"run.dir={tmp_path}")
    with monkeypatch.context() as patch:
        signalled_before(patch, StreamBatches, "at", 15, call=5)
        assert genvision("train", *words).code == 143
    run = RunFolder(tmp_path / "run")
    files = list((run.path / "stream").glob("*.left_out.txt"))
    assert files
    with files[0].open("a") as file:
        file.write('"a process that was ki')
    assert genvision("train", "--resume", run.path).code == 0
    record = read_record(run.result)
    assert sorted(re.sub(".*: shard", "shard", fault)[:18] for fault in record["left_out"]) == [
        "shard 1, example 2",
        "shard 1, example 3",
    ]
    assert "2 files could not be used and were left out" in record["note"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("data=mnist", "data.max_bad_fraction=0.1"), "data.max_bad_fraction: is for folders and streams"),
        (("data=mnist", "data.lanes=2"), "data.lanes: is an option of data=stream"),
        (("data=stream:x", "data.classes=null"), "data.classes: a stream does not say how many"),
        (("data=stream:x", "data.classes=3", "data.lanes=3"), "data.lanes: must divide train.batch_size, 8"),
        (("data=stream:x", "data.classes=3", "data.validation_fraction=0.1"), "data.validation_fraction: a stream has"),
        (("data=stream:x", "data.classes=3", "data.fraction=0.5"), "data.fraction: a stream has no share"),
        (("data=stream", "data.classes=3"), "data.path: what to read is missing; write data=stream:SOURCE"),
    ],
)
def test_options_that_make_no_sense_are_refused(words, message):
    said = genvision("train", "family=vae", "backbone=vit", "train.batch_size=8", *words, "--dry-run")
    assert said.code == 2 and message in said.error


def test_the_package_that_is_missing_is_named(tars, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "datasets":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'genvision\[stream\]'"):
        Source(config_of(tars), "train")


def test_the_file_system_that_a_url_lacks_is_named(monkeypatch):
    import datasets

    def without(*_, **__):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(datasets, "load_dataset_builder", without)
    with pytest.raises(ConfigError, match="stream:s3://a/b.tar: cannot be opened: Install s3fs to access S3"):
        Source(config_of("s3://a/b.tar"), "train")


def test_a_run_goes_on_to_the_same_bits(tars, tmp_path, monkeypatch):
    words = (f"data=stream:{tars}", "data.classes=3", *TINY, "data.validation_fraction=0", "family=vae", "backbone=vit")
    words += ("data.lanes=2", "data.shuffle_buffer=8", "data.resident_images=40", f"run.dir={tmp_path}")
    said = genvision("train", *words, "run.name=straight")
    assert said.code == 0, said.err
    with monkeypatch.context() as patch:
        signalled_before(patch, StreamBatches, "at", 15, call=3)
        assert genvision("train", *words, "run.name=broken").code == 143
    broken, straight = RunFolder(tmp_path / "broken"), RunFolder(tmp_path / "straight")
    assert sorted(path.name for path in (broken.path / "stream").iterdir()) == ["lane-000.txt", "lane-001.txt"]
    assert genvision("train", "--resume", broken.path).code == 0
    assert tree(broken.model) == tree(straight.model) != {}


@pytest.mark.slow
def test_memory_stays_flat_while_the_set_grows_tenfold(tmp_path):
    """2,000 more images of 64x64 pixels would be 24 MiB; the buffer holds 256."""
    benchmark = Path(__file__).resolve().parents[1] / "benchmarks" / "stream.py"
    command = [sys.executable, benchmark, "--images", "300", "--out", tmp_path / "stream.json"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    small, large = json.loads((tmp_path / "stream.json").read_text())["rows"]
    assert large["set_mib"] > 9 * small["set_mib"] and large["rise_mib"] < small["rise_mib"] + 12


@needs_cpu
@pytest.mark.slow
def test_two_processes_train_on_a_stream_as_one(tars, tmp_path):
    words = (f"data=stream:{tars}", "data.classes=3", *TINY, "data.validation_fraction=0", "family=vae", "backbone=vit")
    words += ("data.lanes=2", "data.shuffle_buffer=8", "data.resident_images=40", f"run.dir={tmp_path}")
    assert genvision("train", *words, "run.name=one").code == 0
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "train_gen.py"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    root = Path(__file__).resolve().parents[1]
    subprocess.run([*command, *words, "run.name=two"], env=environment, cwd=root, check=True, capture_output=True)
    for role in ("encoder", "decoder"):
        one, two = (load_file(tmp_path / run / "model" / role / WEIGHTS) for run in ("one", "two"))
        for name, tensor in one.items():
            torch.testing.assert_close(two[name], tensor, rtol=0, atol=1e-5)


def test_a_lane_without_images_ends_in_an_error():
    empty = SimpleNamespace(name="stream:x", shards=2, config=SimpleNamespace(labels=False), read=lambda *_: iter(()))
    with pytest.raises(DataError, match="the shards of lane 0 are empty"):
        next(Lane(empty, 0, 1, 0, None).read(0))


def test_numbered():
    assert numbered([2, 3]) == [range(2), range(2, 5)]
