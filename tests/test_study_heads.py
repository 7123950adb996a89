"""Heads that read what they say; verdicts on made-up tables."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from cells import randomise

from genvision.analysis import heads
from genvision.analysis.classifiers import accuracy, fitted
from genvision.analysis.perform import judged
from genvision.analysis.reading import HEADS, MEAN, MLP, ONE, TOKEN, Reader
from genvision.spec import ImageSpec

SPEC = ImageSpec(1, 12, 8, 2)  # 3 x 2 tokens


@pytest.mark.parametrize("backbone", heads.BACKBONES)
def test_a_head_reads_the_mean_one_token_or_the_class_token(backbone):
    h = torch.randn(2, 7, 40)
    expected = {MEAN: h[:, 1:].mean(1), ONE: h[:, 4], TOKEN: h[:, 0], MLP: h[:, 0]}
    for head in HEADS:
        reader = Reader(backbone, head, SPEC)
        own = h if reader.class_token is not None else h[:, 1:]
        assert torch.equal(reader.read(own), expected[head])
        assert len(reader.out) == (3 if head == MLP else 1)
    assert Reader("mixer", TOKEN, SPEC).blocks[0].mixing.up.in_features == 7


@pytest.mark.parametrize("backbone", heads.BACKBONES)
@pytest.mark.parametrize("head", HEADS)
def test_every_head_hears_of_every_patch(backbone, head):
    reader = randomise(Reader(backbone, head, SPEC), std=0.3)
    image = torch.zeros(1, 1, 12, 8, requires_grad=True)
    (slope,) = torch.autograd.grad(reader(image).square().sum(), image)
    patches = slope.abs().unfold(2, 4, 4).unfold(3, 4, 4).amax((0, 1, 4, 5))
    assert patches.shape == (3, 2) and (patches > 0).all()


@pytest.mark.parametrize("head", HEADS)
def test_a_head_learns_where_a_square_is(head):
    labels = torch.arange(64) % 2
    images = torch.zeros(64, 1, 12, 8, dtype=torch.uint8)
    images[labels == 1, :, :4] = 255
    assert accuracy(fitted(partial(Reader, "mixer", head), images, labels, 60, 0), images, labels) == 1.0


def table(token, one, mlp, jitter=0.0, seeds=3):
    """Accuracies of heads less that of the mean, 0.8; that of the MLP less that of the class token."""
    rows = []
    for backbone in heads.BACKBONES:
        for seed in range(seeds):
            noise = jitter * (seed - 1)
            accuracies = {MEAN: 0.8, ONE: 0.8 + one + noise, TOKEN: 0.8 + token + noise}
            accuracies[MLP] = accuracies[TOKEN] + mlp + noise
            rows += [{"part": backbone, "what": k, "seed": seed, "value": v} for k, v in accuracies.items()]
    return rows


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (table(0.01, 0.1, 0.03), "supported"),
        (table(-0.05, -0.1, -0.03), "not supported"),
        (table(0.02, -0.02, 0.0, jitter=0.03), "mixed"),
        (table(0.01, 0.1, 0.03, seeds=2), "not testable at this scale"),
    ],
)
def test_the_four_verdicts(rows, verdict):
    assert [claim["verdict"] for claim in judged(heads.STUDY, rows)["claims"]] == [verdict] * 4


def test_an_mlp_is_set_against_a_linear_map_on_the_same_token():
    told = [claim["verdict"] for claim in judged(heads.STUDY, table(-0.05, 0.0, 0.03))["claims"]]
    assert told == ["not supported", "not supported", "supported", "supported"]
