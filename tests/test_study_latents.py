"""Walks through latents against known answers, use of latents by hand, verdicts on made-up tables."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from cells import draw_of, make_cell, randomise, some_batch
from runs import fresh_launch  # noqa: F401

from genvision.analysis import latents, traversal
from genvision.analysis.latent_space import between, detour, expected_pixels, lengths, path_lengths, use_of_latents
from genvision.analysis.perform import judged
from genvision.analysis.runs import Runs, opened
from genvision.fingerprint import short_hash
from genvision.probability.likelihood import make_likelihood
from genvision.spec import ImageSpec


def test_expected_pixels_are_the_sum_over_levels_and_round_to_the_mean():
    spec = ImageSpec(2, 3, 3, levels=5)
    head = randomise(make_likelihood({"name": "categorical", "mixtures": 0}, 4, spec), std=1.0)
    h = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    found = expected_pixels(head, h)
    params = head.params(h, head.mean(h))
    by_hand = (params.softmax(-1) * torch.arange(5.0)).sum(-1) / 4
    torch.testing.assert_close(found, by_hand)
    assert torch.equal((found * 4).round().to(torch.uint8), head.mean(h))


def test_a_straight_fade_is_as_long_as_its_ends_are_apart_and_a_way_round_is_longer():
    start, end = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
    end[1] = 0.5
    fade = between(start, end, 8)
    assert fade.shape == (9, 2, 1, 4, 4) and torch.equal(fade[0], start) and torch.equal(fade[-1], end)
    torch.testing.assert_close(lengths(fade), torch.tensor([1.0, 0.5]))
    torch.testing.assert_close(detour(fade), torch.ones(2))
    around = torch.cat([fade, start[None], end[None]])  # there, back and there again
    torch.testing.assert_close(detour(around), torch.tensor([3.0, 3.0]))


def test_the_use_of_latents_is_the_mean_over_all_images():
    spec = ImageSpec(1, 8, 8)
    family = randomise(make_cell("vae", ("vit", "vit"), spec), std=0.3).eval()
    batches = [(some_batch(4, spec), draw_of(4)), (some_batch(6, spec), draw_of(6, seed=1))]
    with torch.no_grad():
        found = use_of_latents(family, batches)
        posteriors = [family.posterior(batch) for batch, _ in batches]
        means = torch.cat([one.mean for one in posteriors]).double()
        bits = torch.cat([family.bits_per_dim(batch, draw) for batch, draw in batches])
    variances = means.var(0, correction=0)
    assert found["active"] == pytest.approx((variances > 0.01).double().mean().item()) and found["active"] > 0
    assert found["bits_per_dim"] == pytest.approx(bits.mean().item())
    told = family.diagnostics(batches)
    assert found["kl_nats"] == pytest.approx([told[f"kl_nats_{k:02d}"] for k in range(4)])


def test_a_decoder_that_fades_straight_has_no_detour(monkeypatch):
    family = SimpleNamespace(posterior=lambda batch: SimpleNamespace(mean=batch))
    monkeypatch.setattr("genvision.analysis.latent_space.decoded", lambda family, z: 3 * z)
    latent = torch.randn(6, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    length, way = path_lengths(family, latent)
    torch.testing.assert_close(way, torch.ones(3))
    torch.testing.assert_close(length, 3 * (latent[:3] - latent[3:]).square().flatten(1).mean(1).sqrt())


def test_nine_pairs_are_named_encoder_first(monkeypatch):
    asked = []
    monkeypatch.setattr(Runs, "of", lambda self, family, **k: asked.append((k["backbones"], k["words"])) or [None])
    setting = {"backbones": latents.BACKBONES, "seeds": (0,), "words": ("w=1",)}
    names = [what for _, what in latents.pairs(setting, Runs(None, "smoke"))]
    assert len(set(names)) == 9 and names[1] == "vit convnet"
    assert asked[0] == (("convnet",), ("w=1",)) and asked[1] == (("convnet",), ("w=1", "encoder.backbone=vit"))


def test_words_make_runs_of_their_own(tmp_path):
    runs = Runs(tmp_path, "smoke")
    (one,) = runs.of("vae", backbones=["vit"], words=("data.labels=false", "encoder.backbone=mixer"))
    assert one.folder.name == "vae-vit-seed0-data.labels-false-encoder.backbone-mixer"
    assert one.config.encoder.backbone == "mixer" and one.config.decoder.backbone == "vit"
    assert one.family.spec.classes == 0
    before = short_hash(one.family)
    rows = latents.described(one, {"batch": 4, "batches": 2})
    assert short_hash(one.family) == before and opened(tmp_path / one.folder.name) is one
    parts = [row["part"] for row in rows]
    assert parts.count("channel") == 8 and {"bits_per_dim", "active", "kl_nats", "length", "path"} <= set(parts)
    channels = [row["value"] for row in rows if row["part"] == "channel"]
    assert channels == sorted(channels, reverse=True)
    assert sum(channels) == pytest.approx(next(row["value"] for row in rows if row["part"] == "kl_nats"), abs=1e-3)


def table(active, kl, saved, path, depth, seeds=3, jitter=0.0):
    """A ViT decoder's numbers less, or over, a ConvNet decoder's."""
    rows = []
    for seed in range(seeds):
        shake = jitter * (seed - 1)
        for encoder in latents.BACKBONES:
            for decoder in ("vit", "convnet"):
                mine = decoder == "vit"
                values = {
                    "active": 0.5 + mine * (active + shake),
                    "kl_nats": 10 * (kl + shake if mine else 1),
                    "bits_per_dim": 4 - mine * (saved + shake),
                    "path": 2 * (path + shake if mine else 1),
                }
                base = {"what": f"{encoder} {decoder}", "seed": seed}
                rows += [base | {"part": part, "value": value} for part, value in values.items()]
        for blocks, value in ((1, 4 + depth + shake), (2, 9.0), (4, 4.0)):
            rows.append({"part": "depth", "what": "convnet convnet", "i": blocks, "seed": seed, "value": value})
    return rows


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (table(0.1, 1.3, 0.1, 1.3, 0.1), "supported"),
        (table(-0.1, 0.9, -0.1, 0.9, -0.1), "not supported"),
        (table(0.02, 1.05, 0.01, 1.02, 0.02, jitter=0.1), "mixed"),
        (table(0.1, 1.3, 0.1, 1.3, 0.1, seeds=2), "not testable at this scale"),
    ],
)
def test_the_four_verdicts(rows, verdict):
    assert [claim["verdict"] for claim in judged(latents.STUDY, rows)["claims"]] == [verdict] * 5


def test_the_diversity_of_a_decoder_that_is_a_square_root(monkeypatch):
    """Latents as pixels: two normal draws are 2 apart in mean square in every pixel."""
    family = SimpleNamespace(noise_size=lambda: 4000, latents_of=lambda noise, y: noise.view(-1, 1, 40, 100))
    monkeypatch.setattr(traversal, "decoded", lambda family, z: z)
    assert traversal.diversity(family, 20) == pytest.approx(2**0.5, rel=0.01)


def test_a_walk_is_timed_in_turn_and_counted(tmp_path):
    setting = {**traversal.STUDY.presets["smoke"], "sizes": (2, 4, 6)}
    rows = traversal.costs(setting)
    times = [row for row in rows if row["part"] == "time"]
    assert len(times) == 3 * 3 * setting["rounds"] and all(row["value"] > 0 for row in times)
    macs = {(row["what"], row["size"]): row["value"] for row in rows if row["part"] == "macs"}
    cells = 2 * 2
    assert macs["vit", 4] - macs["vit", 2] == macs["vit", 6] - macs["vit", 4] == cells * 2 * 16, "its stem alone"


def walk(slope, vit, diversity, worth, seeds=3, jitter=0.0):
    rows = []
    for seed in range(seeds):
        shake = jitter * (seed - 1)
        for size in (2, 4, 8)[: None if seeds > 2 else 2]:
            for name, times in (("convnet", 1), ("vit", vit + shake)):
                wobble = 1 + 2 * jitter * (size == 4)
                row = {"part": "time", "what": name, "size": size, "seed": seed}
                rows.append(row | {"value": times * wobble * size**slope})
        for part, value in (("diversity", diversity), ("diversity per multiply-add", worth)):
            for name in ("convnet", "vit"):
                row = {"part": part, "what": name, "seed": seed}
                rows.append(row | {"value": value + shake if name == "vit" else 1.0})
    return rows


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (walk(1.0, 2.0, 1.5, 1.5), "supported"),
        (walk(0.1, 0.5, 0.5, 0.5), "not supported"),
        (walk(1.0, 1.0, 1.02, 1.02, jitter=0.2), "mixed"),
        (walk(1.0, 2.0, 1.5, 1.5, seeds=2), "not testable at this scale"),
    ],
)
def test_the_four_verdicts_of_walks(rows, verdict):
    assert [claim["verdict"] for claim in judged(traversal.STUDY, rows)["claims"]] == [verdict] * 4
