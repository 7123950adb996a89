"""Likelihoods are distributions: they sum to one, sampling follows them, and the bounds are bounds."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from cells import draw_of, make_cell, randomise, serving, some_batch, some_images
from torch.distributions import Normal, kl_divergence

from genvision.errors import ConfigError
from genvision.probability.gaussian import DiagonalGaussian
from genvision.probability.likelihood import LIKELIHOODS, make_likelihood
from genvision.probability.units import nats_to_bits_per_dim, to_pixels, to_unit
from genvision.spec import Batch, ImageSpec

WIDTH = 8
every_head = pytest.mark.parametrize("name", LIKELIHOODS)


def make_head(name: str, spec: ImageSpec, *, std: float = 0.5, seed: int = 0):
    """A head in float64 with random weights, four components where it is a mixture."""
    return randomise(make_likelihood({"name": name, "mixtures": 4}, WIDTH, spec), std, seed).double()


def features(n: int, height: int = 1, width: int = 1, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, WIDTH, height, width, generator=generator, dtype=torch.float64)


def all_images(spec: ImageSpec) -> torch.Tensor:
    values = itertools.product(range(spec.levels), repeat=spec.dims)
    return torch.tensor(list(values), dtype=torch.uint8).view(-1, *spec.shape)


@pytest.mark.parametrize("trunk", serving("predictor"))
@every_head
def test_the_512_binary_images_of_3x3_pixels_have_probability_one(trunk, name) -> None:
    spec = ImageSpec(1, 3, 3, classes=2, levels=2)
    cell = randomise(make_cell("autoregressive", (trunk,), spec, likelihood=name), 0.3).double()
    images = all_images(spec)
    assert len(images) == 512
    for label in (0, 1):
        log_p = cell.log_prob(Batch(images, torch.full((512,), label)), draw_of(512))
        assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-9)
        assert log_p.std() > 0.1  # not the uniform distribution, which any sampler would pass


@pytest.mark.parametrize("trunk", serving("predictor"))
def test_colour_images_have_probability_one_too(trunk) -> None:
    spec = ImageSpec(3, 2, 2, levels=2)
    cell = randomise(make_cell("autoregressive", (trunk,), spec), 0.3).double()
    images = all_images(spec)
    assert cell.log_prob(Batch(images), draw_of(len(images))).exp().sum().item() == pytest.approx(1, abs=1e-9)


@every_head
def test_all_pairs_of_a_pixel_with_two_channels_have_probability_one(name) -> None:
    spec = ImageSpec(2, 1, 1, levels=16)
    head, pairs = make_head(name, spec), all_images(spec)
    for seed in range(5):
        h = features(1, seed=seed).expand(len(pairs), -1, -1, -1)
        p = head.log_prob(head.params(h, pairs), pairs).exp().view(16, 16)
        assert p.sum().item() == pytest.approx(1, abs=1e-9)
        conditional = p / p.sum(1, keepdim=True)
        assert (conditional - conditional[0]).abs().max() > 1e-3  # the second channel listens to the first


@every_head
@pytest.mark.parametrize("levels", [2, 16, 256])
def test_the_cdf_adds_up_the_probabilities(name, levels) -> None:
    head = make_head(name, ImageSpec(1, 1, 1, levels=levels))
    h, values = features(6), torch.arange(levels)
    params = head.params(h, torch.zeros(6, 1, 1, 1, dtype=torch.long))
    pmf = torch.stack([head.log_pmf_at(params, torch.full((6, 1, 1, 1), int(v))).exp() for v in values], -1)
    torch.testing.assert_close(head.log_pmf(params).exp(), pmf, rtol=0, atol=1e-12)
    torch.testing.assert_close(head.cdf(params), pmf.cumsum(-1), rtol=0, atol=1e-9)
    assert (head.cdf(params)[..., -1] == 1).all()


@every_head
def test_sampling_inverts_the_cdf(name) -> None:
    """The smallest level whose cumulative probability exceeds u, at the edges of [0, 1) too."""
    spec = ImageSpec(2, 1, 1, levels=16)
    head, n = make_head(name, spec), 2000
    h = features(1).expand(n, -1, -1, -1)
    u = torch.rand(n, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    u[0], u[1] = 0, 1 - 2**-24
    x = head.sample(h, u)
    assert x.dtype == torch.uint8
    cdf = head.cdf(head.params(h, x))
    at_most = cdf.gather(-1, x[..., None].long())[..., 0]
    below = torch.where(x == 0, 0.0, cdf.gather(-1, (x[..., None].long() - 1).clamp(min=0))[..., 0])
    assert ((below <= u) & (u < at_most)).all()


def test_a_level_without_probability_is_never_drawn() -> None:
    """Neither by u = 0 below the first level that can be, nor by rounding of the sum above the last."""
    spec = ImageSpec(1, 1, 64)
    head = make_likelihood({"name": "categorical", "mixtures": 0}, WIDTH, spec)
    logits = torch.full((256,), -1e4)
    logits[100:150] = torch.randn(50, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        head.project[0].weight.zero_()
        head.project[0].bias.copy_(logits)
        for edge in (0.0, 1 - 2**-24):
            x = head.sample(features(1, 1, 64).float(), torch.full((1, 1, 1, 64), edge))
            assert set(x.flatten().tolist()) == {100 if edge == 0 else 149}


@every_head
def test_frequencies_of_samples_match_the_probabilities(name) -> None:
    spec, n = ImageSpec(2, 1, 1, levels=4), 40_000
    head, pairs = make_head(name, spec), all_images(spec)
    u = torch.rand(n, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    x = head.sample(features(1).expand(n, -1, -1, -1), u).flatten(1).long()
    h = features(1).expand(len(pairs), -1, -1, -1)
    expected = n * head.log_prob(head.params(h, pairs), pairs).exp()
    counts = torch.bincount(4 * x[:, 0] + x[:, 1], minlength=16)
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 37.7  # 99.9 % of 15 degrees of freedom


@every_head
def test_the_mean_is_the_sum_of_value_times_probability(name) -> None:
    spec = ImageSpec(2, 1, 1)
    head, n = make_head(name, spec, std=1.0), 20
    h = features(n)
    mean = head.mean(h).long()
    assert len(mean.unique()) > 5
    for c in range(2):  # the second given the mean of the first
        params = head.params(h, mean)[:, c]
        expected = sum(v * head.log_pmf_at(params, torch.full((n, 1, 1), v)).exp() for v in range(256))
        assert torch.equal(mean[:, c], expected.round().long())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_logits_cost_eight_bits(dtype) -> None:
    spec = ImageSpec(3, 4, 4)
    cell = make_cell("autoregressive", ("vit",), spec).to(dtype)
    with torch.no_grad():
        for layer in cell.predictor.head.project:
            layer.weight.zero_()
            layer.bias.zero_()
    bits = cell.bits_per_dim(some_batch(3, spec), draw_of(3))
    torch.testing.assert_close(bits, torch.full_like(bits, 8), rtol=0, atol=1e-12 if dtype == torch.float64 else 2e-6)


@every_head
@pytest.mark.parametrize("scale", [1e2, 1e4])
def test_extreme_parameters_stay_finite_in_value_and_gradient(name, scale) -> None:
    head = make_likelihood({"name": name, "mixtures": 4}, WIDTH, ImageSpec(1, 1, 1))
    n_params = head.project[0].out_features
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (200, 1, 1, 1, n_params), generator=generator) * 2.0 - 1
    params = (scale * signs).requires_grad_()
    for value in (0, 1, 128, 255):
        log_p = head.log_pmf_at(params, torch.full((200, 1, 1, 1), value))
        (gradient,) = torch.autograd.grad(log_p.sum(), params)
        assert log_p.isfinite().all()
        assert gradient.isfinite().all()
        assert (log_p < 1e-5).all()
    cdf = head.cdf(params.detach())
    assert cdf.isfinite().all()
    assert (cdf.diff(dim=-1) > -1e-6).all()


@pytest.mark.parametrize("log_scale", [-9.0, -7.0, 0.0, 7.0, 12.0, 50.0])
@pytest.mark.parametrize("mean", [-3.0, 0.1, 200.0])
def test_a_logistic_of_any_scale_is_a_distribution(log_scale, mean) -> None:
    head = make_likelihood({"name": "logistic_mixture", "mixtures": 1}, WIDTH, ImageSpec(1, 1, 1))
    params = torch.tensor([0.0, mean, log_scale], dtype=torch.float64).expand(256, 3)
    log_p = head.log_pmf_at(params, torch.arange(256))
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-9)
    single = head.log_pmf_at(params.float(), torch.arange(256))
    torch.testing.assert_close(single.double(), log_p, rtol=1e-3, atol=1e-3)


def test_the_logistic_mixture_is_the_integral_of_its_density() -> None:
    """Against the logistic CDF written out, in units of the image from -1 to 1."""
    head = make_likelihood({"name": "logistic_mixture", "mixtures": 2}, WIDTH, ImageSpec(1, 1, 1, levels=5))
    weights, means, scales = torch.tensor([[0.3, 0.7], [-0.4, 0.6], [0.005, 0.5]], dtype=torch.float64)
    params = torch.cat([weights.log(), means, scales.log()])
    edges = torch.tensor([-math.inf, -0.75, -0.25, 0.25, 0.75, math.inf], dtype=torch.float64)
    mass = (weights * torch.sigmoid((edges[:, None] - means) / scales)).sum(-1).diff()
    torch.testing.assert_close(head.log_pmf_at(params.expand(5, 6), torch.arange(5)).exp(), mass)


@every_head
def test_parameters_are_no_coarser_than_float32(name) -> None:
    spec = ImageSpec(2, 1, 1)
    for given, expected in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        head = make_head(name, spec).to(given)
        assert head.params(features(3).to(given), torch.zeros(3, 2, 1, 1)).dtype == expected


def test_a_new_mixture_spreads_its_components_over_the_whole_range() -> None:
    head = make_likelihood({"name": "logistic_mixture", "mixtures": 3}, WIDTH, ImageSpec(2, 1, 1))
    for project in head.project:
        means, log_scales = project.bias.view(3, 3)[1:]
        torch.testing.assert_close(means, torch.tensor([-0.5, 0.0, 0.5]))
        assert (log_scales == -2).all()  # wide enough to meet each other


def test_an_unknown_likelihood_names_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="categorical, logistic_mixture"):
        make_likelihood({"name": "gaussian", "mixtures": 1}, WIDTH, ImageSpec(1, 1, 1))


def some_gaussian(seed: int = 0) -> DiagonalGaussian:
    generator = torch.Generator().manual_seed(seed)
    return DiagonalGaussian.from_moments(2 * torch.randn(3, 8, 2, 2, generator=generator, dtype=torch.float64))


def test_kl_and_log_prob_are_torchs() -> None:
    q = some_gaussian()
    theirs = Normal(q.mean, (0.5 * q.log_var).exp())
    torch.testing.assert_close(q.kl(DiagonalGaussian.standard(q.mean)), kl_divergence(theirs, Normal(0.0, 1.0)))
    p = some_gaussian(seed=1)
    torch.testing.assert_close(q.kl(p), kl_divergence(theirs, Normal(p.mean, (0.5 * p.log_var).exp())))
    z = torch.randn_like(q.mean)
    torch.testing.assert_close(q.log_prob(z), theirs.log_prob(z))


def test_samples_of_the_gaussian_have_its_moments() -> None:
    q, n = some_gaussian(), 20_000
    noise = torch.randn(n, *q.mean.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z, std = q.sample(noise), (0.5 * q.log_var).exp()
    assert ((z.mean(0) - q.mean).abs() < 5 * std / math.sqrt(n)).all()
    assert ((z.std(0) / std - 1).abs() < 0.05).all()


def test_moments_beyond_reason_stay_finite() -> None:
    kept = DiagonalGaussian.from_moments(torch.tensor([0.0, 0.0, 9.0, -19.0]).view(1, 4, 1, 1))
    assert kept.log_var.flatten().tolist() == [9, -19]
    q = DiagonalGaussian.from_moments(torch.tensor([0.0, 0.0, 1e4, -1e4]).view(1, 4, 1, 1))
    assert q.kl(DiagonalGaussian.standard(q.mean)).isfinite().all()
    assert q.log_prob(q.sample(torch.ones(1, 2, 1, 1))).isfinite().all()


def test_the_bound_stays_below_an_importance_weighted_estimate() -> None:
    """Burda et al. 2016, theorem 1: ELBO <= E[log mean of K weights]; weights from torch's densities."""
    spec, n, k = ImageSpec(1, 4, 4, classes=2), 6, 64
    cell = randomise(make_cell("vae", ("vit", "conv"), spec), 0.3).double()
    batch = some_batch(n, spec)
    with torch.no_grad():
        q = cell.posterior(batch)
        normal = Normal(q.mean, (0.5 * q.log_var).exp())
        weights, bounds = [], []
        for step in range(k):
            z = q.sample(torch.randn(q.mean.shape, generator=torch.Generator().manual_seed(step), dtype=torch.float64))
            likelihood = cell.decoder.head.params(cell.decoder(z, batch.labels), batch.images)
            log_p_x = cell.decoder.head.log_prob(likelihood, batch.images)
            prior, posterior = Normal(0.0, 1.0).log_prob(z), normal.log_prob(z)
            weights.append(log_p_x + (prior - posterior).flatten(1).sum(1))
            bounds.append(cell.log_prob(batch, draw_of(n, step=step)))
    weights, bounds = torch.stack(weights), torch.stack(bounds)
    estimate = torch.logsumexp(weights, 0) - math.log(k)
    error = 4 * (bounds.std(0) + weights.std(0)) / math.sqrt(k)
    assert ((bounds.mean(0) - weights.mean(0)).abs() < error).all()  # the same bound, estimated in two ways
    assert (bounds.mean(0) < estimate).all()
    assert (estimate - bounds.mean(0)).mean() > 0.1  # and not tight: the comparison can fail


