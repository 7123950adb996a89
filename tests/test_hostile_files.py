"""No code from files: pickles in twelve disguises through every door, and no door that would let one in."""

from __future__ import annotations

import ast
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from payloads import payloads
from runs import fresh_launch, genvision, pictures, train, trained, tree  # noqa: F401

import genvision as package
from genvision.training.checkpoint import FILES
from genvision.training.folders import commit

ROOT = Path(__file__).resolve().parents[1]
SCORING = ("--num-images", 40, "--extractor", "efficientnet-lite0")
NAMES = sorted(payloads(Path("nowhere")))


@pytest.fixture
def hostile(tmp_path):
    """The files, and the sentinel that none of them may make."""
    sentinel = tmp_path / "sentinel"
    yield payloads(sentinel)
    assert not sentinel.exists()


@pytest.fixture
def run(trained, tmp_path):
    """A finished run to spoil."""
    copy = shutil.copytree(trained("vae").path, tmp_path / "runs" / "run")
    (copy / "status.json").write_text('{"state": "running"}')
    return copy


def refused(code, *words):
    said = genvision(*words)
    assert said.code == code and said.error, said
    return said.error


def test_the_payloads_work(tmp_path):
    """Else nothing here would mean anything."""
    files = payloads(tmp_path / "sentinel")
    for name in ("reduce", "setstate"):
        pickle.loads(files[name])
        (tmp_path / "sentinel").unlink()
    for name in ("pt", "nested pt", "legacy pt"):
        (tmp_path / "file").write_bytes(files[name])
        torch.load(tmp_path / "file", weights_only=False)
        (tmp_path / "sentinel").unlink()
    assert len(NAMES) == 12


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint(hostile, run, name):
    """Valid by its manifest, so that it is the reader of each file that refuses."""
    newest = run / "checkpoints" / "step-000000006"
    before = {file: (newest / file).read_bytes() for file in FILES}
    for file in FILES:
        commit(newest, {**before, file: hostile[name]}.items())
        assert "step-000000006" in refused(4, "train", "--resume", newest)


@pytest.mark.parametrize("name", NAMES)
def test_weights_of_a_model(hostile, run, tmp_path, name, pictures):
    weights = run / "model" / "decoder" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(hostile[name])
    assert "decoder" in refused(4, "sample", run, "--out", tmp_path / "images.npz")
    assert "decoder" in refused(4, "score", run, "--reference", f"folder:{pictures}", *SCORING)
    assert "decoder" in refused(4, "nll", run)
    said = train(pictures, tmp_path / "new", "family=vae", "backbone=vit", f"train.init_from={run}")
    assert said.code == 4 and "decoder" in said.error
    said = train(pictures, tmp_path / "new", "family=diffusion", "backbone=vit", f"codec.run={run}")
    assert said.code == 4 and "decoder" in said.error
    weights.rename(weights.with_suffix(".bin"))  # the older format of the same library
    assert "decoder" in refused(4, "sample", run, "--out", tmp_path / "images.npz")


@pytest.mark.parametrize("name", NAMES)
def test_text_files_of_a_run(hostile, run, tmp_path, name):
    sampling, training = ("sample", run, "--out", tmp_path / "images.npz"), ("train", "--resume", run)
    for file, code, words in (
        ("model/model_index.json", 4, sampling),
        ("model/decoder/config.json", 4, sampling),
        ("config.yaml", 2, training),
    ):
        whole = (run / file).read_bytes()
        (run / file).write_bytes(hostile[name])
        refused(code, *words)
        (run / file).write_bytes(whole)
    (run / "result.json").write_bytes(hostile[name])
    assert genvision("leaderboard", "build", run.parent).code == 0
    board = json.loads((run.parent / "leaderboard" / "leaderboard.json").read_text())
    assert [entry["file"] for entry in board["quarantined"]] == ["run/result.json"]


@pytest.mark.parametrize("name", NAMES)
def test_images_and_extractor_weights(hostile, pictures, tmp_path, name):
    words = ("--reference", f"folder:{pictures}", "--num-images", 40)
    (tmp_path / "images.npz").write_bytes(hostile[name])
    assert "images.npz" in refused(3, "score", tmp_path / "images.npz", "--reference", f"folder:{pictures}", *SCORING)
    weights = tmp_path / "weights.pth"
    weights.write_bytes(hostile[name])
    for extractor in ("inception", "efficientnet-lite0"):
        said = refused(3, "score", pictures, *words, "--extractor", extractor, "--extractor-weights", weights)
        assert "SHA-256" in said


FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "instantiate", "extractall", "load_state", "unpickle"}
FORBIDDEN_MODULES = {"pickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}


def doors(source: str) -> list[str]:
    """What of a source would let code in from a file."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            found += [name for name in names if name.split(".")[0] in FORBIDDEN_MODULES]
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        options = {option.arg: ast.unparse(option.value) for option in node.keywords}
        bare = called if "." not in called else called.rpartition(".")[2]
        if called in FORBIDDEN_CALLS or bare in {"instantiate", "extractall"}:
            found.append(called)
        if called == "torch.load" and options.get("weights_only") != "True":
            found.append("torch.load without weights_only=True")
        if called in ("np.load", "numpy.load") and options.get("allow_pickle") != "False":
            found.append("np.load without allow_pickle=False")
        if called.startswith("yaml.") and bare in ("load", "full_load", "unsafe_load"):
            found.append(called)
        found += [name for name in ("shell", "trust_remote_code") if options.get(name) == "True"]
    return found


@pytest.mark.parametrize(
    "source",
    [
        *(
            "import pickle",
            "from joblib import load",
            "eval(text)",
            "torch.load(p)",
            "torch.load(p, weights_only=False)",
        ),
        *("np.load(p)", "np.load(p, allow_pickle=True)", "yaml.load(f)", "subprocess.run(c, shell=True)"),
        *("AutoModel.from_pretrained(p, trust_remote_code=True)", "hydra.utils.instantiate(c)", "tar.extractall(p)"),
    ],
)
def test_the_gate_finds_a_door(source):
    assert doors(source)


@pytest.mark.parametrize("folder", ["genvision", "samples", "scripts", "benchmarks", "train_gen.py"])
def test_there_is_no_door(folder):
    root = ROOT / folder
    files = [root] if root.is_file() else sorted(root.rglob("*.py"))
    assert files and package.__file__
    assert {str(file): found for file in files if (found := doors(file.read_text()))} == {}
