"""What must hold for any input, not for chosen ones."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from cells import CELL_IDS, CELLS, make_cell, randomise, some_batch
from crowd import every_process
from hypothesis import given, settings
from hypothesis import strategies as st
from test_training_toy import ToyFamily, toy_config

from genvision.data import Batches, ImageSet
from genvision.evaluation.frechet import distance, fit
from genvision.families.base import Family
from genvision.sampling.sharing import shared
from genvision.spec import Batch, Draw, ImageSpec
from genvision.training.checkpoint import load, save
from genvision.training.ema import Ema
from genvision.training.loop import local_windows
from genvision.training.optimizer import learning_rate
from genvision.training.state import TrainState, make_state

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
    """Every process gets every image once and in order, out of whole chunks that one process each has worked on."""
    sizes = set()

    def work(slots):
        sizes.add(len(slots))
        return slots

    for rows in every_process(processes, lambda: shared(work, n, size, title="", unit="", progress=False)):
        assert rows.tolist() == list(range(n))
    assert sizes == {size}


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


@given(updates=st.integers(1, 400), decay=st.floats(0.0, 0.9999))
def test_weights_of_an_average_add_up_to_one(updates, decay):
    """Weights p that stand still are averaged to p + (e_0 - p) prod d_k, in closed form.

    With d_k = (1 + k) / (10 + k) the product is 9! n! / (n + 9)!; from the cap on it falls by `decay` a step.
    """
    free = sum((1 + k) / (10 + k) < decay for k in range(updates))  # the rates below the cap come first
    left = math.exp(math.lgamma(10) + math.lgamma(free + 1) - math.lgamma(free + 10)) * decay ** (updates - free)
    live = ToyFamily().double()
    ema = Ema(live, decay)
    with torch.no_grad():
        for p in live.parameters():
            p.add_(1)
    start = [p.clone() for p in ema.module.parameters()]
    for _ in range(updates):
        ema.update(live)
    for p, began, now in zip(live.parameters(), start, ema.module.parameters(), strict=True):
        torch.testing.assert_close(now, p + (began - p) * left, rtol=0, atol=1e-12)


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


DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
COUNT = st.integers(0, 2**40)
LEAF = st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 3), max_size=3).map(tuple))
TREE = st.dictionaries(
    st.builds(lambda path, leaf: (*path, leaf), st.lists(st.sampled_from("abc"), max_size=3), st.sampled_from("xyz")),
    LEAF,
    max_size=8,
)


def bits(shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    """Any value of the type, infinities, minus zero and what is no number among them."""
    if dtype == torch.bool:
        return torch.randint(0, 2, shape, generator=generator).bool()
    size = dtype.itemsize
    return torch.randint(0, 256, (*shape, size), generator=generator, dtype=torch.uint8).view(dtype).squeeze(-1)


class Tree(Family):
    """Parameters and buffers at any places: {path: (type, shape)}."""

    def __init__(self, tree: dict) -> None:
        super().__init__(SPEC, {}, None)
        self.weight = torch.nn.Parameter(torch.zeros(2))
        for (*path, leaf), (dtype, shape) in tree.items():
            module = self
            for name in path:
                if name not in dict(module.named_children()):
                    module.add_module(name, torch.nn.Module())
                module = module.get_submodule(name)
            if dtype.is_floating_point:
                module.register_parameter(leaf, torch.nn.Parameter(torch.zeros(shape, dtype=dtype)))
            else:
                module.register_buffer(leaf, torch.zeros(shape, dtype=dtype))


def filled(tree: dict, seed: int, counts: list[int], text: str) -> TrainState:
    """A training state of that shape, every bit of it drawn."""
    config, generator = toy_config(), torch.Generator().manual_seed(seed)
    state = make_state(Tree(tree), config, Accelerator(cpu=True), text)
    for tensor in (*state.family.state_dict().values(), *state.ema.module.state_dict().values()):
        tensor.copy_(bits(tuple(tensor.shape), tensor.dtype, generator))
    for p in state.family.parameters():
        moments = {name: bits(tuple(p.shape), p.dtype, generator) for name in ("exp_avg", "exp_avg_sq")}
        state.optimizer.state[p] = {"step": torch.tensor(float(counts[0] % 1000)), **moments}
    state.step, state.images_seen, state.ema.updates, state.skipped_steps, state.skipped_in_a_row = counts
    return state


@settings(max_examples=10)
@given(tree=TREE, seed=st.integers(0, 2**32), counts=st.lists(COUNT, min_size=5, max_size=5), text=st.text(max_size=20))
def test_a_training_state_of_any_shape_comes_back_to_the_bit(tmp_path_factory, tree, seed, counts, text):
    state, root = filled(tree, seed, counts, text), tmp_path_factory.mktemp("state")
    other = filled(tree, seed + 1, [0] * 5, text)
    other.total_steps = None  # whatever has been made is not too much
    assert everything(other) != everything(state)
    load(other, save(state, root, text, keep=1), text)
    assert everything(other) == everything(state)


def everything(state: TrainState) -> list:
    """Counters, and every tensor as (name, bytes)."""
    tensors = [*state.family.state_dict().items(), *state.ema.module.state_dict().items()]
    for p in state.family.parameters():
        tensors += sorted(state.optimizer.state[p].items())
    counts = [state.step, state.images_seen, state.ema.updates, state.skipped_steps, state.skipped_in_a_row]
    return counts + [(name, bytes(t.flatten().view(torch.uint8).tolist())) for name, t in tensors]
