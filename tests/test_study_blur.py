"""What a token holds of its own patch, against known answers; verdicts on made-up tables."""

from __future__ import annotations

import pytest
import torch
from runs import fresh_launch, pictures, trained  # noqa: F401

from genvision.analysis import blur
from genvision.analysis.perform import judged
from genvision.analysis.runs import Runs
from genvision.fingerprint import short_hash


def test_the_share_of_the_patch_in_the_middle():
    own = torch.zeros(2, 8, 12)
    own[:, 4:6, 6:9] = 5.0  # patches of 2 x 3 pixels: the third of four down, the third of four to the right
    assert blur.own_share(own, (4, 4)) == 1
    assert blur.own_share(torch.ones(2, 8, 12), (4, 4)) == pytest.approx(1 / 16)
    assert blur.own_share(own + 5.0, (4, 4)) == pytest.approx(12 / 102)


def test_before_the_first_block_a_token_is_its_own_patch(tmp_path, trained):
    runs = Runs(tmp_path, "smoke", [trained("diffusion", "vit").path])
    (one,) = runs.given
    before = short_hash(one.family)
    first, *others = blur.shares(one, 2)
    assert first == 1 and len(others) == 2 and all(0 < share < 1 for share in others)
    assert short_hash(one.family) == before


def table(first, last, jitter=0.0, seeds=3):
    rows = []
    for seed in range(seeds):
        for name in blur.BACKBONES:
            for i, value in enumerate((1.0, first + jitter * (seed - 1), last - jitter * (seed - 1))):
                rows.append({"part": "own patch", "what": name, "seed": seed, "i": i, "value": value})
    return rows


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (table(0.8, 0.3), "supported"),
        (table(0.8, 0.78), "not supported"),
        (table(0.55, 0.5, jitter=0.1), "mixed"),
        (table(0.8, 0.3, seeds=2), "not testable at this scale"),
    ],
)
def test_the_four_verdicts(rows, verdict):
    assert [claim["verdict"] for claim in judged(blur.STUDY, rows)["claims"]] == [verdict] * 3