def test_the_vae_loss_is_the_bound_in_bits_and_beta_warms_up() -> None:
    spec = ImageSpec(1, 4, 4)
    cell = make_cell("vae", ("vit", "vit"), spec, beta=0.5, beta_warmup_steps=4)
    batch = some_batch(3, spec)
    for step, share in ((0, 0.25), (1, 0.5), (3, 1.0), (9, 1.0)):
        draw = draw_of(3, step=step)
        terms = cell.loss(batch, draw)
        torch.testing.assert_close(terms["loss"], terms["reconstruction_bpd"] + 0.5 * share * terms["kl_bpd"])
        bound = terms["reconstruction_bpd"] + terms["kl_bpd"]
        torch.testing.assert_close(cell.bits_per_dim(batch, draw), bound)
    terms = cell.eval().loss(batch, draw_of(3))  # validation asks at step 0, and for the whole loss
    torch.testing.assert_close(terms["loss"], terms["reconstruction_bpd"] + 0.5 * terms["kl_bpd"])


def test_units_make_round_trips() -> None:
    for levels in (2, 16, 256):
        x = torch.arange(levels, dtype=torch.uint8)
        assert torch.equal(to_pixels(to_unit(x, levels), levels), x)
        assert to_unit(x, levels)[[0, -1]].tolist() == [-1, 1]
    assert to_pixels(torch.tensor([-7.0, 7.0])).tolist() == [0, 255]
    # 127.5 (x + 1) is 0, 127.003, 127.5 (to the even neighbour), 191.25, 255 and 280.5
    assert to_pixels(torch.tensor([-1, -0.0039, 0, 0.5, 1, 1.2])).tolist() == [0, 127, 128, 191, 255, 255]
    spec = ImageSpec(3, 2, 2)
    assert nats_to_bits_per_dim(torch.tensor([12 * math.log(2)]), spec).item() == pytest.approx(1)


@pytest.mark.parametrize("trunk", serving("predictor"))
def test_completion_keeps_what_is_known_and_draws_the_rest_as_sampling_would(trunk) -> None:
    spec = ImageSpec(3, 4, 4)
    cell = randomise(make_cell("autoregressive", (trunk,), spec), 0.3).eval()
    whole = cell.sample(2, chunk_size=2)
    known = torch.zeros(4, 4, dtype=torch.bool)
    known[:2] = True
    with torch.no_grad():
        again = cell.complete(whole, known, None, draw_of(2))  # the noise of the pixels left is that of `sample`
        other = cell.complete(some_images(2, spec), known, None, draw_of(2))
    assert torch.equal(again, whole)
    assert torch.equal(other[:, :, :2], some_images(2, spec)[:, :, :2])
    assert not torch.equal(other[:, :, 2:], whole[:, :, 2:])
