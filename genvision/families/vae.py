"""The variational autoencoder (Kingma & Welling 2014) with a Gaussian posterior on a grid of latents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from genvision.config.schema import Config, VAEConfig
from genvision.errors import ConfigError
from genvision.families.base import Family, require_finite
from genvision.families.codec import Codec
from genvision.probability.bounds import active_units, free_bits
from genvision.probability.gaussian import DiagonalGaussian
from genvision.probability.randomness import Stream, normal, uniform
from genvision.probability.units import nats_to_bits_per_dim, to_unit
from genvision.spec import Batch, Draw, ImageSpec


class Latent(NamedTuple):
    """One grid of latents z (B,F,h,w) drawn from its posterior, and the prior it is held against."""

    z: Tensor
    posterior: DiagonalGaussian
    prior: DiagonalGaussian

    def kl(self) -> Tensor:
        """KL(posterior || prior) in nats, elementwise."""
        return self.posterior.kl(self.prior)

    def log_weight(self) -> Tensor:
        """log p(z) - log q(z | x), (B,) nats."""
        return (self.prior.log_prob(self.z) - self.posterior.log_prob(self.z)).flatten(1).sum(1)


class VAE(Family):
    """Encoder, decoder, standard normal prior. `bits_per_dim` is the evidence lower bound with one latent sample."""

    roles = ("encoder", "decoder")
    likelihood = "bound"
    options: VAEConfig

    def __init__(self, spec: ImageSpec, networks: Mapping, options: VAEConfig, *codec: Codec | None) -> None:
        super().__init__(spec, networks, options, *codec)
        if options.output_scale is not None and options.likelihood != "logistic":
            raise ConfigError(
                f"family.output_scale={options.output_scale} is the one scale of family.likelihood=logistic; "
                f"{options.likelihood} has none: set it to null"
            )

    @staticmethod
    def network_options(config: Config) -> Mapping[str, dict]:
        family = config.family
        shape = {"patch": family.downsample}
        head = {"name": family.likelihood, "mixtures": family.mixtures}
        if family.likelihood == "logistic":
            head = {"name": "logistic", "scale": family.output_scale}
        return {
            "encoder": {"out_channels": 2 * family.latent_channels, **shape},
            "decoder": {"latent_channels": family.latent_channels, "likelihood": head, **shape},
        }

    def posterior(self, batch: Batch) -> DiagonalGaussian:
        """q(z | x), mean and log-variance (B,F,h,w)."""
        x = to_unit(batch.images, self.spec.levels, self.dtype)
        return DiagonalGaussian.from_moments(self.encoder(x, batch.labels))

    def infer(self, posterior: DiagonalGaussian, draw: Draw) -> Latent:
        """A draw from the posterior beside its prior."""
        z = posterior.sample(normal(draw, Stream.LATENT, *posterior.mean.shape[1:]))
        return Latent(z, posterior, DiagonalGaussian.standard(z))

    def log_prob_given(self, z: Tensor, batch: Batch) -> Tensor:
        """log p(x | z), (B,) nats."""
        features = self.decoder(z.to(self.dtype), batch.labels)
        return self.decoder.head.log_prob(self.decoder.head.params(features, batch.images), batch.images)

    def loss(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """Reconstruction and beta times KL in bits/dim (Higgins et al. 2017), the KL in the loss with free bits."""
        latent = self.infer(self.posterior(batch), draw)
        beta = self.options.beta * min(1.0, (draw.step + 1) / max(1, self.options.beta_warmup_steps))
        nll = nats_to_bits_per_dim(-self.log_prob_given(latent.z, batch), self.spec)
        kl = nats_to_bits_per_dim(latent.kl().flatten(1).sum(1), self.spec)
        penalty = nats_to_bits_per_dim(free_bits(latent.kl(), self.options.free_bits), self.spec)
        return {"loss": nll + beta * penalty, "reconstruction_bpd": nll, "kl_bpd": kl}

    def log_prob(self, batch: Batch, draw: Draw) -> Tensor:
        """The evidence lower bound with its KL in closed form (Kingma & Welling 2014, equation 10)."""
        latent = self.infer(self.posterior(batch), draw)
        return self.log_prob_given(latent.z, batch) - latent.kl().flatten(1).sum(1)

    def log_weights(self, batch: Batch, draws: Iterable[Draw]) -> Tensor:
        posterior = self.posterior(batch)
        latents = (self.infer(posterior, draw) for draw in draws)
        return torch.stack([self.log_prob_given(latent.z, batch) + latent.log_weight() for latent in latents])

    def diagnostics(self, batches: Iterable[tuple[Batch, Draw]]) -> dict[str, float]:
        """Active units, and the KL of each channel over its grid in nats, a mean over images."""
        latents = [self.infer(self.posterior(batch), draw) for batch, draw in batches]
        kl = torch.cat([latent.kl() for latent in latents]).flatten(2).sum(2).mean(0)
        units = active_units(torch.cat([latent.posterior.mean for latent in latents]))
        return {"active_units": units} | {f"kl_nats_{channel:02d}": k for channel, k in enumerate(kl.tolist())}

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
