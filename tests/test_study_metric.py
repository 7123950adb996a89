"""The study of scores: corruptions with known answers, and its verdicts on tables that were made up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from genvision.analysis.corruptions import CLASSES_LEFT, CORRUPTIONS, noisy, rows_of_classes, seamed, swirled
from genvision.analysis.metric import EXPECTED, STUDY, rank_correlation, steps
from genvision.analysis.perform import judged
from genvision.evaluation.anchors import blurred

NOISE = torch.randint(0, 256, (20, 1, 28, 28), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
IMAGES = blurred(NOISE, 1 / 10)  # of noise without any structure no swirl is worse than another
GRAY = torch.full((40, 1, 28, 28), 128, dtype=torch.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_of_nothing_is_nothing_and_every_level_is_further_away(name):
    _, apply, levels = CORRUPTIONS[name]
    assert torch.equal(apply(IMAGES, 1e-6), IMAGES)
    away = [(apply(IMAGES, level).float() - IMAGES.float()).square().mean().item() for level in levels]
    assert list(levels) == sorted(levels) and away == sorted(away) and away[0] > 0


def test_noise_has_the_deviation_that_it_says():
    assert noisy(GRAY, 0.1).float().std().item() == pytest.approx(25.5, rel=0.03)


def test_seams_move_whole_patches():
    patches = seamed(GRAY, 0.1).unfold(2, 7, 7).unfold(3, 7, 7).float()
    assert patches.std((-1, -2)).max() == 0
    assert patches[..., 0, 0].std().item() == pytest.approx(25.5, rel=0.1)


def test_a_swirl_turns_about_the_centre_by_the_angle():
    """A bright pixel on the ray to the right of the centre, half-way out: turned by level / e there."""
    image = torch.zeros(1, 1, 201, 201, dtype=torch.uint8)
    image[..., 100, 150] = 255
    radians = 1.0
    radius = 50 / 100.5
    turned = swirled(torch.nn.functional.max_pool2d(image.float(), 5, 1, 2).to(torch.uint8), radians)[0, 0].float()
    y, x = (turned.sum(1) @ torch.arange(201.0)).item(), (turned.sum(0) @ torch.arange(201.0)).item()
    y, x = y / turned.sum().item() - 100, x / turned.sum().item() - 100
    assert np.hypot(x, y) == pytest.approx(50, abs=0.5)
    assert abs(np.arctan2(y, x)) == pytest.approx(radians * np.exp(-2 * radius), abs=0.03)


def test_dropped_classes_keep_the_number_of_images():
    labels = torch.arange(100) % 10
    for classes in (10, *CLASSES_LEFT):
        rows = rows_of_classes(labels, classes, 20)
        assert len(rows) == 20 == len(rows.unique()) and set(labels[rows].tolist()) == set(range(classes))


def test_every_line_begins_with_the_images_as_they_are():
    images = torch.arange(40, dtype=torch.uint8).reshape(40, 1, 1, 1).expand(40, 1, 28, 28)
    found = list(steps(images, torch.arange(40) % 10, 8, 2))
    assert [(name, step) for name, step, *_ in found[:3]] == [("none", 0), ("noise", 1), ("noise", 2)]
    assert len(found) == 1 + 2 * 5 and all(shown.shape == (8, 1, 28, 28) for *_, shown in found)


def test_the_rank_correlation_is_spearmans():
    values = np.random.default_rng(0).integers(0, 4, (6, 5)).astype(float)
    expected = [spearmanr(np.arange(5), row).statistic for row in values]
    np.testing.assert_allclose(rank_correlation(np.arange(5), values), expected)


def table(shape, width, n=2000):
    """A table in which every score goes as `shape` (5,) says, in its expected direction."""
    rows = []
    for score, directions in EXPECTED.items():
        for corruption, sign in [("none", 1), *directions.items()]:
            for step, value in enumerate(shape):
                if (step == 0) == (corruption == "none"):
                    value = sign * value
                    ends = {"low": value - width, "high": value + width}
                    rows.append({"score": score, "corruption": corruption, "step": step, "value": value, "n": n} | ends)
    return rows


@pytest.mark.parametrize(
    ("shape", "width", "n", "verdict"),
    [
        ([0, 1, 2, 3, 4], 0.1, 2000, "supported"),
        ([0, -1, -2, -3, -4], 0.1, 2000, "not supported"),
        ([0, 1, 2, 3, 2.9], 1.0, 2000, "mixed"),
        ([0, 1, 2, 3, 4], 0.1, 100, "not testable at this scale"),
    ],
)
def test_the_four_verdicts(shape, width, n, verdict):
    claims = judged(STUDY, table(shape, width, n))["claims"]
    assert [claim["verdict"] for claim in claims] == [verdict] * len(EXPECTED)


def test_one_corruption_that_goes_unnoticed_makes_a_score_mixed():
    rows = table([0, 1, 2, 3, 4], 0.1)
    for row in rows:
        if row["score"] == "kid" and row["corruption"] == "modes":
            row["value"] *= -1
    verdicts = {claim["claim"].split()[0]: claim["verdict"] for claim in judged(STUDY, rows)["claims"]}
    assert verdicts.pop("kid") == "mixed" and set(verdicts.values()) == {"supported"}
