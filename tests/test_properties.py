"""What must hold for any input, not for chosen ones."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from cells import CELL_IDS, CELLS, make_cell, randomise, some_batch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_training_toy import toy_config

from genvision.data import Batches, ImageSet
from genvision.evaluation.frechet import distance, fit
from genvision.families.base import chunks
from genvision.spec import Batch, Draw, ImageSpec
from genvision.training.ema import ema_decay
from genvision.training.loop import local_windows
from genvision.training.optimizer import learning_rate

SPEC = ImageSpec(1, 8, 8, classes=3)
seeds = st.integers(0, 2**63 - 1)


@given(total=st.integers(1, 40), batch=st.integers(1, 16), seed=seeds, start=st.integers(0, 1000))
def test_any_window_of_steps_as_long_as_an_epoch_holds_each_image(total, batch, seed, start):
    """Epoch by epoch a bijection, wherever batches cut it."""
    pixels = torch.arange(total, dtype=torch.uint8).view(-1, 1, 1, 1)
    batches = Batches(
        ImageSet("x", "train", pixels, None, ()), batch_size=batch, seed=seed, flip=False, crop_padding=0, device="cpu"
    )
    first = start * total
    steps = range(first // batch, (first + total - 1) // batch + 1)
    drawn = torch.cat([batches.indices(Draw(0, step, torch.arange(batch))) for step in steps])
    epoch = drawn[first - steps[0] * batch :][:total]
    assert sorted(epoch.tolist()) == list(range(total))


@given(share=st.integers(1, 12), processes=st.integers(1, 9), micro=st.none() | st.integers(1, 20))
def test_processes_and_windows_partition_the_batch(share, processes, micro):
    train = toy_config(batch_size=share * processes, micro_batch_size=micro).train
    windows = [
        local_windows(train, SimpleNamespace(num_processes=processes, process_index=rank, device=torch.device("cpu")))
        for rank in range(processes)
    ]
    assert torch.cat([window for of_one in windows for window in of_one]).tolist() == list(range(share * processes))
    assert all(len(window) <= (micro or share) for of_one in windows for window in of_one)


@given(n=st.integers(1, 300), size=st.integers(1, 70), processes=st.integers(1, 9))
def test_chunks_partition_the_images_over_any_processes(n, size, processes):
    dealt = [list(chunks(n, size))[rank::processes] for rank in range(processes)]
    slots = sorted(k for of_one in dealt for chunk in of_one for k in chunk.tolist())
    assert slots == list(range(len(slots))) and n <= len(slots) < n + size
    assert {len(chunk) for of_one in dealt for chunk in of_one} == {size}


@given(
    steps=st.integers(1, 500),
    warmup=st.integers(0, 100),
    rate=st.floats(1e-6, 1.0),
    schedule=st.sampled_from(["constant", "cosine", "linear"]),
)
def test_the_learning_rate_stays_between_nothing_and_all(steps, warmup, rate, schedule):
    train = toy_config(steps=steps, warmup_steps=warmup, learning_rate=rate, schedule=schedule).train
    rates = [learning_rate(step, steps, train) for step in range(steps)]
    assert all(0 < value <= rate * (1 + 1e-12) for value in rates)
    top = min(warmup, steps)
    assert rates[:top] == sorted(rates[:top]) and rates[top:] == sorted(rates[top:], reverse=True)


@given(updates=st.integers(1, 60), decay=st.floats(0, 0.999))
def test_weights_of_an_average_add_up_to_one(updates, decay):
    """d_0 .. d_n leave prod d_k of the start, and (1 - d_j) prod_{k>j} d_k of the j-th weights."""
    rates = [ema_decay(n, decay) for n in range(updates)]
    shares = [math.prod(rates), *((1 - rates[j]) * math.prod(rates[j + 1 :]) for j in range(updates))]
    assert all(share >= 0 for share in shares) and sum(shares) == pytest.approx(1)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(20, 60), d=st.integers(2, 30), scale=st.floats(0.1, 10))
def test_a_distance_is_symmetric_never_negative_and_turns_and_scales_with_its_space(seed, n, d, scale):
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(n, d, generator=generator, dtype=torch.float64) * (k + 1) + k for k in range(2))
    turn, _ = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))
    found = distance(fit(a), fit(b))
    assert found >= 0 and found == pytest.approx(distance(fit(b), fit(a)), rel=1e-6)
    assert distance(fit(a), fit(a)) == pytest.approx(0, abs=1e-6 * (1 + a.square().sum().item()))
    assert distance(fit(a @ turn), fit(b @ turn)) == pytest.approx(found, rel=1e-6)
    assert distance(fit(scale * a), fit(scale * b)) == pytest.approx(scale**2 * found, rel=1e-6)


@pytest.mark.parametrize(("family", "trunks"), CELLS, ids=CELL_IDS)
def test_an_image_of_a_batch_does_not_know_its_neighbours(family, trunks):
    """The losses of a batch in another order are the same ones in that order, in float64."""
    cell = randomise(make_cell(family, trunks, SPEC)).eval().double()
    batch, order = some_batch(5, SPEC), torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        plain = cell.loss(batch, Draw(0, 0, torch.arange(5)))["loss"]
        mixed = cell.loss(Batch(batch.images[order], batch.labels[order]), Draw(0, 0, order))["loss"]
    torch.testing.assert_close(mixed, plain[order], rtol=1e-6, atol=1e-6)
