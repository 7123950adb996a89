"""Every command of README and docs works as it is written: training ones to --dry-run, the others on tiny runs."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from runs import fresh_launch, genvision, write_pictures  # noqa: F401

from genvision import load
from genvision.config import load_config
from genvision.config.grid import cells, read_grid

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(?:\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LAUNCHERS = (
    ["genvision"],
    ["accelerate", "launch", "train_gen.py"],
    ["torchrun", "--nproc_per_node", "2", "train_gen.py"],
)
BUDGET = dict.fromkeys(("sample", "score", "nll"), ("--num-images", "8")) | {"match": ("size=tiny",)}


def shown():
    """The words of each `genvision ...` and `... train_gen.py ...` line in a fence, as genvision sees them."""
    found = []
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for block in (block for page in pages for block in FENCE.findall(page.read_text())):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and "=" in words[0]:
                del words[0]  # environment variables
            for launcher in LAUNCHERS:
                if words[: len(launcher)] == launcher:
                    found.append(([] if launcher == ["genvision"] else ["train"]) + words[len(launcher) :])
    return found


COMMANDS = shown()


def test_the_readme_shows_how_to_train_sample_score_and_rank():
    assert {"train", "sample", "score", "nll", "leaderboard"} <= {words[0] for words in COMMANDS}


RUNS = {  # what README and docs call their runs, and what makes one
    "NAME": ["family=vae"],
    "unet": ["family=diffusion"],
    "latents": ["family=vae"],
    "tokens": ["family=vae", "family.latent=vq"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What README and docs speak of: configs, photos, and finished runs."""
    root = tmp_path_factory.mktemp("readme")
    (root / "configs").symlink_to(ROOT / "configs")
    write_pictures(root / "photos", 4)
    small = ["data=fashion_mnist_mini", "size=tiny", "train.steps=1", "train.batch_size=8", "sample.num_images=8"]
    small += ["sample.steps=2", "train.precision=no", f"run.dir={root / 'runs'}"]
    for name, words in RUNS.items():
        said = genvision("train", *words, *small, f"run.name={name}")
        assert said.code == 0, said.err
    shutil.copytree(root / "runs" / "NAME", root / "runs" / "OTHER")
    checkpoints = root / "runs" / "unet" / "checkpoints"
    shutil.copytree(checkpoints / "step-000000001", checkpoints / "step-000000500")
    return root


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[0] == "train"], ids=" ".join)
def test_a_training_command_resolves_and_can_have_its_data(words, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    said = genvision(*words, *["--dry-run"] * ("--dry-run" not in words))
    assert said.code == 0, said.err
    assert "# parameters      " in said.out
    (tmp_path / "config.yaml").write_text(said.out)
    data = load_config(tmp_path / "config.yaml").data
    assert data.name in ("fashion_mnist_mini", "folder", "stream") or data.download


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[0] == "compare"], ids=" ".join)
def test_a_comparison_has_its_grid(words, tmp_path):
    assert cells(read_grid(words[1]), tmp_path)


ELSEWHERE = ("train", "compare", "study")  # studies run to their ends in test_studies_smoke


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[0] not in ELSEWHERE], ids=" ".join)
def test_a_command_on_a_run_does_its_work(words, folder, monkeypatch):
    monkeypatch.chdir(folder)
    said = genvision(*words, *BUDGET.get(words[0], ()))
    assert said.code == 0 and said.out, said.err


def test_the_python_of_the_readme_runs(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (code,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    names = {}
    exec(code, names)
    assert [image.size for image in names["images"]] == [(28, 28)] * 10
    assert load(folder / "my-generator")(10, seed=0).images == names["images"]
