"""Losses on images that were trained on and on others; verdicts on made-up tables."""

from __future__ import annotations

import pytest

from genvision import data
from genvision.analysis import generalise
from genvision.analysis.learning import held_out_loss, trained
from genvision.analysis.perform import judged
from genvision.analysis.sweep import words
from genvision.config import load_config
from genvision.config.trunks import BACKBONES

SHARES = (0.01, 0.1, 1.0)
SMOKE = generalise.STUDY.presets["smoke"]


def test_the_losses_are_those_of_the_images_that_were_trained_on_and_of_the_held_out_ones():
    told = [*words(SMOKE, "diffusion", "mixer", 0, side=8), "data.fraction=0.001", "data.labels=false"]
    (found,) = generalise.losses(told, 80, 64)
    family, _ = trained(told, (80,))
    config = load_config(None, told).data
    seen, others = data.load(config, "train"), data.load(config, "validation")
    assert len(seen) < 20 and not (seen.images[:, None] == others.images[None, :200]).all((2, 3, 4)).any()
    assert found["train"] == held_out_loss(family, seen, len(seen))
    assert found["test"] == held_out_loss(family, others, 64)
    assert found["test"] > 1.02 * found["train"], "a few images are learned by heart"


def table(few, many, convnet=0.0, jitter=0.0, seeds=3):
    """The ViT's gap on the least and on all of the data; a ConvNet's and a Mixer's are the same on all shares."""
    rows = []
    for family in generalise.SIDES:
        for share in SHARES:
            for name in BACKBONES:
                for seed in range(seeds):
                    own = few if share == SHARES[0] else many
                    gap = own + jitter * (seed - 1) * (1 if share == SHARES[0] else -1) if name == "vit" else convnet
                    row = {"part": family, "what": name, "fraction": share, "seed": seed, "value": gap}
                    rows.append(row | {"train": 1.0, "test": 1 + gap})
    return rows


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (table(0.3, 0.01, convnet=0.1), "supported"),
        (table(0.0, 0.1, convnet=0.1), "not supported"),
        (table(0.02, 0.02, convnet=0.02, jitter=0.02), "mixed"),
        (table(0.3, 0.01, convnet=0.1, seeds=2), "not testable at this scale"),
    ],
)
def test_the_four_verdicts(rows, verdict):
    assert [claim["verdict"] for claim in judged(generalise.STUDY, rows)["claims"]] == [verdict] * 4
