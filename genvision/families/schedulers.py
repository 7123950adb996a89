"""diffusers' schedulers by name, for the paths they can serve."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from genvision.errors import ConfigError
from genvision.families.karras import EDMHeun, karras_sigmas
from genvision.probability.path import HIGHEST, LOWEST, LinearPath, Path

TABLE_STEPS = 1000
VP = {
    "num_train_timesteps": TABLE_STEPS,
    "prediction_type": "epsilon",
    "timestep_spacing": "trailing",  # "leading" would never start from pure noise
}
TABLES = {
    "cosine": {**VP, "beta_schedule": "squaredcos_cap_v2"},
    "linear": {**VP, "beta_schedule": "linear", "beta_start": LinearPath.first_beta, "beta_end": LinearPath.last_beta},
}
LOWEST_OF_TABLES = 0.02  # above the first entry of each table; two levels of an 8-bit image in [-1, 1]
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}

Factory = Callable[[Any], Any]  # path -> scheduler


def _vp(kind: Any, **options: Any) -> dict[str, Factory]:
    """One scheduler on the tables of both variance-preserving paths."""
    return {path: lambda _, table=table: kind(**table, **options) for path, table in TABLES.items()}


def _edm(kind: Any) -> dict[str, Factory]:
    return {"edm": lambda path: kind(sigma_min=LOWEST, sigma_max=HIGHEST, sigma_data=path.sigma_data)}


# name -> path -> how to make the scheduler on it
SCHEDULERS: dict[str, dict[str, Factory]] = {
    "euler": {
        "flow": lambda _: FlowMatchEulerDiscreteScheduler(TABLE_STEPS),
        **_vp(EulerDiscreteScheduler),
        **_edm(EDMEulerScheduler),
    },
    "heun": {"flow": lambda _: FlowMatchHeunDiscreteScheduler(TABLE_STEPS), **_vp(HeunDiscreteScheduler)},
    "dpm++": {
        "flow": lambda _: DPMSolverMultistepScheduler(**FLOW),
        **_vp(DPMSolverMultistepScheduler),
        **_edm(EDMDPMSolverMultistepScheduler),
    },
    "unipc": {"flow": lambda _: UniPCMultistepScheduler(**FLOW), **_vp(UniPCMultistepScheduler)},
    "ddim": _vp(DDIMScheduler, clip_sample=False),
    "ddpm": _vp(DDPMScheduler, clip_sample=False),
    "edm": {"edm": EDMHeun},
}
# what the schedulers of a path expect of a denoiser
SCHEDULER_OUTPUT = {"flow": "velocity", "cosine": "epsilon", "linear": "epsilon", "edm": "preconditioned"}


def make_scheduler(name: str, path: Path, steps: int):
    """The scheduler with its timesteps set; ConfigError naming those that serve the path where this one cannot."""
    serving = [key for key, paths in SCHEDULERS.items() if path.name in paths]
    if name not in serving:
        raise ConfigError(
            f"sample.scheduler={name} cannot serve family.path={path.name}; use one of {', '.join(serving)}"
        )
    if not 1 <= steps <= TABLE_STEPS:
        raise ConfigError(f"sample.steps={steps} must be a number from 1 to {TABLE_STEPS}")
    scheduler = SCHEDULERS[name][path.name](path)
    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        # sigmas 1, (n-1)/n, .., 1/n: by default the last step would be of length 1/1000 and the one before too long
        scheduler.set_timesteps(sigmas=[1 - i / steps for i in range(steps)])
    elif isinstance(scheduler, HeunDiscreteScheduler):
        # Its corrector averages slopes over sigma. From the cosine table's last, 20,000, one such step lands anywhere.
        table_index = path.time_of_sigma(karras_sigmas(steps, HIGHEST, LOWEST_OF_TABLES)) * TABLE_STEPS - 1
        scheduler.set_timesteps(timesteps=table_index.tolist())
    else:
        scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)  # else it looks for its first timestep, and of 1000 UniPC's second is the same
    return scheduler


def path_times(scheduler, path: Path) -> Tensor:
    """(n,) path time t in [0,1] of each call, from the sigmas: integer timesteps would lose them."""
    n = len(scheduler.timesteps)
    if hasattr(scheduler, "sigmas"):
        return path.time_of_sigma(scheduler.sigmas[:n].double()).float()
    return (scheduler.timesteps.float() + 1) / TABLE_STEPS


def integrate(
    scheduler, path: Path, denoise: Callable[[Tensor, Tensor], Tensor], x: Tensor, generators: list[torch.Generator]
) -> Iterator[Tensor]:
    """Integrate from noise x (B,C,H,W) at t = 1 to an image at t = 0; yields the state after each call of the network.

    denoise     (xt, t (B,)) -> what the scheduler expects on this path (`SCHEDULER_OUTPUT`), xt = alpha x0 + sigma eps
    generators  one per image, for schedulers that add noise
    """
    extra = {"generator": generators} if takes_noise(scheduler) else {}
    x = x * getattr(scheduler, "init_noise_sigma", 1.0)
    for t, timestep in zip(path_times(scheduler, path), scheduler.timesteps, strict=True):
        scaled = scheduler.scale_model_input(x, timestep) if hasattr(scheduler, "scale_model_input") else x
        xt = x if path.name == "edm" else scaled  # EDM's scaling is c_in, which the path itself applies
        output = denoise(xt, t.to(x).expand(len(x)))
        x = scheduler.step(output, timestep, x, **extra, return_dict=False)[0]
        yield x


def last(states: Iterator[Tensor]) -> Tensor:
    """The end of a trajectory; the states before it are not kept."""
    return deque(states, maxlen=1)[0]


def takes_noise(scheduler) -> bool:
    """Whether the scheduler's step draws random numbers."""
    return isinstance(scheduler, DDPMScheduler)
