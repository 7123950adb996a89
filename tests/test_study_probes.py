"""Simple readers of features against known answers; verdicts on made-up tables."""

from __future__ import annotations

import pytest
import torch
from runs import fresh_launch, pictures, trained  # noqa: F401

from genvision.analysis import probes
from genvision.analysis.perform import judged
from genvision.analysis.probing import determination, linear_accuracy, neighbour_accuracy, ridge, standardiser
from genvision.analysis.runs import Runs
from genvision.errors import DataError
from genvision.fingerprint import short_hash


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_ridge_finds_a_linear_map_in_any_units_and_shrinks_with_its_strength():
    x, weights = normal(200, 3) * torch.tensor([1.0, 1000.0, 0.001]), normal(3, 2, seed=1)
    y = x @ (weights / torch.tensor([[1.0], [1000.0], [0.001]])) + 7
    assert determination(ridge(x, y, 0.0)(x), y) == pytest.approx(1)
    single = torch.linspace(-1, 1, 201, dtype=torch.float64)[:, None]
    shrunk = ridge(single, single, 1.0)(single)
    factor = (200 / 201) / (200 / 201 + 1.0)  # the standard deviation is that of a sample
    torch.testing.assert_close(shrunk, factor * single)


def test_columns_get_the_spread_of_the_first_rows_and_a_constant_one_is_left_out():
    x = torch.tensor([[1.0, 3.0], [5.0, 3.0]])
    standard = standardiser(x)
    torch.testing.assert_close(standard(x)[:, 0], torch.tensor([-(0.5**0.5), 0.5**0.5], dtype=torch.float64))
    assert standard(x + torch.tensor([0.0, 100.0]))[:, 1].tolist() == [0, 0]


def test_determination_is_one_for_the_truth_and_nothing_for_its_mean():
    truth = torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 8.0]])
    assert determination(truth, truth) == 1
    assert determination(truth.mean(0).expand(3, 2), truth) == pytest.approx(0)
    assert determination(torch.stack([truth[:, 0], truth[:, 1].mean().expand(3)], 1), truth) == pytest.approx(0.5)


def test_probes_tell_separate_classes_and_guess_of_noise():
    labels = torch.arange(300) % 3
    x = normal(300, 5) + 20 * torch.nn.functional.one_hot(labels, 5)
    for probe in (linear_accuracy, neighbour_accuracy):
        assert probe(x[:200], labels[:200], x[200:], labels[200:]) == 1
        noise = probe(normal(600, 5), torch.arange(600) % 3, normal(600, 5, seed=1), torch.arange(600) % 3)
        assert noise == pytest.approx(1 / 3, abs=0.06)


def test_only_neighbours_tell_a_ring_from_its_middle():
    x = torch.cat([0.1 * normal(100, 2), torch.nn.functional.normalize(normal(100, 2, seed=1))])
    labels = torch.arange(2).repeat_interleave(100)
    assert neighbour_accuracy(x, labels, x, labels) == 1
    assert linear_accuracy(x, labels, x, labels) < 0.75


def test_the_majority_of_the_nearest_decides():
    x, labels = torch.tensor([[0.0], [1.0], [2.0], [10.0]]), torch.tensor([0, 1, 1, 0])
    test = torch.tensor([[0.1]])
    for wanted, k in ((0, 1), (0, 2), (1, 3), (0, 4)):
        assert neighbour_accuracy(x, labels, test, torch.tensor([wanted]), k) == 1


def test_labels_are_not_told_and_weights_not_changed(tmp_path, trained, monkeypatch):
    runs = Runs(tmp_path, "smoke", [trained(family, "vit").path for family in ("vae", "diffusion")])
    before = [short_hash(one.family) for one in runs.given]
    told = []
    original = probes.forward
    monkeypatch.setattr(probes, "forward", lambda *a, **k: (told.append(a[2].labels), original(*a, **k))[1])
    setting = {"seeds": (0,), "words": (), "times": (0.1,), "train": 8, "test": 6, "batch": 2}
    rows = probes.STUDY.measure(setting, runs)
    assert [short_hash(one.family) for one in runs.given] == before
    assert told == [None] * 14
    assert {row["part"] for row in rows} == {f"{r}, {p}" for r in probes.ROLES for p in probes.PROBES}
    assert {row["i"] for row in rows} == {0, 1}


def test_images_without_labels_have_nothing_to_read(tmp_path, pictures, trained, monkeypatch):
    runs = Runs(tmp_path, "smoke", [trained("vae", "vit").path])
    (one,) = runs.given
    batches = probes.test_batches(one, 2, 1)
    monkeypatch.setattr(probes, "test_batches", lambda *a, **k: [(b._replace(labels=None), d) for b, d in batches])
    with pytest.raises(DataError, match="has no labels"):
        probes.features(one, "encoder", 0.0, "test", 2, 2)


def table(first, vit, convnet, seeds=3, jitter=0.0):
    """Accuracies of the first block, and of the deepest of three; the last but one of a denoiser is another number."""
    rows = []
    for seed in range(seeds):
        for role in probes.ROLES:
            for name, value in (("vit", vit), ("convnet", convnet), ("mixer", convnet)):
                deepest = value + jitter * (seed - 1)
                blocks = [first, 0.0, deepest] if role == "encoder" else [first, deepest, 0.0]
                for probe in probes.PROBES:
                    for i, accuracy in enumerate(blocks):
                        row = {"part": f"{role}, {probe}", "what": name, "i": i, "seed": seed, "value": accuracy}
                        rows.append(row | {"time": 0.0 if role == "encoder" else probes.CLEAR})
                        if role == "denoiser":
                            rows.append(row | {"time": 0.9, "value": 0.0})
    return rows


@pytest.mark.parametrize(
    ("rows", "verdicts"),
    [
        (table(0.5, 0.7, 0.7), ["supported"] * 2),
        (table(0.7, 0.6, 0.5), ["not supported"] * 2),
        (table(0.5, 0.51, 0.51, jitter=0.05), ["mixed", "supported"]),
        (table(0.5, 0.7, 0.68), ["supported"] * 2),
        (table(0.3, 0.7, 0.4), ["supported", "not supported"]),
        (table(0.5, 0.7, 0.7, seeds=2), ["not testable at this scale"] * 2),
    ],
)
def test_verdicts(rows, verdicts):
    assert [claim["verdict"] for claim in judged(probes.STUDY, rows)["claims"]] == verdicts


def test_seeds_that_disagree_are_mixed():
    rows = table(0.5, 0.7, 0.7)
    for row in rows:
        if row["what"] == "vit" and row["i"] and row["value"]:
            row["value"] += 0.05 * (row["seed"] - 1)
    assert judged(probes.STUDY, rows)["claims"][1]["verdict"] == "mixed"
