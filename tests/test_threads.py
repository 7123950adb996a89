"""CPU threads: the same number gives the same bits, another one the same weights within rounding, and says so."""

from __future__ import annotations

import pytest
import torch
from runs import CELLS, fresh_launch, pictures, train  # noqa: F401
from safetensors.torch import load_file
from test_training_toy import accelerator, toy_config, toy_state  # noqa: F401

from genvision.evaluation.record import read_record
from genvision.training.checkpoint import load, save

QUICK = [("diffusion", "mixer")]
pytestmark = pytest.mark.skipif(torch.accelerator.is_available(), reason="describes a machine without an accelerator")


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def weights(folder):
    files = sorted((folder / "model").rglob("*.safetensors"))
    return torch.cat([p.flatten().double() for file in files for p in load_file(file).values()])


@pytest.mark.parametrize(
    ("family", "backbone"), [*QUICK, *(pytest.param(*c, marks=pytest.mark.slow) for c in CELLS if c not in QUICK)]
)
def test_as_many_threads_give_the_same_bits_and_others_nearly(tmp_path, pictures, family, backbone):
    made = {}
    for name, count in (("one", 1), ("two", 2), ("again", 2)):
        words = (f"family={family}", f"backbone={backbone}", f"run.threads={count}", f"run.name={name}")
        said = train(pictures, tmp_path, *words, "sample.num_images=1")
        assert said.code == 0 and f"threads {count} each" in said.out, said.err
        assert read_record(tmp_path / name / "result.json")["threads"] == count
        made[name] = weights(tmp_path / name)
    assert torch.equal(made["two"], made["again"])
    assert (made["one"] - made["two"]).norm() / made["two"].norm() <= 5e-5


def test_going_on_with_other_threads_is_said(tmp_path, accelerator, caplog):
    torch.set_num_threads(1)
    folder = save(toy_state(toy_config(), accelerator), tmp_path, "hash", keep=1)
    for count, told in ((1, False), (2, True)):
        torch.set_num_threads(count)
        caplog.clear()
        load(toy_state(toy_config(), accelerator), folder, "hash")
        assert ("threads 2 after 1: sums in another order" in caplog.text) is told
