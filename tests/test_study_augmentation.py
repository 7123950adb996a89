"""Classifiers that learn, images that move, and verdicts on made-up tables."""

from __future__ import annotations

import pytest
import torch

from genvision.analysis import augmentation
from genvision.analysis.classifiers import CLASSIFIERS, Classifier, accuracy, shifted, trained_classifier
from genvision.analysis.perform import judged
from genvision.layers.masked import count_parameters
from genvision.spec import ImageSpec


def test_images_move_and_their_border_goes_on():
    image = torch.arange(9, dtype=torch.uint8).reshape(1, 1, 3, 3)
    assert shifted(image, 1, 0)[0, 0].tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5]]
    assert shifted(image, 0, -1)[0, 0].tolist() == [[1, 2, 2], [4, 5, 5], [7, 8, 8]]
    assert torch.equal(shifted(image, 0, 0), image)


def test_backbones_have_equal_weights():
    sizes = [count_parameters(Classifier(name, ImageSpec(1, 28, 28, 10))) for name in CLASSIFIERS]
    assert max(sizes) / min(sizes) < 1.06


@pytest.mark.parametrize("backbone", CLASSIFIERS)
def test_a_classifier_learns_where_a_square_is(backbone):
    labels = torch.arange(64) % 2
    images = torch.zeros(64, 1, 8, 8, dtype=torch.uint8)
    images[labels == 1, :, :4] = 255
    model = trained_classifier(backbone, images, labels, 25, 0)
    assert accuracy(model, images, labels) == 1.0
    again = trained_classifier(backbone, images, labels, 25, 0)
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), again.parameters(), strict=True))


def table(convnet, vit, helped, jitter=0.0, seeds=3):
    """Accuracies lost by a shift of six pixels without augmentation, and the share of it that augmentation saves."""
    rows = []
    for seed in range(seeds):
        for backbone, lost in (("convnet", convnet), ("vit", vit), ("mixer", vit)):
            for training, share in (("as they are", 1.0), ("shifted", 1 - helped)):
                for shift in (0, augmentation.FAR):
                    value = 0.8 - (shift > 0) * (lost + jitter * (seed - 1) * (backbone == "vit")) * share
                    rows.append({"part": training, "what": backbone, "shift": shift, "seed": seed, "value": value})
    return rows


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (table(0.2, 0.4, 0.9), "supported"),
        (table(0.0, 0.0, 0.0), "not supported"),
        (table(0.2, 0.4, 0.9, jitter=0.3), "mixed"),
        (table(0.2, 0.4, 0.9, seeds=2), "not testable at this scale"),
    ],
)
def test_the_four_verdicts(rows, verdict):
    assert [claim["verdict"] for claim in judged(augmentation.STUDY, rows)["claims"]] == [verdict] * 3
