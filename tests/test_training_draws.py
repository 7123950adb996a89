"""What training minimises: labels dropped once, and noise that sampling never meets."""

from __future__ import annotations

import math

import pytest
import torch
from cells import draw_of, make_cell, randomise, some_batch

from genvision.config.trunks import FAMILY_ROLES
from genvision.families import diffusion
from genvision.families.base import drop_labels
from genvision.probability import randomness
from genvision.probability.randomness import Stream, uniform
from genvision.spec import ImageSpec

SPEC = ImageSpec(1, 4, 4, classes=3)
N = 4000


def test_labels_are_dropped_once_per_example_with_the_asked_probability() -> None:
    labels = torch.arange(N) % 3
    dropped = drop_labels(labels, 3, 0.3, draw_of(N))
    gone = dropped == 3
    assert torch.equal(dropped[~gone], labels[~gone])
    assert abs(gone.float().mean() - 0.3) < 4 * math.sqrt(0.21 / N)
    again = drop_labels(labels, 3, 0.3, draw_of(N, step=1)) == 3
    for other in (again, uniform(draw_of(N), Stream.TIMES)):  # neither steps nor times know of each other
        assert torch.corrcoef(torch.stack([gone.float(), other.float()]))[0, 1].abs() < 4 / math.sqrt(N)
    assert torch.equal(drop_labels(labels, 3, 0.0, draw_of(N)), labels)
    assert (drop_labels(labels, 3, 1.0, draw_of(N)) == 3).all()
    assert drop_labels(None, 0, 0.3, draw_of(N)) is None


@pytest.mark.parametrize("family", ["autoregressive", "diffusion"])
def test_training_drops_labels_and_neither_validation_nor_likelihood_does(family) -> None:
    cell = randomise(make_cell(family, ("vit",), SPEC, label_dropout=0.5))
    seen = []
    getattr(cell, cell.roles[0]).register_forward_hook(lambda _, args, __: seen.append(args[-1]))
    batch, draw = some_batch(64, SPEC), draw_of(64)
    cell.train().loss(batch, draw)
    assert torch.equal(seen[0], drop_labels(batch.labels, 3, 0.5, draw))
    assert 10 < (seen[0] == 3).sum() < 54
    held_out = cell.eval().loss(batch, draw)["loss"]
    assert torch.equal(seen[1], batch.labels)
    assert torch.equal(held_out, cell.eval().loss(batch, draw)["loss"])
    if cell.likelihood:
        cell.bits_per_dim(batch, draw)
        assert torch.equal(seen[1], batch.labels)


@pytest.mark.parametrize("family", FAMILY_ROLES)
def test_sampling_draws_from_streams_that_training_never_touches(family, monkeypatch) -> None:
    streams = set()

    def recorded(real):
        def drawn(first, stream: int, *more, **options):
            streams.add(int(stream))
            return real(first, stream, *more, **options)

        return drawn

    monkeypatch.setattr(randomness, "_words", recorded(randomness._words))
    monkeypatch.setattr(diffusion, "generator", recorded(randomness.generator))
    options = {"vae": {"pixels": "sample"}, "autoregressive": {}, "diffusion": {"path": "cosine", "prediction": "v"}}
    cell = make_cell(family, ("vit",) * len(FAMILY_ROLES[family]), SPEC, **options[family])
    cell.loss(some_batch(2, SPEC), draw_of(2))
    training = streams.copy()
    streams.clear()
    cell.sample(2, chunk_size=2, **({"steps": 2, "scheduler": "ddpm"} if family == "diffusion" else {}))
    assert training
    assert max(training) < Stream.SAMPLE <= min(streams)
