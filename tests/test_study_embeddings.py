"""Similarity of position embeddings against known answers; verdicts on made-up tables."""

from __future__ import annotations

import pytest
import torch
from runs import fresh_launch, pictures, trained  # noqa: F401

from genvision.analysis import embeddings
from genvision.analysis.embeddings import described, similarity
from genvision.analysis.perform import judged
from genvision.analysis.runs import Runs
from genvision.layers.positions import make_positions


def contrast_of(table):
    return next(row["value"] for row in described(table) if row["part"] == "contrast")


def test_similarity_of_four_known_embeddings():
    table = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, -1.0], [-1.0, 0.0]]]) + 5
    expected = torch.tensor([[1, 0, 0, -1], [0, 1, -1, 0], [0, -1, 1, 0], [-1, 0, 0, 1]]).double()
    torch.testing.assert_close(similarity(table), expected)


def test_sinusoids_know_their_neighbours_and_noise_does_not():
    assert contrast_of(make_positions("sincos", (7, 7), 64).table) > 0.5
    torch.manual_seed(0)
    assert contrast_of(make_positions("learned", (7, 7), 64).table.detach()) == pytest.approx(0, abs=0.05)


def test_the_map_and_the_distances():
    table = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))
    rows, alike = described(table), similarity(table)
    middle = {(row["i"], row["j"]): row["value"] for row in rows if row["part"] == "map"}
    assert middle[1, 2] == 1 and middle[0, 4] == pytest.approx(alike[7, 4].item(), abs=1e-4) and len(middle) == 15
    over = {row["i"]: row["value"] for row in rows if row["part"] == "over distance"}
    near = [alike[5 * a + b, 5 * c + d] for a in range(3) for b in range(5) for c in range(3) for d in range(5)
            if 0.5 <= ((a - c) ** 2 + (b - d) ** 2) ** 0.5 <= 1.5]  # fmt: skip
    assert over[1] == pytest.approx(torch.stack(near).mean().item(), abs=1e-4) and set(over) == {1, 2, 3, 4}


def test_trained_tables_stand_beside_those_that_they_started_as(tmp_path, trained):
    runs = Runs(tmp_path, "smoke", [trained(family).path for family in ("vae", "diffusion")])
    rows = embeddings.STUDY.measure({"seeds": (0,), "words": ()}, runs)
    assert {row["what"] for row in rows} == {
        f"{role}, {state}" for role in embeddings.ROLES for state in embeddings.STATES
    }
    found = {row["what"]: row["value"] for row in rows if row["part"] == "contrast"}
    (one, _) = runs.given
    assert found["encoder, trained"] == contrast_of(one.family.encoder.trunk.position.table.detach())
    assert found["encoder, untrained"] != found["encoder, trained"]


def table(trained, untrained, seeds=3, jitter=0.0):
    return [
        {"part": "contrast", "what": f"{role}, {state}", "seed": seed, "value": value + jitter * (seed - 1)}
        for role in embeddings.ROLES
        for state, value in zip(embeddings.STATES, (trained, untrained), strict=True)
        for seed in range(seeds)
    ]


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (table(0.4, 0.0), "supported"),
        (table(0.01, 0.3), "not supported"),
        (table(0.05, 0.05, jitter=0.1), "mixed"),
        (table(0.4, 0.0, seeds=2), "not testable at this scale"),
    ],
)
def test_the_four_verdicts(rows, verdict):
    assert [claim["verdict"] for claim in judged(embeddings.STUDY, rows)["claims"]] == [verdict] * 2
