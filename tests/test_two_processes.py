"""Two processes are one: the commands under torchrun draw the same bytes, train the same weights, score the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import fresh_launch, genvision, pictures, train, tree, write_pictures  # noqa: F401
from safetensors.torch import load_file
from torch import nn

from genvision.evaluation.record import read_record
from genvision.evaluation.registered import register_extractor

needs_cpu = pytest.mark.skipif(torch.accelerator.is_available(), reason="describes a machine without an accelerator")
WORDS = ("family=vae", "backbone=convnet", "train.steps=4", "train.save_every_steps=2")
TOKENS = (*WORDS, "family.latent=vq", "family.codebook_size=12")


@register_extractor
class Small(nn.Module):
    """A quick network whose rows are, as those of large ones, bit-equal only in batches of one size."""

    name, metric_name, resize, dim = "small", "FD-Small", "none", 12

    def __init__(self, weights: Path | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 12))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = self.net(images / 255)
        return found, 3 * found[:, :5]


def score_all(run: Path, root: Path, said: list) -> None:
    """Scores of what a run draws and of images drawn elsewhere; their reports, and the features that were cached."""
    os.environ["GENVISION_CACHE"] = str(root / "cache")
    torch.set_num_threads(1)
    real, rank = run.parents[1] / "reals", os.environ.get("RANK", "0")
    for name, source, *words in (
        ("drawn", run, "--num-images", 150),
        ("found", run.parents[1] / "found.npz"),
        ("all", run, "--num-images", 20, "--anchors", "--memorisation"),
    ):
        words += ["--reference", f"folder:{real}", "--extractor", "small", "--json", root / f"{name}-{rank}.json"]
        said.append(genvision("score", source, *words))


@pytest.fixture(scope="module")
def pair(tmp_path_factory, pictures):
    """What one process and two processes made of the same commands: their folders, and what each process said."""
    root = tmp_path_factory.mktemp("pair")
    one, two = root / "one", root / "two"
    assert train(pictures, one, *WORDS, "run.name=run").code == 0
    assert train(pictures, one, *TOKENS, "run.name=tokens").code == 0
    for n in (10, 3):  # 3 images are one chunk: the second process has nothing to draw
        assert genvision("sample", one / "run", "--num-images", n, "--seed", 7, "--out", one / f"png{n}").code == 0
    write_pictures(root / "reals", 200, seed=3)
    elsewhere = np.random.default_rng(4).integers(0, 256, (130, 1, 8, 8), dtype=np.uint8)
    np.savez(root / "found.npz", images=elsewhere)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENVISION_CACHE", "")
        threads = torch.get_num_threads()
        score_all(one / "run", one, alone := [])
        torch.set_num_threads(threads)
    assert [code for code, _, _ in alone] == [0, 0, 0], alone
    launch = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    # both draw from the weights of one process, so that sampling is compared alone
    command = [*launch, __file__, str(pictures), str(two), str(one / "run")]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return one, two, [json.loads((two / f"said-{rank}.json").read_text()) for rank in (0, 1)]


def commands_of_each_process(pictures: str, root: str, run: str) -> None:
    """What each of the two processes does."""
    rank, two = os.environ["RANK"], Path(root)
    said = [train(Path(pictures), two, *WORDS, "run.name=run", "--resume", "auto")]
    said += [genvision("sample", run, "--num-images", n, "--seed", 7, "--out", two / f"png{n}") for n in (10, 3)]
    said.append(train(Path(pictures), two, *WORDS, "run.name=run"))  # refused to both alike
    assert train(Path(pictures), two, *TOKENS, "run.name=tokens").code == 0
    score_all(Path(run), two, said)
    (two / f"said-{rank}.json").write_text(json.dumps(said))


@needs_cpu
@pytest.mark.parametrize("n", [10, 3])
def test_two_processes_draw_the_same_bytes(pair, n):
    one, two, _ = pair
    hashes = tree(one / f"png{n}")
    assert len(hashes) == n and tree(two / f"png{n}") == hashes


@needs_cpu
def test_two_processes_train_the_same_weights(pair):
    one, two, _ = pair
    for name in ("model", "ema"):
        file = f"run/checkpoints/step-000000004/{name}.safetensors"
        ours, theirs = load_file(one / file), load_file(two / file)
        assert ours.keys() == theirs.keys()
        for key in ours:
            torch.testing.assert_close(theirs[key], ours[key], rtol=0, atol=1e-6, msg=lambda text, key=key: key + text)
    records = [read_record(root / "run" / "result.json") for root in (one, two)]
    assert [record["processes"] for record in records] == [1, 2]
    assert records[0]["images_seen"] == records[1]["images_seen"] == 32
    assert records[0]["bits_per_dim"]["value"] == pytest.approx(records[1]["bits_per_dim"]["value"], rel=1e-5)


@needs_cpu
def test_two_processes_learn_the_same_codebook(pair):
    one, two, _ = pair
    ours, theirs = (load_file(root / "tokens/checkpoints/step-000000004/model.safetensors") for root in (one, two))
    for name in ("codebook", "average"):
        key = f"encoder.quantiser.{name}"
        torch.testing.assert_close(theirs[key], ours[key], rtol=0, atol=1e-5)
        assert ours[key].any()
    usage = [read_record(root / "tokens/result.json")["validation"]["codebook_usage"] for root in (one, two)]
    assert usage[0] == usage[1]


@needs_cpu
@pytest.mark.parametrize("name", ["drawn", "found", "all"])
def test_two_processes_score_the_same(pair, name):
    one, two, _ = pair
    reports = [json.loads((root / f"{name}-0.json").read_text()) for root in (one, two)]
    assert reports[0] == reports[1] and reports[0]["metrics"]["inception_score"]["value"] > 1
    assert not (two / f"{name}-1.json").exists()


@needs_cpu
def test_two_processes_find_the_same_features(pair):
    one, two, _ = pair
    cached = tree(one / "cache")
    assert len(cached) == 5 and tree(two / "cache") == cached  # reference, training images, three anchors


@needs_cpu
def test_only_the_main_process_speaks_and_errors_are_everybodys(pair):
    _, two, said = pair
    assert [[code for code, _, _ in each] for each in said] == [[0, 0, 0, 2, 0, 0, 0]] * 2, said
    outs = [[out for _, out, _ in each] for each in said]
    assert "processes 2" in outs[0][0] and outs[0][1].startswith(f"{two}/png10: 10 images")
    assert outs[1] == [""] * 7 and "\nn 150 against 200 of " in outs[0][4]
    assert "| 0/2 [" in said[0][1][2] and "| 0/1 [" in said[0][2][2]  # its own chunks: two of three, one of one
    assert all("run exists already; go on with --resume" in each[3][2] for each in said)
    assert "| 0/2 [" in said[0][4][2] and "small: " not in said[1][4][2]
    assert [path.name for path in two.glob("run*")] == ["run"]


if __name__ == "__main__":
    commands_of_each_process(*sys.argv[1:])
