"""Learning curves of classifiers against what they are made of; verdicts on made-up curves."""

from __future__ import annotations

import pytest
import torch

from genvision.analysis import classify
from genvision.analysis.classifiers import BATCH, accuracy, trained_classifier
from genvision.analysis.perform import judged
from genvision.data import ImageSet
from genvision.spec import ImageSpec


def squares(split, n=48):
    """Images of which the upper or the lower half is white."""
    labels = torch.arange(n) % 2
    images = torch.zeros(n, 1, 8, 8, dtype=torch.uint8)
    images[labels == 1, :, :4] = 255
    return ImageSet("squares", split, images, labels, ("below", "above"))


def test_a_curve_is_what_training_shows_on_its_way():
    setting = {"steps": (0, 1, 3, 4), "test_images": 30}
    train, test = squares("train"), squares("test")
    points = classify.learning(setting, "mixer", 5, train, test)
    assert [(point["step"], point["images"]) for point in points] == [
        (0, 0),
        (1, BATCH),
        (3, 3 * BATCH),
        (4, 4 * BATCH),
    ]
    each = classify.macs_per_image("mixer", train.spec)
    assert [point["macs"] for point in points] == [3 * point["images"] * each for point in points]
    last = trained_classifier("mixer", train.images, train.labels, 4, 5, anneal=False)
    assert points[-1]["loss"] == pytest.approx(1 - accuracy(last, test.images[:30], test.labels[:30]), abs=1e-6)
    shorter = trained_classifier("mixer", train.images, train.labels, 3, 5, anneal=False)
    assert points[2]["loss"] == pytest.approx(1 - accuracy(shorter, test.images[:30], test.labels[:30]), abs=1e-6)


@pytest.mark.parametrize("anneal", [False, True])
def test_only_a_constant_rate_knows_nothing_of_the_end(anneal):
    train, seen = squares("train"), {2: [], 5: []}
    for steps, weights in seen.items():

        def keep(step, model, weights=weights):
            weights.append(next(model.parameters()).clone())

        trained_classifier("convnet", train.images, train.labels, steps, 0, anneal=anneal, look=keep)
        assert len(weights) == steps + 1
    assert torch.equal(seen[2][0], seen[5][0]) and not torch.equal(seen[2][0], seen[2][1])
    assert torch.equal(seen[2][2], seen[5][2]) != anneal


def test_convolutions_cost_in_proportion_to_the_pixels():
    small, middle, large = (classify.macs_per_image("convnet", ImageSpec(1, k, k, 10)) for k in (8, 16, 24))
    assert 3 * (large - small) == 8 * (middle - small) and middle > 3 * small


def table(vit, mixer, jitter=1.0, seeds=3):
    """Errors that fall from 0.9 towards 0.1; ViT and Mixer come down faster by factors, the ViT's seeds differ."""
    rows = []
    for name, speed in (("convnet", 1.0), ("vit", vit), ("mixer", mixer)):
        for seed in range(seeds):
            own = speed * jitter ** (seed - 1) if name != "convnet" else speed
            for step in (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024):
                loss = 0.1 + 0.8 / (1 + own * step / 10) ** 3
                row = {"part": "error", "what": name, "seed": seed, "step": step, "loss": loss}
                rows.append(row | {"images": 64 * step, "macs": 1000 * step})
    return rows


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (table(1.1, 0.9), "supported"),
        (table(3.0, 0.3), "not supported"),
        (table(1.5, 1.5, jitter=2.0), "mixed"),
        (table(1.1, 0.9, seeds=2), "not testable at this scale"),
    ],
)
def test_the_four_verdicts(rows, verdict):
    assert [claim["verdict"] for claim in judged(classify.STUDY, rows)["claims"]] == [verdict] * 2


def test_the_ratio_of_budgets_is_that_of_the_speeds():
    images, macs = classify.convnet_over(table(2.0, 1.0), "vit")
    assert images.value == pytest.approx(2.0, rel=0.05) and macs.value == pytest.approx(images.value)
