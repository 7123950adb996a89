"""Quantisers and the autoencoder around them: nearest codes, straight gradients, a codebook that no cut moves."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from cells import draw_of, make_cell, randomise, serving, some_batch
from torch import Tensor

from genvision.pipelines import ImageGenerationPipeline
from genvision.probability.quantise import DECAY, FiniteScalar, VectorQuantiser
from genvision.spec import ImageSpec

LEVELS = (5, 3, 2)
every_trunk = pytest.mark.parametrize("trunk", serving("encoder"))
both_kinds = pytest.mark.parametrize("latent", ["fsq", "vq"])


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def vector_quantiser(codes: int = 6, channels: int = 2, seed: int = 0) -> VectorQuantiser:
    torch.manual_seed(seed)
    return VectorQuantiser(codes, channels).double()


def alone(x: Tensor) -> Tensor:
    """The gathered tensors of one process."""
    return x[None]


def some_priority(h: Tensor, seed: int = 0) -> Tensor:
    return torch.rand(len(h), *h.shape[2:], generator=torch.Generator().manual_seed(seed), dtype=h.dtype)


def test_finite_scalars_round_to_the_nearest_level_and_count_through_them() -> None:
    fsq, h = FiniteScalar(LEVELS), 1.5 * noise(7, 3, 4, 5)
    z, tokens, commitment = fsq(h)
    for channel, levels in enumerate(LEVELS):
        lines = torch.linspace(-1, 1, levels, dtype=torch.float64)
        nearest = (h[:, channel].tanh()[..., None] - lines).abs().argmin(-1)
        torch.testing.assert_close(z[:, channel], lines[nearest], rtol=0, atol=1e-7)
    assert z.dtype == torch.float64 and tokens.shape == (7, 4, 5) and not commitment.any()
    assert torch.equal(fsq.lookup(tokens).double(), z)
    every = fsq.lookup(torch.arange(30).view(1, 5, 6))
    assert fsq.codes == 30 and len(every.flatten(2).unique(dim=2)[0].T) == 30
    expected = [list(code)[::-1] for code in itertools.product([-1, 1], [-1, 0, 1], [-1, -0.5, 0, 0.5, 1])]
    assert every.flatten(2)[0].T.tolist() == expected
    assert torch.equal(fsq(torch.atanh(0.99 * every)).tokens, torch.arange(30).view(1, 5, 6))


def test_the_gradient_goes_straight_through_and_the_value_is_the_code_to_the_bit() -> None:
    h = noise(2, 3, 2, 2).float().requires_grad_()
    FiniteScalar(LEVELS)(h).z.backward(torch.full_like(h, 3.0))
    torch.testing.assert_close(h.grad, 3 * (1 - h.detach().tanh() ** 2))
    vq, g = vector_quantiser(6, 3).float(), h.detach().clone().requires_grad_()
    z, tokens, commitment = vq(g)
    assert torch.equal(z, vq.lookup(tokens))
    (3 * z.sum()).backward(retain_graph=True)
    assert torch.equal(g.grad, torch.full_like(g, 3.0))
    g.grad = None
    commitment.sum().backward()
    torch.testing.assert_close(g.grad, 2 * (g - z).detach() / 12)  # 3 channels of 2x2 cells
    assert not list(vq.parameters())


def test_vectors_get_the_nearest_code() -> None:
    vq, h = vector_quantiser(), noise(3, 2, 4, 5)
    z, tokens, commitment = vq(h)
    distances = torch.cdist(h.movedim(1, -1).reshape(-1, 2), vq.codebook)
    assert torch.equal(tokens.flatten(), distances.argmin(1))
    torch.testing.assert_close(commitment, (h - z).square().mean((1, 2, 3)))
    torch.testing.assert_close((h - z).square().sum(1).flatten(), distances.min(1).values.square())


def test_codes_are_the_running_means_of_their_vectors() -> None:
    """van den Oord et al. 2017, equations 6 to 8, with both averages started at nothing."""
    vq = vector_quantiser(2)
    vq.codebook.copy_(torch.tensor([[-5.0, 0.0], [5.0, 0.0]]))
    centres, count, total = torch.tensor([[-5.0, 1.0], [5.0, -1.0]]).double(), torch.zeros(2, 1).double(), 0.0
    for step in range(4):
        vectors = centres.repeat_interleave(3, 0) + 0.3 * noise(6, 2, seed=step)
        vq(vectors[:, :, None, None], torch.rand(6, 1, 1))
        vq.after_step(alone)
        count = DECAY * count + (1 - DECAY) * 3
        total = DECAY * total + (1 - DECAY) * vectors.view(2, 3, 2).sum(1)
        torch.testing.assert_close(vq.codebook, total / count)
    assert not vq.seen.any() and not vq.pool.any()


def test_neither_micro_batches_nor_processes_move_the_codebook_otherwise() -> None:
    whole, cut, first, second = (vector_quantiser(40, seed=3) for _ in range(4))
    for step in range(3):
        h = noise(8, 2, 3, 3, seed=step)
        priority = some_priority(h, step)
        whole(h, priority)
        for part in range(0, 8, 3):
            cut(h[part : part + 3], priority[part : part + 3])
        first(h[:4], priority[:4])
        second(h[4:], priority[4:])
        gathered = [torch.stack([getattr(vq, name) for vq in (first, second)]) for name in ("seen", "pool")]
        for vq in (whole, cut):
            vq.after_step(alone)
        for vq in (first, second):
            answers = iter(gathered)
            vq.after_step(lambda _, answers=answers: next(answers))
        revived = (whole.average[:, 0] == whole.average[:, 0].median()).sum()
        assert revived > 5 if step == 0 else True  # with 72 vectors for 40 codes some of them were dead
    for other in (cut, first, second):
        torch.testing.assert_close(other.codebook, whole.codebook, rtol=0, atol=1e-12)
        torch.testing.assert_close(other.average, whole.average, rtol=0, atol=1e-12)
    assert torch.equal(first.codebook, second.codebook)


def test_nothing_is_learned_without_priorities() -> None:
    vq = vector_quantiser()
    vq(noise(3, 2, 4, 5))
    assert not vq.seen.any() and not vq.pool.any()
    h = noise(3, 2, 4, 5)
    vq(h, some_priority(h))
    assert vq.seen[:, 0].sum() == 60 and (vq.pool[:, 0] > 0).all()


def test_dead_codes_start_anew_as_vectors_of_the_batch() -> None:
    vq, h = vector_quantiser(16), 0.1 * noise(500, 2, 1, 1) + 4 * noise(500, 2, 1, 1, seed=1).sign()  # four clusters
    vq.codebook.add_(100)
    vq.codebook[0] = 0  # the only code anywhere near
    assert len(vq(h).tokens.unique()) == 1
    vq(h, some_priority(h))
    vq.after_step(alone)
    vectors = h[:, :, 0, 0]
    torch.testing.assert_close(vq.codebook[0], vectors.mean(0))  # in use: moved, not replaced
    assert torch.cdist(vq.codebook[1:], vectors).min(1).values.max() < 1e-6
    assert len(vq.codebook.unique(dim=0)) == 16 and len(vq(h).tokens.unique()) > 10


def test_codes_stay_dead_where_there_are_too_few_vectors_and_a_code_in_use_is_left_alone() -> None:
    vq = vector_quantiser(9)
    vq.codebook.fill_(50)
    vq.codebook[:3] = torch.tensor([[-9.0, 0.0], [0.0, 0.0], [9.0, 0.0]])
    few = torch.tensor([[-9.0, 0.0], [0.0, 0.0], [9.0, 0.0], [0.0, 0.0]]).double()
    vq(few[:, :, None, None], torch.tensor([0.1, 0.3, 0.2, 0.4])[:, None, None])
    vq.after_step(alone)
    by_priority = [few[k].tolist() for k in (3, 1, 2, 0)]
    assert vq.codebook.tolist() == [[-9, 0], [0, 0], [9, 0], *by_priority, [50, 50], [50, 50]]


@both_kinds
@every_trunk
@pytest.mark.parametrize("size", [(1, 28, 28), (3, 14, 10)], ids=str)
def test_every_backbone_trains_as_a_tokenizer(trunk, latent, size) -> None:
    spec = ImageSpec(*size, classes=3)
    cell = randomise(make_cell("vae", (trunk, trunk), spec, latent=latent), 0.05)
    terms = cell(some_batch(2, spec), draw_of(2))
    assert all(value.shape == (2,) and value.isfinite().all() for value in terms.values())
    torch.testing.assert_close(terms["loss"], terms["reconstruction_bpd"] + 0.25 * terms["commitment"])
    assert terms["commitment"].any() == (latent == "vq")
    terms["loss"].sum().backward()
    still = [n for n, p in cell.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


@both_kinds
def test_samples_depend_on_seed_and_index_alone(latent) -> None:
    spec = ImageSpec(1, 8, 8, classes=3)
    cell = randomise(make_cell("vae", ("vit", "conv"), spec, latent=latent), 0.2)
    images = cell.sample(5, chunk_size=2)
    assert images.dtype == torch.uint8 and len(images.unique(dim=0)) == 5
    assert torch.equal(cell.sample(3, chunk_size=2), images[:3])
    assert not torch.equal(cell.sample(5, seed=1, chunk_size=2), images)
    assert cell.likelihood is None and "uniformly" in cell.caveat


@both_kinds
def test_samples_are_of_codes_drawn_uniformly(latent, monkeypatch) -> None:
    cell = make_cell("vae", ("vit", "vit"), ImageSpec(1, 8, 8), latent=latent)
    codes, drawn = cell.encoder.quantiser.codes, []
    decode = cell.decode_tokens
    monkeypatch.setattr(cell, "decode_tokens", lambda tokens, *rest: drawn.append(tokens) or decode(tokens, *rest))
    cell.sample(200, chunk_size=200)
    counts, expected = torch.cat(drawn).flatten().bincount(minlength=codes), 200 * 16 / codes
    assert len(counts) == codes
    assert ((counts - expected) ** 2 / expected).sum() < codes - 1 + 4 * (2 * (codes - 1)) ** 0.5


@both_kinds
def test_an_export_carries_its_codebook(latent, tmp_path) -> None:
    spec = ImageSpec(1, 8, 8)
    cell = randomise(make_cell("vae", ("conv", "vit"), spec, latent=latent), 0.2)
    cell(some_batch(4, spec), draw_of(4))
    cell.after_step(alone)
    ImageGenerationPipeline.from_family(cell.eval(), {"chunk_size": 2}).export(tmp_path / "model")
    loaded = ImageGenerationPipeline.from_pretrained(tmp_path / "model").generator
    batch, draw = some_batch(4, spec), draw_of(4)
    with torch.no_grad():
        tokens = cell.quantise(batch).tokens
        assert torch.equal(loaded.quantise(batch).tokens, tokens) and len(tokens.unique()) > 1
        images = cell.reconstruct(batch, draw)
        assert torch.equal(loaded.reconstruct(batch, draw), images)
        assert torch.equal(cell.decode_tokens(tokens, None, draw), images)


def test_training_moves_the_codebook_and_looking_does_not() -> None:
    spec = ImageSpec(1, 8, 8)
    cell = make_cell("vae", ("vit", "vit"), spec, latent="vq")
    codebook = cell.encoder.quantiser.codebook
    before = codebook.clone()
    for training in (False, True):
        cell.train(training)(some_batch(4, spec), draw_of(4))
        cell.after_step(alone)
        assert torch.equal(codebook, before) != training


def test_diagnostics_show_a_collapsed_codebook() -> None:
    spec = ImageSpec(1, 8, 8)
    cell = randomise(make_cell("vae", ("vit", "vit"), spec, latent="vq", codebook_size=8), 0.15).eval()
    stream = [(some_batch(4, spec), draw_of(4)), (some_batch(6, spec), draw_of(6))]
    with torch.no_grad():
        tokens = torch.cat([cell.quantise(batch).tokens.flatten() for batch, _ in stream])
        told = cell.diagnostics(iter(stream))
        share = tokens.bincount(minlength=8) / len(tokens)
        assert told["codebook_usage"] == (share > 0).sum().item() / 8 > 1 / 8
        perplexity = math.exp(-sum(p * math.log(p) for p in share.tolist() if p))
        assert told["codebook_perplexity"] == pytest.approx(perplexity) and perplexity > 1.2
        cell.encoder.quantiser.codebook.fill_(1e3)
        cell.encoder.quantiser.codebook[5] = 0
        told = cell.diagnostics(iter(stream))
    assert (told["codebook_usage"], told["codebook_perplexity"]) == (1 / 8, pytest.approx(1))
