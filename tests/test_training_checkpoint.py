"""Checkpoints: resumed to the bit, refused when damaged, never lost."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import stat

import numpy as np
import pytest
import safetensors.torch
import torch
from test_training_toy import ToyBatches, accelerator, fingerprint, toy_config, toy_state, trained, tree  # noqa: F401

from genvision.errors import ConfigError, DataError, RunError, StorageError
from genvision.training import folders
from genvision.training.checkpoint import FILES, latest, load, resolve, save
from genvision.training.loop import train

HASH = "c0ffee"
ALL = (*FILES, folders.MANIFEST)


def run_with_stops(config, accelerator, root, stops, **options):
    """A run that is thrown away and resumed from disk, in a freshly built state, after each of the steps in `stops`."""
    for stop in (*stops, None):
        state = toy_state(config, accelerator, **options)
        for p in state.family.parameters():  # what was built must not matter
            p.data.add_(1)
        found = latest(root)
        if found is None:
            state = toy_state(config, accelerator, **options)
        else:
            load(state, found, HASH)
        for _ in train(state, ToyBatches(), config, accelerator):
            if state.step == stop:
                save(state, root, HASH, keep=2)
                break
    return state


@pytest.mark.parametrize("stops", [(1,), (2,), (5,), (11,), (12,), (3, 4), (1, 2, 3), (4, 7, 11)])
@pytest.mark.parametrize("micro", [None, 3])
def test_a_resumed_run_equals_an_uninterrupted_one(accelerator, tmp_path, stops, micro):
    config = toy_config(micro_batch_size=micro)
    resumed = run_with_stops(config, accelerator, tmp_path, stops)
    assert fingerprint(resumed) == fingerprint(trained(config, accelerator))


def test_moments_keep_the_layout_of_their_parameters(accelerator, tmp_path):
    """The fused kernel walks memory, so a moment in another layout would belong to other weights."""
    config = toy_config()
    state = trained(config, accelerator)
    save(state, tmp_path, HASH, keep=1)
    other = toy_state(config, accelerator)
    load(other, latest(tmp_path), HASH)
    weight = other.family.conv.weight
    assert not weight.is_contiguous() and weight.is_contiguous(memory_format=torch.channels_last)
    assert {other.optimizer.state[weight][name].stride() for name in ("exp_avg", "exp_avg_sq")} == {weight.stride()}


def test_nothing_stays_tied_to_the_file(accelerator, tmp_path):
    config = toy_config()
    state = trained(config, accelerator)
    folder = save(state, tmp_path, HASH, keep=1)
    other = toy_state(config, accelerator)
    load(other, folder, HASH)
    before = fingerprint(other)
    for name in FILES:
        with (folder / name).open("r+b") as file:
            file.write(bytes(os.fstat(file.fileno()).st_size))
    assert fingerprint(other) == before == fingerprint(state)


def test_what_is_on_disk(accelerator, tmp_path):
    os.umask(0o022)
    config = toy_config(steps=2)
    folder = save(trained(config, accelerator), tmp_path / "run" / "checkpoints", HASH, keep=1)
    assert folder.name == "step-000000002" and {path.name for path in folder.iterdir()} == set(ALL)
    about = json.loads((folder / "state.json").read_text())
    assert about.pop("versions").keys() == {"genvision", "torch"} and about.pop("seconds") > 0
    assert about == {
        "step": 2,
        "images_seen": 16,
        "total_steps": 2,
        "ema_updates": 2,
        "skipped_steps": 0,
        "skipped_in_a_row": 0,
        "grad_scaler": None,
        "config_hash": HASH,
        "dataset": "",
        "world_size": 1,
        "threads": torch.get_num_threads(),
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o644}


def test_the_measured_number_of_steps_is_kept_and_a_given_one_wins(accelerator, tmp_path):
    minutes, steps = toy_config(steps=None, minutes=1.0, warmup_steps=20), toy_config(steps=300, warmup_steps=20)
    state = toy_state(minutes, accelerator)
    state.total_steps = 77
    save(state, tmp_path, HASH, keep=1)
    totals = []
    for config in (minutes, steps):
        other = toy_state(config, accelerator)
        load(other, latest(tmp_path), HASH)
        totals.append(other.total_steps)
    assert totals == [77, 300]


def test_the_seconds_of_earlier_attempts_are_counted(accelerator, tmp_path):
    config = toy_config(steps=4)
    state = toy_state(config, accelerator)
    state.step, state.seconds = 2, 1000.0
    save(state, tmp_path, HASH, keep=1)
    other = toy_state(config, accelerator)
    load(other, latest(tmp_path), HASH)
    assert other.seconds == 1000.0
    spent = sum(report.seconds for report in train(other, ToyBatches(), config, accelerator))
    assert spent > 0 and other.seconds == pytest.approx(1000.0 + spent)


def test_the_loss_scale_is_kept(accelerator, tmp_path):
    config = toy_config()
    scales = []
    for scale in (2.0**9, 2.0**3):
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        state = toy_state(config, accelerator)
        state.optimizer.scaler.scale(torch.zeros(()))  # its number becomes a tensor at the first use
        if scale == 2.0**9:
            save(state, tmp_path, HASH, keep=1)
        else:
            load(state, latest(tmp_path), HASH)
        scales.append(state.optimizer.scaler.get_scale())
    assert scales == [512.0, 512.0]


@pytest.fixture
def two(accelerator, tmp_path):
    """A run that was stopped after checkpoints at steps 2 and 3, and its configuration."""
    config = toy_config(steps=20)
    state = toy_state(config, accelerator)
    for _ in train(state, ToyBatches(), config, accelerator):
        if state.step > 1:
            save(state, tmp_path, HASH, keep=2)
        if state.step == 3:
            break
    return config, state, tmp_path


def damages(content, flips=200):
    """Truncations, a byte too many, and single flipped bits: of the first and the last byte, and drawn ones."""
    yield from (content[:length] for length in (0, 1, len(content) // 2, len(content) - 1))
    yield content + b"\0"
    places = np.random.default_rng(0).integers(0, 8 * len(content), flips).tolist()
    for place in (0, 8 * len(content) - 1, *places):
        yield content[: place // 8] + bytes([content[place // 8] ^ (1 << place % 8)]) + content[place // 8 + 1 :]


@pytest.mark.parametrize("name", ALL)
def test_every_damage_is_found_and_the_older_checkpoint_is_used(two, accelerator, caplog, name):
    config, _, root = two
    victim = root / "step-000000003" / name
    whole = victim.read_bytes()
    state = toy_state(config, accelerator)
    before = fingerprint(state)
    for damaged in damages(whole):
        caplog.clear()
        victim.write_bytes(damaged)
        if name == folders.MANIFEST and json.loads(whole) == _json_or_none(victim):
            continue  # a flip in white space may mean the same
        assert latest(root).name == "step-000000002"
        assert len(caplog.records) == 1 and "step-000000003: damaged" in caplog.text
        with pytest.raises(RunError, match="step-000000003: damaged"):
            load(state, victim.parent, HASH)
        assert fingerprint(state) == before
    victim.write_bytes(whole)
    assert latest(root).name == "step-000000003"
    victim.unlink()
    assert latest(root).name == "step-000000002"


def _json_or_none(path):
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        return None


def test_hostile_manifests_are_refused(two):
    _, _, root = two
    victim = root / "step-000000003" / folders.MANIFEST
    listed = json.loads(victim.read_bytes())
    listed["files"]["../step-000000002/state.json"] = listed["files"].pop("state.json")
    for text in (json.dumps(listed), "[" * 100_000, "[]", '{"format": 1}', '{"format": 1, "files": 3}'):
        victim.write_text(text)
        assert latest(root).name == "step-000000002"


def test_swapped_files_are_found(two):
    _, _, root = two
    model, ema = (root / "step-000000003" / name for name in FILES[:2])
    contents = model.read_bytes(), ema.read_bytes()
    assert len(contents[0]) == len(contents[1])
    ema.write_bytes(contents[0])
    model.write_bytes(contents[1])
    assert latest(root).name == "step-000000002"


def rewrite(folder, **changes):
    """Other entries of state.json, in a checkpoint that is valid by its manifest."""
    contents = {name: (folder / name).read_bytes() for name in FILES}
    about = json.loads(contents["state.json"]) | changes
    about = {name: value for name, value in about.items() if value is not GONE}
    folders.commit(folder, (contents | {"state.json": json.dumps(about).encode()}).items())


GONE = object()
ENTRIES = ("step", "images_seen", "total_steps", "ema_updates", "grad_scaler", "config_hash")


@pytest.mark.parametrize("changes", [*({name: GONE} for name in ENTRIES), {"ema_updates": "2"}, {"step": 2}])
def test_a_checkpoint_that_has_forgotten_something_is_not_gone_on_with(two, accelerator, caplog, changes):
    config, _, root = two
    folder = root / "step-000000003"
    rewrite(folder, **changes)
    state = toy_state(config, accelerator)
    before = fingerprint(state)
    with pytest.raises(RunError, match=r"step-000000003: damaged \(state.json ") as caught:
        load(state, folder, HASH)
    assert caught.value.exit_code == 4 and fingerprint(state) == before
    assert latest(root).name == "step-000000002" and len(caplog.records) == 1


@pytest.mark.parametrize("foreign", [{"config_hash": "decaf"}, {"dataset": "other"}])
def test_a_checkpoint_of_another_run_is_passed_over(two, accelerator, caplog, foreign):
    config, _, root = two
    ours = {"config_hash": HASH, "dataset": ""}
    shutil.copytree(root / "step-000000003", root / "step-000000009")
    rewrite(root / "step-000000009", step=9, **foreign)
    assert latest(root, ours).name == resolve("auto", root, ours).name == "step-000000003"
    assert [record.getMessage().partition(": of another")[0] for record in caplog.records] == [
        str(root / "step-000000009")
    ] * 2
    for folder in (root / "step-000000002", root / "step-000000003"):
        shutil.rmtree(folder)
    alone = latest(root, ours)  # refused by name instead of a start from nothing
    with pytest.raises(ConfigError if "config_hash" in foreign else DataError, match="step-000000009: "):
        load(toy_state(config, accelerator), alone, HASH)


def test_no_valid_checkpoint_left_is_an_error_and_none_at_all_is_not(two, tmp_path):
    _, _, root = two
    for folder in root.iterdir():
        (folder / "state.json").write_text("{}")
    with pytest.raises(RunError, match="none of its 2 checkpoints") as caught:
        latest(root)
    assert caught.value.exit_code == 4
    assert latest(tmp_path / "nowhere") is None


def test_what_resume_accepts(two, tmp_path):
    _, _, root = two
    run = tmp_path / "a run"
    shutil.copytree(root, run / "checkpoints", ignore=shutil.ignore_patterns("a run"))
    assert resolve("auto", root) == root / "step-000000003"
    assert resolve("auto", tmp_path / "empty") is None
    assert resolve(str(run), root) == run / "checkpoints" / "step-000000003"
    assert resolve(str(run / "checkpoints"), root) == run / "checkpoints" / "step-000000003"
    assert resolve(str(root / "step-000000002"), root) == root / "step-000000002"
    for missing in (tmp_path / "nope", root / "step-000000009", tmp_path):
        if missing == tmp_path:
            shutil.rmtree(root / "step-000000002")
            shutil.rmtree(root / "step-000000003")
        with pytest.raises(RunError, match=str(missing)):
            resolve(str(missing), root)


def test_another_configuration_is_refused_by_name(two, accelerator):
    config, _, root = two
    state = toy_state(config, accelerator)
    before = fingerprint(state)
    with pytest.raises(ConfigError, match="step-000000003: made under another configuration .*c0ffee.*decaf"):
        load(state, latest(root), "decaf")
    assert fingerprint(state) == before


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("model", lambda t: t.pop("head.bias"), "head.bias is missing"),
        ("model", lambda t: t.update(extra=torch.zeros(1)), "extra is unknown"),
        ("ema", lambda t: t.update({"head.bias": torch.zeros(15)}), r"head.bias is \(15,\) .*not \(16,\)"),
        ("ema", lambda t: t.update({"head.bias": torch.zeros(16).double()}), "float64, not .*float32"),
        ("optimizer", lambda t: t.pop("head.bias.step"), "head.bias.step is missing"),
        ("optimizer", lambda t: t.update({"head.bias.exp_avg": torch.zeros(1)}), "head.bias.exp_avg is"),
        ("optimizer", lambda t: t.update({"other.step": torch.zeros(())}), "other.step is unknown"),
    ],
)
def test_tensors_of_another_model_are_refused(two, accelerator, file, change, message):
    config, _, root = two
    folder = latest(root)
    contents = {name: (folder / name).read_bytes() for name in FILES}
    tensors = safetensors.torch.load(contents[f"{file}.safetensors"])
    change(tensors)
    contents[f"{file}.safetensors"] = safetensors.torch.save(tensors)
    folders.commit(folder, contents.items())  # valid by its manifest
    state = toy_state(config, accelerator)
    before = fingerprint(state)
    with pytest.raises(RunError, match=message):
        load(state, folder, HASH)
    assert fingerprint(state) == before


@pytest.mark.parametrize("change", [{"step": "3"}, {"step": None}, {"total_steps": 1.5}, {"grad_scaler": [1]}, None])
def test_counters_of_another_type_are_refused(two, accelerator, change):
    config, _, root = two
    folder = latest(root)
    contents = {name: (folder / name).read_bytes() for name in FILES}
    about = json.loads(contents["state.json"])
    contents["state.json"] = json.dumps([about] if change is None else about | change).encode()
    folders.commit(folder, contents.items())
    with pytest.raises(RunError, match=r"step-000000003: damaged \(state.json "):
        load(toy_state(config, accelerator), folder, HASH)


def test_retention_counts_only_up_to_this_step(two):
    _, state, root = two
    shutil.copytree(root / "step-000000003", root / "step-000000900")  # left by another attempt
    (root / "notes").mkdir()
    for step, keep, expected in [(4, 2, [3, 4]), (5, 1, [5]), (6, 0, [6])]:
        state.step = step
        save(state, root, HASH, keep=keep)
        names = sorted(path.name for path in root.iterdir())
        assert names == ["notes", *(f"step-{n:09d}" for n in (*expected, 900))]


def test_retention_counts_only_its_own(two):
    """keep=1 beside a checkpoint of another run, and beside one that cannot be read."""
    _, state, root = two
    for step, changes in ((0, {"step": GONE}), (1, {"step": 1, "config_hash": "decaf"})):
        shutil.copytree(root / "step-000000002", root / f"step-{step:09d}")
        rewrite(root / f"step-{step:09d}", **changes)
    before = {name: content for name, content in tree(root).items() if name < "step-000000002"}
    for keep, expected in ((2, [3, 4]), (1, [5])):
        state.step = expected[-1]
        save(state, root, HASH, keep=keep)
        assert sorted(path.name for path in root.iterdir())[2:] == [f"step-{n:09d}" for n in expected]
    assert {name: content for name, content in tree(root).items() if name < "step-000000002"} == before


def test_a_step_is_written_once_unless_it_is_damaged_or_foreign(two):
    _, state, root = two
    folder = root / "step-000000003"
    inode = folder.stat().st_ino
    save(state, root, HASH, keep=2)
    assert folder.stat().st_ino == inode
    (folder / "ema.safetensors").write_bytes(b"")
    save(state, root, HASH, keep=2)
    assert latest(root) == folder
    save(state, root, "decaf", keep=2)
    assert json.loads((folder / "state.json").read_text())["config_hash"] == "decaf"
    assert not list(root.glob(".tmp-*"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("call", range(8))
def test_a_failing_disk_loses_nothing(two, monkeypatch, code, call):
    """The n-th fsync or rename fails: one line with the path and the room left, no half-written folder, exit 6."""
    _, state, root = two
    before = tree(root)
    state.step = 4
    why = os.strerror(code)
    _fail_at(monkeypatch, call, OSError(code, why))
    message = rf"(-000000004: {why} \(\d.* MiB needed, |-000000002: {why} \()\d+.* MiB free\)"
    if code == errno.EACCES:
        message = rf"-00000000[42]: {why}; mend the permissions"
    with pytest.raises(StorageError, match=message) as caught:
        save(state, root, HASH, keep=2)
    monkeypatch.undo()
    assert caught.value.exit_code == 6 and "\n" not in str(caught.value)
    left = tree(root)
    assert {name: left[name] for name in before} == before
    assert not list(root.glob(".tmp-*"))
    save(state, root, HASH, keep=2)
    assert latest(root).name == "step-000000004"


class Killed(BaseException):
    """A death that no handler may notice."""


@pytest.mark.parametrize("call", range(9))
def test_a_death_at_any_point_of_writing_loses_nothing(two, accelerator, monkeypatch, call):
    config, state, root = two
    reference = fingerprint(state)
    state.step = 4
    _fail_at(monkeypatch, call, Killed())
    with pytest.raises(Killed):
        save(state, root, HASH, keep=1)
    monkeypatch.undo()
    committed = call >= 7  # five files, one folder, one rename; then the parent's fsync and the pruning
    found = latest(root)
    assert found.name == ("step-000000004" if committed else "step-000000003")
    other = toy_state(config, accelerator)
    load(other, found, HASH)
    other.step = 3
    assert fingerprint(other) == reference
    other.step = 4
    save(other, root, HASH, keep=2)
    assert not list(root.glob(".tmp-*"))


def _fail_at(monkeypatch, call, fault):
    """Makes the call-th of all fsyncs and renames of the next save raise."""
    counter = itertools.count()

    def failing(function):
        def wrapped(*arguments):
            if next(counter) == call:
                raise fault
            return function(*arguments)

        return wrapped

    for name in ("fsync", "rename"):
        monkeypatch.setattr(os, name, failing(getattr(os, name)))
