"""The variational autoencoder (Kingma & Welling 2014) with a Gaussian posterior on a grid of latents."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from genvision.config.schema import Config, VAEConfig
from genvision.families.base import Family, require_finite
from genvision.probability.gaussian import DiagonalGaussian
from genvision.probability.randomness import Stream, normal, uniform
from genvision.probability.units import nats_to_bits_per_dim, to_unit
from genvision.spec import Batch, Draw


class VAE(Family):
    """Encoder, decoder, standard normal prior. `bits_per_dim` is the evidence lower bound with one latent sample."""

    roles = ("encoder", "decoder")
    likelihood = "bound"
    options: VAEConfig

    @staticmethod
    def network_options(config: Config) -> Mapping[str, dict]:
        family = config.family
        shape = {"patch": family.downsample}
        head = {"name": family.likelihood, "mixtures": family.mixtures}
        return {
            "encoder": {"out_channels": 2 * family.latent_channels, **shape},
            "decoder": {"latent_channels": family.latent_channels, "likelihood": head, **shape},
        }

    def terms(self, batch: Batch, draw: Draw) -> tuple[Tensor, Tensor]:
        """Reconstruction and KL terms of the bound, (B,) nats each (Kingma & Welling 2014, equation 10)."""
        posterior = self.posterior(batch)
        z = posterior.sample(normal(draw, Stream.LATENT, *posterior.mean.shape[1:]))
        features = self.decoder(z.to(self.dtype), batch.labels)
        params = self.decoder.head.params(features, batch.images)
        return -self.decoder.head.log_prob(params, batch.images), posterior.kl().flatten(1).sum(1)

    def posterior(self, batch: Batch) -> DiagonalGaussian:
        """q(z | x), mean and log-variance (B,F,h,w)."""
        x = to_unit(batch.images, self.spec.levels, self.dtype)
        return DiagonalGaussian.from_moments(self.encoder(x, batch.labels))

    def loss(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        nll, kl = self.terms(batch, draw)
        beta = self.options.beta * min(1.0, (draw.step + 1) / max(1, self.options.beta_warmup_steps))
        nll, kl = nats_to_bits_per_dim(nll, self.spec), nats_to_bits_per_dim(kl, self.spec)
        return {"loss": nll + beta * kl, "reconstruction_bpd": nll, "kl_bpd": kl}

    def log_prob(self, batch: Batch, draw: Draw) -> Tensor:
        nll, kl = self.terms(batch, draw)
        return -(nll + kl)

    def decode(self, z: Tensor, y: Tensor | None, draw: Draw) -> Tensor:
        """Latents (B,F,h,w) -> images (B,C,H,W) uint8: the likelihood's mean, or a draw from it (`family.pixels`)."""
        features = require_finite(self.decoder(z, y), "the decoder's output")
        if self.options.pixels == "mean":
            return self.decoder.head.mean(features)
        return self.decoder.head.sample(features, uniform(draw, Stream.SAMPLE + Stream.PIXELS, *self.spec.shape))

    def latent_shape(self) -> tuple[int, int, int]:
        """(F, h, w) of one image's latents."""
        cell = self.options.downsample
        return self.options.latent_channels, self.spec.height // cell, self.spec.width // cell

    def _sample(self, draw: Draw, y: Tensor | None) -> Tensor:
        z = normal(draw, Stream.SAMPLE + Stream.LATENT, *self.latent_shape())
        return self.decode(z.to(self.dtype), y, draw)

    def network_evaluations(self) -> int:
        return 1
