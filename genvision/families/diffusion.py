"""The diffusion family: learn to denoise along a path, sample by integrating back (Ho et al. 2020)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genvision.config.schema import Config, DiffusionConfig
from genvision.errors import ConfigError
from genvision.families.base import Family, drop_labels, require_finite
from genvision.families.codec import Codec
from genvision.families.guidance import Guidance, require_guide
from genvision.families.objective import loss_weight, require_objective, training_times
from genvision.families.schedulers import SCHEDULER_OUTPUT, integrate, last, make_scheduler, path_times
from genvision.probability.ode import log_density
from genvision.probability.path import make_path
from genvision.probability.randomness import Stream, generator, normal, uniform
from genvision.probability.units import dequantised
from genvision.spec import Batch, Draw, ImageSpec


class SamplerOptions(NamedTuple):
    """How images are drawn: a scheduler by name and its steps, and what guides it (see Guidance)."""

    steps: int = 50
    scheduler: str = "euler"
    guidance: float = 1.0
    guidance_interval: tuple[float, float] | None = None
    guide: Diffusion | None = None


class Diffusion(Family):
    """A denoiser trained on one path with one prediction type; any scheduler that serves the path samples from it."""

    roles = ("denoiser",)
    codes = "values"
    likelihood = "estimate"
    likelihood_options = MappingProxyType({"steps": 64, "probes": 1})
    sample_options = ("steps", "scheduler", "guidance", "guidance_interval")
    sample_models = ("guide",)
    options: DiffusionConfig

    def __init__(self, spec: ImageSpec, networks: Mapping, options: DiffusionConfig, *codec: Codec | None) -> None:
        super().__init__(spec, networks, options, *codec)
        require_objective(options)
        self.path = make_path(options.path, options.sigma_data)

    @staticmethod
    def network_options(config: Config) -> Mapping[str, dict]:
        assert config.denoiser is not None, "a resolved diffusion config has its denoiser"
        return {"denoiser": {"patch": config.denoiser.patch}}

    def loss(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        x0 = self.codec.values(batch, draw, self.dtype)
        t = training_times(self.options, self.path, uniform(draw, Stream.TIMES)).to(self.dtype)
        eps = normal(draw, Stream.NOISE, *self.codec.spec.shape).to(self.dtype)
        point = self.path.at(x0, eps, t, self.options.prediction)
        y = drop_labels(batch.labels, self.spec.classes, self.options.label_dropout * self.training, draw)
        error = (self.output(point.xt, t, y).float() - point.target.float()).square().flatten(1).mean(1)
        return {"loss": loss_weight(self.options, self.path, t.float()) * error}

    def output(self, xt: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        """The denoiser's prediction at points xt (B,C,H,W) of the path, times t (B,)."""
        return self.denoiser(self.path.fed_image(xt, t), self.path.fed_time(t), y)

    def log_prob(
        self,
        batch: Batch,
        draw: Draw,
        *,
        steps: int = likelihood_options["steps"],
        probes: int = likelihood_options["probes"],
    ) -> Tensor:
        """(B,) nats of the pixels, estimated: their bins' volume times the density at a uniform point of each bin.

        steps   of the probability-flow ODE's solver, two network evaluations each
        probes  random signs per image that estimate the divergence, a backward pass each for every evaluation
        """
        x, log_volume = dequantised(batch.images, uniform(draw, Stream.DEQUANTISE, *self.spec.shape), self.spec.levels)
        heads = uniform(draw, Stream.PROBES, probes, *self.spec.shape) < 0.5
        signs = torch.where(heads, 1.0, -1.0).to(self.dtype).transpose(0, 1)

        def denoise(noisy: Tensor, level: Tensor) -> Tensor:
            t = self.path.time_of_level(level)
            xt = noisy * self.path.alpha_sigma(t)[0][:, None, None, None]
            return self.path.x0_eps(xt, self.output(xt, t, batch.labels), t, self.options.prediction)[0]

        return log_density(x.to(self.dtype), denoise, signs, steps) + log_volume

    def denoise(self, y: Tensor | None, guidance: Guidance) -> Callable[[Tensor, Tensor], Tensor]:
        """A function (xt, t) -> what the path's schedulers expect, guidance and prediction type resolved."""
        wanted, prediction, path = SCHEDULER_OUTPUT[self.path.name], self.options.prediction, self.path

        def denoise(xt: Tensor, t: Tensor) -> Tensor:
            output = guidance.predict(self.output, xt.to(self.dtype), t.to(self.dtype), y, self.spec.classes)
            output = output.to(xt.dtype)
            if prediction == wanted != "epsilon":
                return output
            x0, eps = path.x0_eps(xt, output, t, prediction)
            if prediction == "epsilon":
                # this x0 was divided by alpha, next to nothing near t = 1: there the smallest error of the network
                # would put it far outside of any image (Ho et al. 2020 clip it too)
                clamped = x0.clamp(-self.codec.limit, self.codec.limit)
                x0 = torch.where(x0.isfinite(), clamped, x0)  # an overflow must not end as black
                eps = path.eps_of_x0(xt, x0, t)
            return path.target(x0, eps, t, wanted)

        return denoise

    def guidance(self, options: SamplerOptions) -> Guidance:
        """What guides a sampler. Raises ConfigError where that makes no sense."""
        interval, guide = options.guidance_interval, options.guide
        if interval is not None and not interval[0] < interval[1]:
            raise ConfigError(f"sample.guidance_interval={list(interval)}: the first time must be below the last")
        if not 0 <= options.guidance < math.inf:
            raise ConfigError(f"sample.guidance={options.guidance} must be 0 or more")
        if guide is not None:
            require_guide(self, guide, options.guidance)
            return Guidance(options.guidance, interval, guide.output)
        if options.guidance == 1:
            return Guidance()
        if not (self.spec.classes and self.options.label_dropout):
            raise ConfigError(
                f"sample.guidance={options.guidance} needs labels and a model trained with family.label_dropout > 0; "
                "leave it at 1, or name a weaker model with --guide"
            )
        return Guidance(options.guidance, interval)

    def trajectory(self, draw: Draw, y: Tensor | None, **options: Any) -> Iterator[Tensor]:
        """The noise of `draw.slots` (B,C,H,W), then the state after each call of the network; the last is the image.

        options  the fields of SamplerOptions
        """
        chosen = SamplerOptions(**options)
        noise = normal(draw, Stream.SAMPLE + Stream.NOISE, *self.codec.spec.shape)
        solver = make_scheduler(chosen.scheduler, self.path, chosen.steps)
        denoise = self.denoise(y, self.guidance(chosen))
        yield noise
        yield from integrate(solver, self.path, denoise, noise, solver_generators(draw))

    def _sample(self, draw: Draw, y: Tensor | None, **options: Any) -> Tensor:
        x = last(self.trajectory(draw, y, **options))
        return self.codec.from_values(require_finite(x, "the sampler's output"), y, draw)

    def network_evaluations(self, **options: Any) -> int:
        """Calls of the solver, and another for each that is guided."""
        chosen = SamplerOptions(**options)
        times = path_times(make_scheduler(chosen.scheduler, self.path, chosen.steps), self.path)
        return len(times) + int(self.guidance(chosen).acts(times).sum())


def solver_generators(draw: Draw) -> list[torch.Generator]:
    """One generator per image for schedulers that add noise, seeded from the image's own stream."""
    seeds = (generator(draw.seed, Stream.SAMPLE + Stream.SOLVER, slot=slot) for slot in draw.slots.tolist())
    return [torch.Generator().manual_seed(int(g.integers(2**63))) for g in seeds]
