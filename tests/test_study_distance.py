"""Images whose halves agree, and verdicts on made-up tables."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from genvision.analysis import distance
from genvision.analysis.perform import judged
from genvision.analysis.runs import Runs
from genvision.config.trunks import BACKBONES


def test_the_toy_agrees_and_noise_does_by_chance():
    images = distance.toy(500, 6, 0)
    assert images.shape == (500, 1, 4, 10) and (images[..., 2:8] == 0).all()
    assert distance.agreement(images) == 1.0 and set(images.unique().tolist()) == {0, 255}
    assert images[..., :2].float().mean().item() / 255 == pytest.approx(0.5, abs=0.03)
    mixed = torch.cat([images[..., :8], distance.toy(500, 6, 1)[..., 8:]], 3)
    assert distance.agreement(mixed) == pytest.approx(0.5, abs=0.03)
    assert distance.agreement(torch.cat([images[..., :8], 255 - images[..., 8:]], 3)) == 0.0


def test_numbers_of_other_numbers_of_images_are_not_taken_for_these(tmp_path, monkeypatch):
    seen = []

    def trained(words, steps, *, images):
        seen.append(len(images[0].images))
        return SimpleNamespace(sample=lambda n, seed: distance.toy(n, 0, seed)), [{"loss": 1.0}]

    monkeypatch.setattr(distance, "trained", trained)
    setting = {"gaps": (0,), "images": 8, "steps": 1, "samples": 2, "seeds": (0,)}
    for images in (8, 8, 16, 16):
        distance.measure(setting | {"images": images}, Runs(tmp_path, "smoke"))
    assert seen == [8] * len(BACKBONES) + [16] * len(BACKBONES)


def table(far, local, jitter=0.0, seeds=3):
    rows = []
    for seed in range(seeds):
        for name in BACKBONES:
            for gap in (0, 8):
                value = (local if name == "convnet" else far) if gap else far
                noise = jitter * (seed - 1)
                rows.append({"part": "pairs", "what": name, "gap": gap, "seed": seed, "value": value + noise})
    return rows


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (table(0.95, 0.5), "supported"),
        (table(0.5, 0.9), "not supported"),
        (table(0.75, 0.6, jitter=0.1), "mixed"),
        (table(0.95, 0.5, seeds=2), "not testable at this scale"),
    ],
)
def test_the_four_verdicts(rows, verdict):
    claims = judged(distance.STUDY, rows)["claims"]
    assert [claim["verdict"] for claim in claims] == [verdict] * 4
