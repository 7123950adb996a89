"""Keyed randomness: pure, without collisions, of the right distribution, the same in any batch."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy.stats import chisquare

from genvision.probability.randomness import Stream, generator, normal, philox, uniform
from genvision.spec import Draw


def draw(*slots: int, seed: int = 0, step: int = 0) -> Draw:
    return Draw(seed, step, torch.tensor(slots))


@pytest.mark.parametrize("law", [uniform, normal])
def test_numbers_are_a_pure_function_of_their_key(law) -> None:
    first = law(draw(3, 4), Stream.NOISE, 2, 5)
    torch.manual_seed(123)
    law(draw(9), Stream.NOISE, 7)
    assert torch.equal(law(draw(3, 4), Stream.NOISE, 2, 5), first)
    assert first.shape == (2, 2, 5)
    assert first.dtype == torch.float32


def test_drawing_leaves_the_global_generators_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    normal(draw(0, 1), Stream.NOISE, 10)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("law", [uniform, normal])
def test_a_slot_draws_the_same_in_any_company(law) -> None:
    together = law(draw(7, 2, 11, 2), Stream.LATENT, 3)
    for row, slot in zip(together, (7, 2, 11, 2), strict=True):
        assert torch.equal(law(draw(slot), Stream.LATENT, 3)[0], row)


def test_a_longer_draw_starts_with_the_shorter_one() -> None:
    assert torch.equal(uniform(draw(1), Stream.PIXELS, 8)[:, :4], uniform(draw(1), Stream.PIXELS, 4))


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ([0] * 4, 0, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([2**32 - 1] * 4, 2**64 - 1, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], 0x299F31D0A4093822, "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_gives_the_numbers_that_its_authors_publish(counter, key, words) -> None:
    """Three known answers for philox4x32 of ten rounds, of the file kat_vectors of their library Random123."""
    even, odd = philox(*torch.tensor(counter).view(2, 2).T.unsqueeze(2), key)
    found = torch.stack([even, odd], 1).flatten().tolist()
    assert " ".join(f"{word:08x}" for word in found) == words


def test_words_of_neighbouring_keys_are_all_different() -> None:
    """Of 2^18 words of 32 bits some eight pairs meet by chance; a counter that repeats would give thousands."""
    keys = itertools.product((0, 1, 2**32, 2**63 - 1), (0, 1, 8), (0, 1, 2**32 - 1))
    numbers = [
        uniform(Draw(seed, step, torch.tensor([0, 1, 2, 2**32 - 1])), stream, 1820).double()
        for seed, stream, step in keys
    ]
    found = torch.cat(numbers).flatten()
    assert len(found) == 262_080 and len(found) - len(found.unique()) < 2200  # 2,046 on average among 2^24 values


def test_seeds_streams_steps_and_slots_share_no_number() -> None:
    """16 numbers of 64 bits for each of 4,480 keys: all different, at the ends of the range too."""
    large = 2**40
    keys = list(itertools.product((0, 1, 2, large), range(16 + 4), (0, 1, 2, large), (0, 1, 2, 3, 4, 5, large)))
    numbers = [n for seed, stream, step, slot in keys
               for n in generator(seed, stream, step, slot).integers(2**63, size=16).tolist()]  # fmt: skip
    assert len(keys) * 16 == len(numbers)
    assert len(set(numbers)) == len(numbers)


def test_a_long_draw_does_not_run_into_the_next_slot_or_stream() -> None:
    long = set(generator(0, 0).integers(2**63, size=100_000).tolist())
    for key in ({"stream": 1}, {"step": 1}, {"slot": 1}):
        other = generator(0, **{"stream": 0, **key}).integers(2**63, size=1000).tolist()
        assert long.isdisjoint(other)


def test_sampling_never_meets_a_training_stream() -> None:
    training = {stream for stream in Stream if stream < Stream.SAMPLE}
    sampling = {Stream.SAMPLE + stream for stream in training}
    assert training.isdisjoint(sampling)
    assert len({int(stream) for stream in Stream}) == len(Stream)


def test_uniforms_fill_the_unit_interval_evenly() -> None:
    u = uniform(Draw(0, 0, torch.arange(500)), Stream.TIMES, 400).double().flatten()
    n = len(u)
    assert u.min() >= 0
    assert u.max() < 1
    counts = torch.histc(u, 20, 0, 1)
    chi_square = ((counts - n / 20) ** 2 / (n / 20)).sum()
    assert chi_square < 43.8  # 99.9 % of 19 degrees of freedom
    assert abs(u.mean() - 0.5) < 4 / math.sqrt(12 * n)


def test_a_hundred_thousand_noises_differ_and_their_times_fill_the_unit_interval_evenly() -> None:
    """Of 100 steps with 1,000 slots each, as processes and workers would deal them out."""
    draws = [Draw(0, step, torch.arange(1000)) for step in range(100)]
    noises = torch.cat([normal(draw, Stream.NOISE, 8) for draw in draws]).numpy()
    assert len({noise.tobytes() for noise in noises}) == len(noises) == 100_000
    times = torch.cat([uniform(draw, Stream.TIMES) for draw in draws])
    assert chisquare(times.histc(100, 0, 1).numpy()).pvalue > 1e-3


def test_normals_have_the_moments_of_a_standard_normal() -> None:
    z = normal(Draw(0, 0, torch.arange(500)), Stream.NOISE, 400).double().flatten()
    n = len(z)
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - expected) < 4 * math.sqrt(variance / n)


def test_slots_steps_and_neighbours_are_uncorrelated() -> None:
    by_step = torch.stack([normal(Draw(0, step, torch.arange(64)), Stream.NOISE, 256).flatten() for step in range(3)])
    by_seed = torch.stack([normal(Draw(seed, 0, torch.arange(64)), Stream.NOISE, 256).flatten() for seed in range(3)])
    by_slot = normal(Draw(0, 0, torch.arange(3)), Stream.NOISE, 64 * 256)
    by_place = normal(Draw(0, 0, torch.arange(256)), Stream.NOISE, 256).view(-1, 4).T
    for numbers in (by_step, by_seed, by_slot, by_place):
        assert (torch.corrcoef(numbers) - torch.eye(len(numbers))).abs().max() < 4 / math.sqrt(64 * 256)
