"""Rolled-out attention, occlusion and their agreement against known answers; verdicts on made-up tables."""

from __future__ import annotations

import pytest
import torch
from runs import fresh_launch, pictures, trained  # noqa: F401
from torch import nn

from genvision.analysis import explanations
from genvision.analysis.explaining import middle, occluded, per_patch, rank_correlation
from genvision.analysis.perform import judged
from genvision.analysis.reach import adaptivity, rollout
from genvision.analysis.runs import Runs
from genvision.fingerprint import short_hash


def test_rollout_of_attention_to_itself_and_of_hands_passing_on():
    itself = torch.eye(4).expand(2, 3, 4, 4)
    torch.testing.assert_close(rollout([itself] * 5), torch.eye(4).expand(2, 4, 4))
    passing = torch.eye(4).roll(1, 1)[None, None]  # token i attends to token i + 1
    flow = rollout([passing, passing])[0, 0]
    assert flow.tolist() == [0.25, 0.5, 0.25, 0.0]
    random = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0)).softmax(-1)
    torch.testing.assert_close(rollout([random] * 4).sum(-1), torch.ones(2, 5))


def test_rollout_takes_the_first_layer_first():
    first, second = torch.eye(3).roll(1, 1)[None, None], torch.eye(3)[[0, 0, 0]][None, None]
    half = (torch.eye(3) + second[0, 0]) / 2
    torch.testing.assert_close(rollout([first, second])[0], half @ (torch.eye(3) + first[0, 0]) / 2)


def test_adaptivity_is_nothing_for_a_kernel_and_half_for_two_images_that_share_nothing():
    kernel = torch.rand(1, 2, 4, 4).softmax(-1).expand(6, 2, 4, 4)
    assert adaptivity(kernel).abs().max() < 1e-6
    one, other = torch.eye(4), torch.eye(4).roll(1, 1)
    assert adaptivity(torch.stack([one, other])[:, None]).tolist() == [0.5]


def test_sums_over_patches_and_the_token_in_the_middle():
    field = torch.arange(24.0).view(1, 4, 6)
    assert per_patch(field, (2, 3)).tolist() == [[[14.0, 22.0, 30.0], [62.0, 70.0, 78.0]]]
    assert middle((7, 7)) == 24 and middle((2, 4)) == 6


class Weighted(nn.Module):
    """Its trunk gives everywhere the sum of all patches, each as often as its weight says."""

    def __init__(self, weights):
        super().__init__()
        self.trunk, self.weights = nn.Identity(), weights

    def forward(self, x, y=None):
        total = (per_patch(x[:, 0], self.weights.shape) * self.weights).sum((1, 2))
        return self.trunk(total[:, None, None, None].expand(len(x), *self.weights.shape, 1))


def test_occlusion_finds_how_much_every_patch_weighs():
    weights = torch.tensor([[0.0, 1.0, -2.0], [3.0, 0.5, 4.0]])
    images = torch.zeros(2, 1, 4, 6)
    images[0] = 1.0  # the mean image is one half: a patch of four pixels changes by two
    found = occluded(Weighted(weights), None, images, (2, 3))
    torch.testing.assert_close(found, (2 * weights).square().expand(2, 2, 3))


def test_rank_correlation_is_that_of_each_image():
    truth = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[4.0, 3.0], [2.0, 1.0]]])
    assert rank_correlation(truth.exp(), truth) == pytest.approx(1)
    assert rank_correlation(torch.stack([truth[0], truth[0]]), truth) == pytest.approx(0)


def test_measuring_changes_no_weight(tmp_path, trained):
    runs = Runs(tmp_path, "smoke", [trained("vae", backbone).path for backbone in ("vit", "convnet")])
    before = [short_hash(one.family) for one in runs.given]
    rows = explanations.STUDY.measure({"seeds": (0,), "words": (), "images": 3}, runs)
    assert [short_hash(one.family) for one in runs.given] == before
    told = {(row["what"], row["j"]) for row in rows if row["part"] == "agreement"}
    assert told == {("vit", "rollout"), ("vit", "gradient"), ("convnet", "gradient")}
    for name in ("occlusion", "rollout", "gradient"):
        shares = [row["value"] for row in rows if row["what"] == "vit" and row["part"] == f"map, {name}"]
        assert sum(shares) == pytest.approx(1, abs=1e-3)


def table(rollout, vit, convnet, variation, seeds=3, jitter=0.0):
    rows = []
    for seed in range(seeds):
        shake = jitter * (seed - 1)
        for name, what, value in (
            ("rollout", "vit", rollout),
            ("gradient", "vit", vit),
            ("gradient", "convnet", convnet),
        ):
            moved = value + (0 if what == "convnet" else shake)
            rows.append({"part": "agreement", "what": what, "j": name, "seed": seed, "value": moved})
        heads = {"part": "adaptivity", "what": "vit", "seed": seed, "i": 0}
        rows += [heads | {"j": head, "value": variation + shake / 4 + 0.01 * head} for head in (-1, 1)]
    return rows


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (table(0.8, 0.8, 0.3, 0.3), "supported"),
        (table(0.2, 0.3, 0.4, 0.02), "not supported"),
        (table(0.5, 0.5, 0.45, 0.05, jitter=0.2), "mixed"),
        (table(0.8, 0.8, 0.3, 0.3, seeds=2), "not testable at this scale"),
    ],
)
def test_the_four_verdicts(rows, verdict):
    assert [claim["verdict"] for claim in judged(explanations.STUDY, rows)["claims"]] == [verdict] * 3
