"""The variational autoencoder (Kingma & Welling 2014): Gaussian latents on a grid, and others above them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from genvision.config.schema import Config, VAEConfig
from genvision.families.autoencoder import Autoencoder
from genvision.families.quantised import QuantisedVAE
from genvision.probability.bounds import active_units, free_bits, importance_samples, importance_weighted
from genvision.probability.gaussian import DiagonalGaussian
from genvision.probability.randomness import Stream, normal
from genvision.probability.units import nats_to_bits_per_dim
from genvision.spec import Batch, Draw


class Latent(NamedTuple):
    """Latents z (B,F,h,w) drawn from their posterior, and the prior they are held against."""

    z: Tensor
    posterior: DiagonalGaussian
    prior: DiagonalGaussian

    def kl(self) -> Tensor:
        """KL(posterior || prior) in nats, elementwise."""
        return self.posterior.kl(self.prior)

    def log_weight(self) -> Tensor:
        """log p(z) - log q(z | x), (B,) nats."""
        return (self.prior.log_prob(self.z) - self.posterior.log_prob(self.z)).flatten(1).sum(1)


class VAE(Autoencoder):
    """`bits_per_dim` is the evidence lower bound with one sample of the latents.

    Without `family.top_channels` the prior is a standard normal: every cell of the grid is drawn on its own. With it
    v ~ N(0, I) is drawn first, one vector or a coarser grid (`family.top_downsample`), and the grid from p(z | v), a
    Gaussian whose moments `decoder.top` makes of v:

        v ~ N(0, I) -> decoder.top -> z ~ p(z | v) -> decoder -> x
        x -> encoder -> q(z | x), its mean -> encoder.top -> q(v | x)
    """

    likelihood = "bound"
    likelihood_options = MappingProxyType({"bound": "elbo"})
    headline = ("active_units", "top_active_units", "psnr_db")

    @classmethod
    def variant(cls, options: VAEConfig) -> type[Autoencoder]:
        return cls if options.latent == "gaussian" else QuantisedVAE

    @staticmethod
    def network_options(config: Config) -> Mapping[str, dict]:
        shared, family = Autoencoder.network_options(config), config.family
        top = {"top_channels": family.top_channels, "top_patch": family.top_downsample}
        return {
            "encoder": shared["encoder"] | {"out_channels": 2 * family.latent_channels} | top,
            "decoder": shared["decoder"] | {"latent_channels": family.latent_channels} | top,
        }

    def posterior(self, batch: Batch) -> DiagonalGaussian:
        """q(z | x), mean and log-variance (B,F,h,w)."""
        return DiagonalGaussian.from_moments(self.encode(batch))

    def infer(self, posterior: DiagonalGaussian, y: Tensor | None, draw: Draw) -> list[Latent]:
        """A draw of the latents of images with this posterior: the grid, then what is above it if anything is."""
        grid_noise, top_noise = self._split(normal(draw, Stream.LATENT, self.noise_size()))
        z = posterior.sample(grid_noise)
        if self.encoder.top is None:
            return [Latent(z, posterior, DiagonalGaussian.standard(z))]
        top = DiagonalGaussian.from_moments(self.encoder.top(posterior.mean.to(self.dtype), y))
        v = top.sample(top_noise)
        return [Latent(z, posterior, self.prior(v, y)), Latent(v, top, DiagonalGaussian.standard(v))]

    def prior(self, v: Tensor, y: Tensor | None) -> DiagonalGaussian:
        """p(z | v) of the grid (B,F,h,w), v (B,*top_shape)."""
        return DiagonalGaussian.from_moments(self.decoder.top(v.to(self.dtype), y))

    def loss(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """Reconstruction and beta times KL in bits/dim (Higgins et al. 2017), the KL in the loss with free bits.

        In training beta rises over the first steps, before a latent that tells little yet is pushed to tell nothing
        (Sønderby et al. 2016, "Ladder variational autoencoders").
        """
        latents = self.infer(self.posterior(batch), batch.labels, draw)
        beta = self.options.beta
        if self.training:
            beta *= min(1.0, (draw.step + 1) / max(1, self.options.beta_warmup_steps))
        terms = {
            "reconstruction_bpd": -self.log_prob_given(latents[0].z, batch),
            "kl_bpd": sum_of(latent.kl().flatten(1).sum(1) for latent in latents),
            "loss": sum_of(free_bits(latent.kl(), self.options.free_bits) for latent in latents),
        }
        terms = {name: nats_to_bits_per_dim(nats, self.spec) for name, nats in terms.items()}
        return terms | {"loss": terms["reconstruction_bpd"] + beta * terms["loss"]}

    def log_prob(self, batch: Batch, draw: Draw, bound: str = "elbo") -> Tensor:
        """(B,) nats, a lower bound.

        bound  "elbo", its KL in closed form (Kingma & Welling 2014, equation 10), or "iwae:K", K draws weighted by
               importance (Burda et al. 2016, equation 8). Raises ConfigError for another name
        """
        if samples := importance_samples(bound):
            draws = (draw._replace(step=k) for k in range(samples))
            return importance_weighted(self.log_weights(batch, draws))
        latents = self.infer(self.posterior(batch), batch.labels, draw)
        return self.log_prob_given(latents[0].z, batch) - sum_of(latent.kl().flatten(1).sum(1) for latent in latents)

    def log_weights(self, batch: Batch, draws: Iterable[Draw]) -> Tensor:
        """(k,B) nats, log p(x,z) - log q(z|x) for one z of each draw: what importance-weighted bounds are made of."""
        posterior, weights = self.posterior(batch), []
        for draw in draws:
            latents = self.infer(posterior, batch.labels, draw)
            log_p_x = self.log_prob_given(latents[0].z, batch)
            weights.append(log_p_x + sum_of(latent.log_weight() for latent in latents))
        return torch.stack(weights)

    def diagnostics(self, batches: Iterable[tuple[Batch, Draw]]) -> dict[str, float]:
        """Active units, and the KL of each channel over its grid in nats, a mean over images; `top_` is above it."""
        batches = list(batches)
        found = [self.infer(self.posterior(batch), batch.labels, draw) for batch, draw in batches]
        told = super().diagnostics(batches)
        for prefix, latents in zip(("", "top_"), zip(*found, strict=True), strict=False):
            told[f"{prefix}active_units"] = active_units(torch.cat([latent.posterior.mean for latent in latents]))
            kl = torch.cat([latent.kl() for latent in latents]).flatten(2).sum(2).mean(0)
            told |= {f"{prefix}kl_nats_{channel:02d}": nats for channel, nats in enumerate(kl.tolist())}
        return told

    def reconstruct(self, batch: Batch, draw: Draw) -> Tensor:
        return self.decode(self.posterior(batch).mean, batch.labels, draw)

    def top_shape(self) -> tuple[int, int, int]:
        """(top_channels, h, w) of the latents above the grid; no channels where there are none."""
        patch = self.options.top_downsample
        height, width = (1, 1) if patch is None else (side // patch for side in self.grid())
        return self.options.top_channels, height, width

    def noise_size(self) -> int:
        """How many normal numbers one image's latents are made of."""
        return self.options.latent_channels * math.prod(self.grid()) + math.prod(self.top_shape())

    def latents_of(self, noise: Tensor, y: Tensor | None) -> Tensor:
        """Standard normal (B,noise_size) -> latents (B,F,h,w) distributed as the prior."""
        grid_noise, top_noise = self._split(noise)
        return grid_noise if self.decoder.top is None else self.prior(top_noise, y).sample(grid_noise)

    def _split(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """(B,noise_size) -> the grid's (B,F,h,w) and those above it (B,*top_shape)."""
        above = math.prod(self.top_shape())
        grid, top = noise.split([noise.shape[1] - above, above], 1)
        shape = self.options.latent_channels, *self.grid()
        return grid.unflatten(1, shape), top.unflatten(1, self.top_shape())

    def _sample(self, draw: Draw, y: Tensor | None) -> Tensor:
        noise = normal(draw, Stream.SAMPLE + Stream.LATENT, self.noise_size())
        return self.decode(self.latents_of(noise, y), y, draw)


def sum_of(parts: Iterable[Tensor]) -> Tensor:
    """Their sum, elementwise."""
    return torch.stack(list(parts)).sum(0)
