"""Shaping: guidance, temperature, top-k and top-p against their definitions, value by value."""

from __future__ import annotations

import math

import pytest
import torch
from cells import randomise
from torch import Tensor

from genvision.errors import ConfigError
from genvision.probability.likelihood import LIKELIHOODS, make_likelihood
from genvision.probability.shaping import UNSHAPED, Shaping
from genvision.spec import ImageSpec

P = torch.tensor([0.05, 0.4, 0.25, 0.2, 0.1], dtype=torch.float64)


def shaped(p: Tensor = P, **options) -> list[float]:
    """The probabilities that come out of p."""
    return Shaping(**options)(p.log()).softmax(-1).tolist()


def test_the_defaults_change_nothing() -> None:
    log_p = P.log()
    assert torch.equal(UNSHAPED(log_p), log_p)


def test_temperature_is_a_power_of_the_probabilities() -> None:
    for temperature in (0.5, 2.0):
        powers = P ** (1 / temperature)
        assert shaped(temperature=temperature) == pytest.approx((powers / powers.sum()).tolist())
    assert shaped(temperature=1e-3) == pytest.approx([0, 1, 0, 0, 0])


@pytest.mark.parametrize(
    ("k", "expected"),
    [(1, [0, 1, 0, 0, 0]), (2, [0, 0.4, 0.25, 0, 0]), (4, [0, 0.4, 0.25, 0.2, 0.1]), (5, P.tolist()), (99, P.tolist())],
)
def test_top_k_leaves_the_k_likeliest(k, expected) -> None:
    assert shaped(top_k=k) == pytest.approx([value / sum(expected) for value in expected])


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (1e-9, [0, 1, 0, 0, 0]),  # never nothing
        (0.4, [0, 1, 0, 0, 0]),
        (0.41, [0, 0.4, 0.25, 0, 0]),
        (0.85, [0, 0.4, 0.25, 0.2, 0]),
        (0.9, [0, 0.4, 0.25, 0.2, 0.1]),
    ],
)
def test_top_p_leaves_the_fewest_that_reach_it(p, expected) -> None:
    assert shaped(top_p=p) == pytest.approx([value / sum(expected) for value in expected])


def test_what_is_as_likely_as_the_last_one_stays_too() -> None:
    even = torch.tensor([0.3, 0.3, 0.3, 0.1], dtype=torch.float64)
    for options in ({"top_k": 1}, {"top_p": 0.3}):
        assert shaped(even, **options) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])


def test_temperature_comes_before_top_p() -> None:
    """Sharpened, 0.4 alone has more than half; unsharpened, it takes two."""
    squares = P**2 / (P**2).sum()
    assert squares[1] > 0.5 > P[1]
    assert shaped(temperature=0.5, top_p=0.5) == pytest.approx([0, 1, 0, 0, 0])


def test_guidance_extrapolates_from_the_half_without_labels() -> None:
    free = P.flip(0)
    both = torch.stack([P, free]).log()
    for w in (0.0, 0.5, 1.0, 3.0):
        out = Shaping(guidance=w)(both).softmax(-1)
        expected = free ** (1 - w) * P**w
        torch.testing.assert_close(out, (expected / expected.sum())[None] if w != 1 else torch.stack([P, free]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "sample.temperature=0.0 must be more than 0"),
        ({"temperature": math.nan}, "sample.temperature=nan must be more than 0"),
        ({"top_k": -1}, "sample.top_k=-1 must be 0 or more"),
        ({"top_p": 0.0}, "sample.top_p=0.0 must be more than 0 and at most 1"),
        ({"top_p": 1.1}, "sample.top_p=1.1 must be more than 0 and at most 1"),
        ({"guidance": -1.0}, "sample.guidance=-1.0 must be 0 or more"),
    ],
)
def test_a_number_out_of_range_is_refused(options, message) -> None:
    with pytest.raises(ConfigError, match=message):
        Shaping(**options)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_frequencies_follow_the_shaped_probabilities_channel_after_channel(name) -> None:
    """The second channel is shaped given the first that was drawn, under guidance too."""
    spec, n, shaping = ImageSpec(2, 1, 1, levels=4), 40_000, Shaping(guidance=2.0, temperature=0.8, top_k=3)
    head = randomise(make_likelihood({"name": name, "mixtures": 4}, 8, spec), 0.5).double()
    h = torch.randn(2, 8, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)  # with, without label
    u = torch.rand(n, 2, 1, 1, generator=torch.Generator().manual_seed(1))
    x = head.sample(h.repeat_interleave(n, 0), u, shaping).flatten(1).long()
    counts = torch.bincount(4 * x[:, 0] + x[:, 1], minlength=16)
    expected = torch.zeros(16, dtype=torch.float64)
    for first in range(4):
        given = torch.full((2, 2, 1, 1), first)
        params = head.params(h, given)[:, :, 0, 0]  # (with or without, channel, P)
        own, after = (shaping(head.log_pmf(params[:, c]))[0].softmax(-1) for c in (0, 1))
        expected[4 * first : 4 * first + 4] = n * own[first] * after
    possible = expected > 0
    assert (counts[~possible] == 0).all() and 0 < (~possible).sum() <= 7
    chi_square = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
    assert chi_square < 40
