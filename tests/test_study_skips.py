"""One skip or one branch removed, and put back; verdicts on made-up tables."""

from __future__ import annotations

import pytest
import torch
from cells import draw_of, make_cell, randomise, some_batch
from runs import fresh_launch, pictures, trained  # noqa: F401

from genvision.analysis import skips
from genvision.analysis.perform import judged
from genvision.analysis.runs import Runs
from genvision.analysis.skips import skipping, without_branch, without_skip
from genvision.fingerprint import short_hash
from genvision.spec import ImageSpec

SPEC = ImageSpec(1, 8, 8)


@pytest.mark.parametrize("trunk", ["vit", "mixer", "conv", "unet"])
def test_a_block_is_its_skip_and_its_branches(trunk):
    cell = randomise(make_cell("diffusion", (trunk,), SPEC)).eval()
    batch, draw = some_batch(2, SPEC), draw_of(2)
    blocks = skipping(cell.denoiser, lambda: cell.loss(batch, draw))
    assert len(blocks) >= 1
    seen = {}
    for name, block in blocks.items():
        for way, change in (("whole", None), ("branch", without_skip), ("skip", without_branch)):
            with change(block) if change else torch.no_grad():
                handle = block.register_forward_hook(lambda module, inputs, out, way=way: seen.update({way: out}))
                cell.loss(batch, draw)
                handle.remove()
        torch.testing.assert_close(seen["branch"] + seen["skip"], seen["whole"], msg=name)
        assert seen["branch"].abs().sum() > 0
    assert not any(block._forward_hooks for block in blocks.values()), "all is as it was"


def test_measuring_changes_no_weight(tmp_path, trained):
    runs = Runs(tmp_path, "smoke", [trained("diffusion", backbone).path for backbone in ("vit", "convnet")])
    before = [short_hash(one.family) for one in runs.given]
    rows = skips.STUDY.measure({"groups": 2, "batch": 4}, runs)
    assert [short_hash(one.family) for one in runs.given] == before
    assert {row["part"] for row in rows} == {"skip", "branch", "alignment", "alignment without skip"}
    assert all(row["value"] > 0 for row in rows if row["part"] in ("skip", "branch"))


def table(skip, branch, groups=3, jitter=0.0):
    """The same ratios of losses for all backbones; groups differ by `jitter`."""
    parts = (("skip", skip), ("branch", branch))
    return [
        {
            "part": part,
            "what": name,
            "i": i,
            "seed": group,
            "value": value * (1 + jitter * (group - 1) * (part == "skip")),
        }
        for name in skips.BACKBONES
        for group in range(groups)
        for part, value in parts
        for i in range(2)
    ]


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (table(3.0, 1.2), "supported"),
        (table(1.1, 1.4), "not supported"),
        (table(1.6, 1.5, jitter=0.4), "mixed"),
        (table(3.0, 1.2, groups=2), "not testable at this scale"),
    ],
)
def test_the_four_verdicts(rows, verdict):
    assert [claim["verdict"] for claim in judged(skips.STUDY, rows)["claims"]] == [verdict] * 2
