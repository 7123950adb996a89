"""Kappa and shape bias by hand, and verdicts on made-up tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from genvision.analysis import robustness
from genvision.analysis.classifiers import CLASSIFIERS
from genvision.analysis.errors_in_common import INSIDE, cohens_kappa, cue_conflict, shape_bias
from genvision.analysis.perform import judged


def test_kappa_by_hand():
    """Both right on 3 of 10, both wrong on 4: seen 0.7; accuracies 0.5 and 0.4: 0.2 + 0.3 expected by chance."""
    one = torch.tensor([1, 1, 1, 1, 1, 0, 0, 0, 0, 0]).bool()
    other = torch.tensor([1, 1, 1, 0, 0, 1, 0, 0, 0, 0]).bool()
    assert cohens_kappa(one, other) == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    assert cohens_kappa(one, one) == 1 and cohens_kappa(one, ~one) == pytest.approx(-1)
    assert math.isnan(cohens_kappa(torch.ones(4).bool(), torch.ones(4).bool()))


def test_independent_errors_have_a_kappa_of_nothing():
    draws = torch.from_numpy(np.random.default_rng(0).random((2, 20000)) < [[0.9], [0.7]])
    assert abs(cohens_kappa(*draws)) < 0.02


def test_a_silhouette_in_another_texture():
    images = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
    images[0, :, :, :5] = 200  # a bar
    images[1] = (torch.arange(256).reshape(16, 16) % 100 + 100).to(torch.uint8)  # a texture everywhere
    made, shape, texture = cue_conflict(images, torch.tensor([3, 7]), _Swap())
    assert shape.tolist() == [3, 7] and texture.tolist() == [7, 3]
    assert (made[0, :, :, 5:] == 0).all()
    tile = images[1, 0, 4:12, 4:12]
    assert torch.equal(made[0, 0, 8:, :5], tile[:, :5]) and torch.equal(made[0, 0, :8, :5], tile[:, :5])
    assert (images > INSIDE).any() and len(cue_conflict(images, torch.tensor([3, 3]), _Swap())[0]) == 0


class _Swap:
    def permutation(self, n):
        return np.arange(n)[::-1].copy()


def test_shape_bias_counts_answers_that_name_either():
    said, shape, texture = torch.tensor([1, 1, 2, 9]), torch.tensor([1, 1, 1, 1]), torch.tensor([2, 2, 2, 2])
    assert shape_bias(said, shape, texture) == pytest.approx(2 / 3)
    assert math.isnan(shape_bias(torch.tensor([9]), shape[:1], texture[:1]))


def table(spared, within, shape, jitter=0.0, seeds=3):
    """Accuracy lost at the worst level less than the ConvNet's, kappa within over across, shape bias over."""
    rows = []
    for seed in range(seeds):
        noise = jitter * (seed - 1)
        for name in CLASSIFIERS:
            for corruption, (*_, levels) in robustness.CORRUPTIONS.items():
                for k, level in enumerate(levels):
                    loss = 0.3 - (spared + noise) * (name != "convnet")
                    row = {"part": corruption, "what": name, "level": level, "seed": seed}
                    rows.append(row | {"value": 0.8 - loss * k / (len(levels) - 1)})
            value = 0.5 + (shape + noise) * (name == "vit")
            rows.append({"part": "shape bias", "what": name, "level": None, "seed": seed, "value": value})
        for one, other in robustness.PAIRS:
            value = 0.4 + (within + noise) * (one == other)
            rows.append({"part": "kappa", "what": f"{one} {other}", "level": None, "seed": seed, "value": value})
    return rows


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (table(0.1, 0.1, 0.1), "supported"),
        (table(-0.1, -0.1, -0.1), "not supported"),
        (table(0.0, 0.0, 0.0, jitter=0.1), "mixed"),
        (table(0.1, 0.1, 0.1, seeds=2), "not testable at this scale"),
    ],
)
def test_the_four_verdicts(rows, verdict):
    claims = judged(robustness.STUDY, rows)["claims"]
    assert [claim["verdict"] for claim in claims] == [verdict] * len(claims)
