"""The diffusion family: learn to denoise along a path, sample by integrating back (Ho et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from genvision.config.schema import Config, DiffusionConfig
from genvision.families.base import Family, drop_labels, require_finite
from genvision.families.codec import Codec
from genvision.families.objective import loss_weight, require_objective, training_times
from genvision.families.schedulers import SCHEDULER_OUTPUT, integrate, last, make_scheduler
from genvision.probability.path import make_path
from genvision.probability.randomness import Stream, generator, normal, uniform
from genvision.spec import Batch, Draw, ImageSpec


class Diffusion(Family):
    """A denoiser trained on one path with one prediction type; any scheduler that serves the path samples from it."""

    roles = ("denoiser",)
    codes = "values"
    sample_options = ("steps", "scheduler", "guidance")
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
        y = drop_labels(batch.labels, self.spec.classes, self.options.label_dropout, draw)
        error = (self.output(point.xt, t, y).float() - point.target.float()).square().flatten(1).mean(1)
        return {"loss": loss_weight(self.options, self.path, t.float()) * error}

    def output(self, xt: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        """The denoiser's prediction at points xt (B,C,H,W) of the path, times t (B,)."""
        return self.denoiser(self.path.fed_image(xt, t), self.path.fed_time(t), y)

    def denoise(self, y: Tensor | None, guidance: float) -> Callable[[Tensor, Tensor], Tensor]:
        """A function (xt, t) -> what the path's schedulers expect, guidance and prediction type resolved.

        Guidance w extrapolates from the prediction without a label: u + w (c - u) (Ho & Salimans 2022, equation 6
        with w = 1 + their weight).
        """
        wanted, prediction, path = SCHEDULER_OUTPUT[self.path.name], self.options.prediction, self.path

        def predict(xt: Tensor, t: Tensor) -> Tensor:
            if y is None or guidance == 1:
                return self.output(xt, t, y)
            both = torch.cat([y, torch.full_like(y, self.spec.classes)])
            conditional, unconditional = self.output(xt.repeat(2, 1, 1, 1), t.repeat(2), both).chunk(2)
            return unconditional + guidance * (conditional - unconditional)

        def denoise(xt: Tensor, t: Tensor) -> Tensor:
            output = predict(xt.to(self.dtype), t.to(self.dtype)).to(xt.dtype)
            if prediction == wanted != "epsilon":
                return output
            x0, eps = path.x0_eps(xt, output, t, prediction)
            if prediction == "epsilon":
                # this x0 was divided by alpha, next to nothing near t = 1: there the smallest error of the network
                # would put it far outside of any image (Ho et al. 2020 clip it too)
                x0 = x0.clamp(-self.codec.limit, self.codec.limit)
                eps = path.eps_of_x0(xt, x0, t)
            return path.target(x0, eps, t, wanted)

        return denoise

    def trajectory(
        self, draw: Draw, y: Tensor | None, *, steps: int = 50, scheduler: str = "euler", guidance: float = 1.0
    ) -> Iterator[Tensor]:
        """The noise of `draw.slots` (B,C,H,W), then the state after each call of the network; the last is the image."""
        noise = normal(draw, Stream.SAMPLE + Stream.NOISE, *self.codec.spec.shape)
        solver = make_scheduler(scheduler, self.path, steps)
        yield noise
        yield from integrate(solver, self.path, self.denoise(y, guidance), noise, solver_generators(draw))

    def _sample(self, draw: Draw, y: Tensor | None, **options) -> Tensor:
        x = last(self.trajectory(draw, y, **options))
        return self.codec.from_values(require_finite(x, "the sampler's output"), y)

    def network_evaluations(self, *, steps: int = 50, scheduler: str = "euler", guidance: float = 1.0) -> int:
        passes = 2 if self.spec.classes and guidance != 1 else 1
        return passes * len(make_scheduler(scheduler, self.path, steps).timesteps)


def solver_generators(draw: Draw) -> list[torch.Generator]:
    """One generator per image for schedulers that add noise, seeded from the image's own stream."""
    seeds = (generator(draw.seed, Stream.SAMPLE + Stream.SOLVER, slot=slot) for slot in draw.slots.tolist())
    return [torch.Generator().manual_seed(int(g.integers(2**63))) for g in seeds]
