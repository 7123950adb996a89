"""What is carried over from pretraining, what is not, and verdicts on made-up curves."""

from __future__ import annotations

import pytest
import torch

from genvision import data
from genvision.analysis import transfer, transfer_table
from genvision.analysis.learning import trained
from genvision.analysis.perform import judged
from genvision.analysis.runs import Runs
from genvision.build import build
from genvision.config import load_config
from genvision.initialise import carry_over, resize_positions
from genvision.spec import ImageSpec

SMOKE = transfer.STUDY.presets["smoke"]


def denoisers(backbone):
    """One on images of 4 x 4 pixels, and a fresh one on 8 x 8."""
    small, large = (load_config(None, transfer_table.cell(SMOKE, backbone, seed, 8)) for seed in (0, 1))
    return build(small, ImageSpec(1, 4, 4)), build(large, ImageSpec(1, 8, 8))


def test_a_vit_takes_everything_to_larger_images_and_its_positions_are_resized():
    small, large = denoisers("vit")
    given, outcome = small.state_dict(), carry_over(large, small.state_dict())
    assert (outcome.resized, outcome.left) == (["denoiser.trunk.position.table"], [])
    for name, tensor in large.state_dict().items():
        expected = resize_positions(given[name], (4, 4)) if name in outcome.resized else given[name]
        assert torch.equal(tensor, expected), name
    assert str(outcome).endswith("resized 1, left 0")


def test_a_convnet_takes_everything_as_it_is():
    small, large = denoisers("convnet")
    outcome = carry_over(large, small.state_dict())
    assert (outcome.resized, outcome.left) == ([], [])


def test_a_mixer_says_which_weights_it_cannot_take_and_why():
    small, large = denoisers("mixer")
    fresh = {name: tensor.clone() for name, tensor in large.state_dict().items()}
    outcome = carry_over(large, small.state_dict())
    ends = [f"{layer}.{kind}" for layer in ("up", "down") for kind in ("weight", "bias")]
    assert (
        outcome.left == outcome.numbered == [f"denoiser.trunk.blocks.{k}.mixing.{end}" for k in (0, 1) for end in ends]
    )
    assert all(torch.equal(large.state_dict()[name], fresh[name]) for name in outcome.left)
    assert str(outcome).endswith(
        " ..; 8 of these are of token-MLPs, which number the places of an image and so fit images of one size alone: "
        "they start afresh"
    )


def test_classes_are_apart_and_images_as_few_as_asked_for():
    told = transfer_table.cell(SMOKE, "vit", 0, 8)
    every = data.load(load_config(None, [*told, "data.labels=true"]).data, "train")
    train, held_out = transfer_table.of_classes(told, transfer_table.TARGET, 16)
    assert torch.equal(train.images, every.images[every.labels >= 5][:16]) and held_out.split == "validation"
    assert train.labels is None and train.spec.classes == 0
    assert torch.equal(transfer_table.of_classes(told, transfer_table.SOURCE)[0].images, every.images[every.labels < 5])


def test_labels_are_told_to_pretraining_alone():
    told = transfer_table.cell(SMOKE, "vit", 0, 8, labelled=True)
    for one in transfer_table.of_classes(told, transfer_table.SOURCE):
        assert one.spec.classes == 10 and set(one.labels.tolist()) == set(transfer_table.SOURCE)
    family = build(load_config(None, told), one.spec)
    blind = build(load_config(None, transfer_table.cell(SMOKE, "vit", 1, 8)), ImageSpec(1, 8, 8))
    assert carry_over(blind, family.state_dict()).left == ["denoiser.condition.label.weight"]


def test_the_curve_begins_where_pretraining_ended_and_is_kept(tmp_path, monkeypatch):
    setting = {**SMOKE, "seeds": (0,), "steps": (0, 1)}
    monkeypatch.setattr(transfer_table, "BACKBONES", ("vit",))
    rows = transfer_table.measure(setting, Runs(tmp_path, "smoke"))
    steps = {start: [row["step"] for row in rows if row["part"] == start] for start in transfer.STARTS}
    assert steps == {start: [0, 1, 3] if start == transfer.SCRATCH else [0, 1] for start in transfer.STARTS}
    told = transfer_table.cell(setting, "vit", 0, 8)
    source = (
        transfer_table.of_classes(told, transfer_table.SOURCE)[0],
        transfer_table.of_classes(told, transfer_table.TARGET)[1],
    )
    (expected,) = trained(told, (2,), images=source)[1]
    first = {row["part"]: row for row in rows if row["step"] == 0}
    assert first[transfer.SAME]["value"] == pytest.approx(expected["loss"], rel=1e-6)
    shares = [first[start]["carried"] for start in transfer.STARTS]
    assert shares[:3] == [0.0, 1.0, 1.0] and 0.99 < shares[3] < 1
    monkeypatch.setattr(transfer_table, "trained", None)
    assert transfer_table.measure(setting, Runs(tmp_path, "smoke")) == rows


def table(trail, helps, carried=1.0, jitter=0.0, seeds=3):
    """From scratch the ViT's loss is 1 + trail times the others'; pretraining divides all by 1 + helps, the ViT's
    twice; on for longer, the loss from scratch comes down by a hundredth, and then rises again."""
    rows = []
    for seed in range(seeds):
        noise = jitter * (seed - 1)
        for name in ("convnet", "vit", "mixer"):
            scratch = 1.0 + (trail + noise) * (name == "vit")
            better = scratch / (1 + helps + noise) ** (2 if name == "vit" else 1)
            for start, losses in (
                (transfer.SCRATCH, (9.0, scratch, 0.99 * scratch, 5.0)),
                (transfer.SAME, (8.0, better)),
                (transfer.SMALLER, (8.0, better)),
                (transfer.LABELLED, (8.0, better / (1 + helps + 2 * noise))),
            ):
                for step, loss in enumerate(losses):
                    row = {"part": start, "what": name, "seed": seed, "step": step, "value": loss}
                    rows.append(row | {"carried": carried})
    return rows


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (table(0.3, 0.2), "supported"),
        (table(-0.3, -0.2, carried=0.9), "not supported"),
        (table(0.01, 0.01, jitter=0.1), "mixed"),
        (table(0.3, 0.2, seeds=2), "not testable at this scale"),
    ],
)
def test_the_four_verdicts(rows, verdict):
    claims = judged(transfer.STUDY, rows)["claims"]
    assert [claim["verdict"] for claim in claims[:6]] == [verdict] * 6
    counted = "not supported" if verdict == "not supported" else "supported"
    assert [claim["verdict"] for claim in claims[6:]] == [counted] * 2


def test_what_pretraining_saves_is_told_from_longer_training():
    rows = table(0.0, 0.005)
    saved = transfer.saved(rows, transfer.SAME, ("convnet",)), transfer.saved(rows, transfer.SAME, ("convnet",), True)
    assert saved[0][0].value == pytest.approx(1 - 1 / 1.005) and saved[1][0].value == pytest.approx(
        1 - 1 / 1.005 / 0.99
    )
