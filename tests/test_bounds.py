"""Bounds of a VAE: below the likelihood, tighter with more samples, and with a KL term that leaves free bits alone."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from cells import draw_of, make_cell, randomise, serving, some_batch
from torch.distributions import Normal

from genvision.errors import ConfigError
from genvision.probability.bounds import active_units, free_bits, importance_weighted
from genvision.probability.likelihood import make_likelihood
from genvision.probability.randomness import Stream, normal
from genvision.probability.units import nats_to_bits_per_dim
from genvision.spec import Batch, Draw, ImageSpec

N = 4
SPEC = ImageSpec(1, 2, 2, classes=2)
IMAGES = some_batch(N, SPEC)


LINE = torch.linspace(-8, 8, 401, dtype=torch.float64)
LOG_STEP = math.log(16 / 400)


@pytest.fixture(scope="module", params=[(0, None), (1, None), (1, 1)], ids=["grid", "vector-and-grid", "two-grids"])
def cell(request):
    """A VAE with one latent number, or one above another: its likelihood is an integral that sums over lines can do."""
    shape = {"latent_channels": 1, "top_channels": request.param[0], "top_downsample": request.param[1]}
    return randomise(make_cell("vae", ("vit", "mixer"), SPEC, **shape), 0.15).double().eval()


def repeated(k: int) -> Batch:
    """The images k times over, image 0 first."""
    return Batch(IMAGES.images.repeat_interleave(k, 0), IMAGES.labels.repeat_interleave(k))


@pytest.fixture(scope="module")
def log_likelihood(cell) -> torch.Tensor:
    """log of the integral of p(x|z) p(z) over z, (N,) nats; p(z) that of p(z|v) N(v; 0, 1) over v."""
    points = LINE.repeat(N)[:, None, None, None]
    with torch.no_grad():
        log_p_x = cell.log_prob_given(points, repeated(401)).view(N, 401)
        if not cell.options.top_channels:
            return (log_p_x + Normal(0.0, 1.0).log_prob(LINE)).logsumexp(1) + LOG_STEP
        mean, log_var = (m.view(N, 401, 1) for m in cell.prior(points, repeated(401).labels))
    log_p_z = (Normal(mean, (0.5 * log_var).exp()).log_prob(LINE) + Normal(0.0, 1.0).log_prob(LINE)[:, None]).logsumexp(
        1
    )
    return (log_p_x + log_p_z).logsumexp(1) + 2 * LOG_STEP


@pytest.fixture(scope="module")
def log_weights(cell) -> torch.Tensor:
    """2048 of each image, (2048,N)."""
    with torch.no_grad():
        return cell.log_weights(repeated(2048), [draw_of(2048 * N)]).view(N, 2048).T


def test_importance_weights_have_the_likelihood_as_their_mean(log_weights, log_likelihood) -> None:
    weights = (log_weights - log_likelihood).exp()
    assert ((weights.mean(0) - 1).abs() < 5 * weights.std(0) / math.sqrt(len(weights))).all()
    assert weights.std(0).min() > 0.05  # and not constant: the test can fail


def test_bounds_rise_with_k_and_stay_below_the_likelihood(cell, log_weights, log_likelihood) -> None:
    """Burda et al. 2016, theorem 1; for one set of weights, two halves never have the higher mean bound (Jensen)."""
    bounds = [
        torch.stack([importance_weighted(part) for part in log_weights.split(k)]).mean(0)
        for k in (1, 2, 4, 16, 64, 512)
    ]
    assert all((low < high).all() for low, high in itertools.pairwise(bounds))
    assert (bounds[3] < log_likelihood).all() and (bounds[-1] - log_likelihood).abs().max() < 0.2
    with torch.no_grad():
        elbos = cell.log_prob(repeated(2048), draw_of(2048 * N)).view(N, 2048).T
    error = 5 * (log_weights.std(0) + elbos.std(0)) / math.sqrt(2048)
    assert ((elbos.mean(0) - bounds[0]).abs() < error).all()  # one sample is the evidence lower bound


def test_the_samples_of_a_bound_are_keyed(cell) -> None:
    with torch.no_grad():
        five = cell.log_weights(IMAGES, [draw_of(N, step=step) for step in range(5)])
        two = cell.log_weights(IMAGES, [draw_of(N, step=step) for step in range(2)])
        third = cell.log_weights(Batch(IMAGES.images[2:3], IMAGES.labels[2:3]), [Draw(0, 4, torch.tensor([2]))])
    assert torch.equal(two, five[:2]) and five.std(0).min() > 1e-3
    torch.testing.assert_close(third[0], five[4, 2:3], rtol=1e-9, atol=0)


def test_what_is_drawn_follows_the_prior_of_its_label(cell) -> None:
    """z = mean + std eps; mean and std are those of p(z | v, y) where a vector v ~ N(0, I) stands above z."""
    n = 32
    y, draw = torch.arange(n) % 2, draw_of(n, seed=5)
    noise = normal(draw, Stream.SAMPLE + Stream.LATENT, cell.noise_size()).double()[..., None, None]
    z = noise[:, :1]
    with torch.no_grad():
        if cell.options.top_channels:
            mean, log_var = cell.decoder.top(noise[:, 1:], y).chunk(2, 1)
            z = mean + (0.5 * log_var).exp() * z
        expected = cell.decoder.head.mean(cell.decoder(z, y))
    drawn = cell.sample(n, labels=y, seed=5, chunk_size=n)
    assert torch.equal(drawn, expected) and len(drawn.unique(dim=0)) > 8


def test_the_vector_is_inferred_from_the_mean_of_the_grid(cell) -> None:
    """Not from the cell that was drawn: the posterior of each depends on the image alone."""
    with torch.no_grad():
        grid = cell.posterior(IMAGES)
        latents = [cell.infer(grid, IMAGES.labels, draw_of(N, step=step)) for step in (0, 1)]
        moments = [grid] if cell.encoder.top is None else [grid, cell.encoder.top(grid.mean, IMAGES.labels).chunk(2, 1)]
    for found in latents:
        for latent, (mean, log_var) in zip(found, moments, strict=True):
            assert torch.equal(latent.posterior.mean, mean) and torch.equal(latent.posterior.log_var, log_var)
    assert not torch.equal(latents[0][0].z, latents[1][0].z)


def test_free_bits_are_a_maximum_over_each_channel_of_each_image() -> None:
    kl = torch.tensor([[[1.0, 2.0], [0.0, 0.25]], [[0.5, 0.0], [4.0, 4.0]]])[..., None]  # (2 images, 2 channels, 2, 1)
    bits, ln2 = 1.0, math.log(2)
    assert free_bits(kl, bits).tolist() == pytest.approx([3 + ln2, ln2 + 8])
    assert free_bits(kl, 0.0).tolist() == pytest.approx([3.25, 8.5])
    kl.requires_grad_()
    free_bits(kl, bits).sum().backward()
    assert kl.grad[..., 0].tolist() == [[[1, 1], [0, 0]], [[0, 0], [1, 1]]]


def test_free_bits_change_the_loss_and_not_the_bound() -> None:
    spec = ImageSpec(1, 4, 4)
    plain, spared = (make_cell("vae", ("vit", "vit"), spec, free_bits=bits, beta=2.0) for bits in (0.0, 50.0))
    batch, draw = some_batch(3, spec), draw_of(3)
    before, after = plain.loss(batch, draw), spared.loss(batch, draw)
    assert torch.equal(before["kl_bpd"], after["kl_bpd"])
    assert torch.equal(plain.bits_per_dim(batch, draw), spared.bits_per_dim(batch, draw))
    expected = after["reconstruction_bpd"] + 2.0 * (4 + 5) * 50 / 16  # every channel is below 50 bits; 16 dims
    torch.testing.assert_close(after["loss"], expected)


def test_active_units_are_those_whose_posterior_mean_varies() -> None:
    means = torch.zeros(4, 3, 1, 1)
    means[:, 0, 0, 0] = torch.tensor([-0.2, 0.2, -0.2, 0.2]) + 5  # variance 0.04
    means[:, 1, 0, 0] = torch.tensor([-0.05, 0.05, -0.05, 0.05])  # variance 0.0025
    assert active_units(means) == 1


def test_diagnostics_are_the_kl_of_each_channel_and_the_units_that_vary(cell) -> None:
    with torch.no_grad():
        told = cell.diagnostics([(IMAGES, draw_of(N))])
        latents = cell.infer(cell.posterior(IMAGES), IMAGES.labels, draw_of(N))
    expected = {"psnr_db": told["psnr_db"]}  # of its own test
    for prefix, (z, q, p) in zip(("", "top_"), latents, strict=False):
        posterior, prior = (Normal(m.mean, (0.5 * m.log_var).exp()) for m in (q, p))
        assert z.shape == (N, 1, 1, 1)
        expected[f"{prefix}active_units"] = int(q.mean.var(0, correction=0).item() > 0.01)
        expected[f"{prefix}kl_nats_00"] = torch.distributions.kl_divergence(posterior, prior).mean().item()
    assert told == pytest.approx(expected)


@pytest.mark.parametrize("trunk", serving("encoder"))
def test_a_coarser_grid_stands_above_the_grid_and_tells_its_prior(trunk) -> None:
    spec = ImageSpec(1, 8, 12, classes=3)
    cell = randomise(make_cell("vae", (trunk, trunk), spec, top_downsample=2))
    batch, draw = some_batch(3, spec), draw_of(3)
    grid, above = cell.infer(cell.posterior(batch), batch.labels, draw)
    assert grid.z.shape == grid.posterior.mean.shape == (3, 4, 4, 6)
    assert above.z.shape == above.posterior.mean.shape == (3, 5, 2, 3)
    told = cell.prior(above.z, batch.labels)
    assert torch.equal(grid.prior.mean, told.mean) and torch.equal(grid.prior.log_var, told.log_var)
    assert (above.prior.mean == 0).all() and (above.prior.log_var == 0).all()
    terms = cell.loss(batch, draw)
    kl = grid.kl().flatten(1).sum(1) + above.kl().flatten(1).sum(1)
    torch.testing.assert_close(terms["kl_bpd"], nats_to_bits_per_dim(kl, spec))
    terms["loss"].sum().backward()
    assert [name for name, p in cell.named_parameters() if p.grad is None or not p.grad.any()] == []
    noise = torch.randn(2, cell.noise_size())
    z = cell.latents_of(noise, batch.labels[:2])
    v = noise[:, 4 * 24 :].view(2, 5, 2, 3)
    assert torch.equal(z, cell.prior(v, batch.labels[:2]).sample(noise[:, : 4 * 24].view(2, 4, 4, 6)))
    assert torch.equal(cell.sample(3, chunk_size=2)[:2], cell.sample(2, chunk_size=2))


def test_a_grid_above_that_does_not_fit_is_refused() -> None:
    message = "family.top_downsample=3 does not divide the latent grid of 4x6 cells; choose one that does, or null"
    with pytest.raises(ConfigError, match=message):
        make_cell("vae", ("vit", "vit"), ImageSpec(1, 8, 12), top_downsample=3)


@pytest.mark.parametrize("scale", [None, 0.05])
def test_the_scale_of_the_logistic_is_one_number_learned_or_fixed(scale) -> None:
    spec = ImageSpec(1, 2, 2)
    head = make_cell("vae", ("vit", "vit"), spec, likelihood="logistic", output_scale=scale).decoder.head
    mixture = make_likelihood({"name": "logistic_mixture", "mixtures": 1}, 8, spec)
    width, x = head.project[0].in_features, some_batch(3, spec).images
    h = torch.randn(3, width, 2, 2, generator=torch.Generator().manual_seed(0))
    means = head.params(h, x)
    scales = torch.full_like(means, -2.0 if scale is None else math.log(scale))
    expected = mixture.log_prob(torch.cat([torch.zeros_like(means), means, scales], -1), x)
    torch.testing.assert_close(head.log_prob(means, x), expected)
    assert ("log_scale" in dict(head.named_parameters())) == (scale is None)
    head.log_prob(means, x).sum().backward()
    if scale is None:
        assert head.log_scale.grad.abs() > 0
