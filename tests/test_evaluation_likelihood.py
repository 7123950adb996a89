"""Bits per dimension of a split: the right mean, kind and noise, in batches of one size."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from genvision.data.image_set import ImageSet
from genvision.errors import NonFiniteError
from genvision.evaluation.likelihood import bits_per_dim
from genvision.families.base import Family
from genvision.probability import randomness
from genvision.spec import Draw, ImageSpec


class Toy(Family):
    """log p is the sum of the pixels plus this image's own noise, in nats."""

    likelihood = "bound"

    def __init__(self, classes: int = 2) -> None:
        super().__init__(ImageSpec(1, 2, 2, classes), {}, None)
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, bool]] = []

    def log_prob(self, batch, draw):
        self.seen.append((len(batch.images), self.training))
        if self.spec.classes:
            assert torch.equal(batch.labels, batch.images[:, 0, 0, 0].long() // 4 % 2)  # the image's own
        noise = randomness.uniform(draw, randomness.Stream.NOISE)
        return -batch.images.flatten(1).double().sum(1) - noise


def image_set(n: int = 7) -> ImageSet:
    images = torch.arange(n * 4).reshape(n, 1, 2, 2).to(torch.uint8)
    return ImageSet("toys", "test", images, torch.arange(n) % 2, ("a", "b"))


def expected(n: int, seed: int) -> torch.Tensor:
    noise = randomness.uniform(Draw(seed, 0, torch.arange(n)), randomness.Stream.NOISE)
    nats = image_set().images[:n].flatten(1).double().sum(1) + noise
    return nats / (math.log(2) * 4)


@pytest.mark.parametrize("limit", [None, 5])
def test_value_and_standard_error(limit):
    family, n = Toy(), limit or 7
    found = bits_per_dim(family.train(), image_set(), seed=3, batch_size=3, limit=limit)
    bits = expected(n, 3)
    assert found["value"] == pytest.approx(bits.mean().item(), rel=1e-6)
    assert found["standard_error"] == pytest.approx(bits.std().item() / math.sqrt(n), rel=1e-6)
    assert (found["kind"], found["split"], found["num_images"]) == ("bound", "test", n)
    assert {size for size, _ in family.seen} == {3}  # the ragged batch too
    assert not any(training for _, training in family.seen) and family.training


def test_an_image_draws_the_same_noise_in_any_batch():
    values = [bits_per_dim(Toy(), image_set(), batch_size=size)["value"] for size in (1, 3, 64)]
    assert values == pytest.approx([values[0]] * 3, rel=1e-12)
    assert bits_per_dim(Toy(), image_set(), seed=1)["value"] != values[0]


def test_unconditional_families_get_no_labels():
    assert bits_per_dim(Toy(classes=0), image_set(), batch_size=2)["num_images"] == 7


def test_a_family_without_a_likelihood_has_none():
    family = Toy()
    family.likelihood = None
    assert bits_per_dim(family, image_set()) is None and family.seen == []


def test_not_a_number_is_an_error():
    class Diverged(Toy):
        def log_prob(self, batch, draw):
            return super().log_prob(batch, draw) * float("nan")

    with pytest.raises(NonFiniteError, match=r"toys:test is not finite"):
        bits_per_dim(Diverged(), image_set())
