"""diffusers' schedulers by name, for the paths they can serve."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from genvision.errors import ConfigError
from genvision.probability.path import Path

TABLE_STEPS = 1000
COSINE = {
    "num_train_timesteps": TABLE_STEPS,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "epsilon",
    "timestep_spacing": "trailing",  # "leading" would never start from pure noise
}
UNCLIPPED = {**COSINE, "clip_sample": False}
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}

# name -> path -> how to make the scheduler. Flow schedulers expect a velocity, cosine ones an epsilon.
SCHEDULERS: dict[str, dict[str, Callable]] = {
    "euler": {
        "flow": lambda: FlowMatchEulerDiscreteScheduler(TABLE_STEPS),
        "cosine": lambda: EulerDiscreteScheduler(**COSINE),
    },
    "heun": {
        "flow": lambda: FlowMatchHeunDiscreteScheduler(TABLE_STEPS),
        "cosine": lambda: HeunDiscreteScheduler(**COSINE),
    },
    "dpm++": {
        "flow": lambda: DPMSolverMultistepScheduler(**FLOW),
        "cosine": lambda: DPMSolverMultistepScheduler(**COSINE),
    },
    "unipc": {
        "flow": lambda: UniPCMultistepScheduler(**FLOW),
        "cosine": lambda: UniPCMultistepScheduler(**COSINE),
    },
    "ddim": {"cosine": lambda: DDIMScheduler(**UNCLIPPED)},
    "ddpm": {"cosine": lambda: DDPMScheduler(**UNCLIPPED)},
}
SCHEDULER_OUTPUT = {"flow": "velocity", "cosine": "epsilon"}


def make_scheduler(name: str, path: Path, steps: int):
    """The scheduler with its timesteps set; ConfigError naming those that serve the path where this one cannot."""
    serving = [key for key, paths in SCHEDULERS.items() if path.name in paths]
    if name not in serving:
        raise ConfigError(
            f"sample.scheduler={name} cannot serve family.path={path.name}; use one of {', '.join(serving)}"
        )
    if not 1 <= steps <= TABLE_STEPS:
        raise ConfigError(f"sample.steps={steps} must be a number from 1 to {TABLE_STEPS}")
    scheduler = SCHEDULERS[name][path.name]()
    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        # sigmas 1, (n-1)/n, .., 1/n: by default the last step would be of length 1/1000 and the one before too long
        scheduler.set_timesteps(sigmas=[1 - i / steps for i in range(steps)])
    elif isinstance(scheduler, HeunDiscreteScheduler):
        # Its corrector averages slopes over sigma. From the table's last sigma, 20,000, one such step lands anywhere.
        table_index = path.time_of_sigma(karras_sigmas(steps)) * TABLE_STEPS - 1
        scheduler.set_timesteps(timesteps=table_index.tolist())
    else:
        scheduler.set_timesteps(steps)
    return scheduler


def karras_sigmas(steps: int, highest: float = 80.0, lowest: float = 0.02, rho: float = 7.0) -> Tensor:
    """(n,) float64 noise levels from highest to lowest, closer together at the low end (Karras et al. 2022, eq. 5).

    `highest` is the paper's, `lowest` about two levels of an 8-bit image in [-1, 1]; the last step goes on to 0.
    """
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    return (highest ** (1 / rho) + ramp * (lowest ** (1 / rho) - highest ** (1 / rho))) ** rho


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
        xt = scheduler.scale_model_input(x, timestep) if hasattr(scheduler, "scale_model_input") else x
        output = denoise(xt, t.to(x).expand(len(x)))
        x = scheduler.step(output, timestep, x, **extra, return_dict=False)[0]
        yield x


def last(states: Iterator[Tensor]) -> Tensor:
    """The end of a trajectory; the states before it are not kept."""
    return deque(states, maxlen=1)[0]


def takes_noise(scheduler) -> bool:
    """Whether the scheduler's step draws random numbers."""
    return isinstance(scheduler, DDPMScheduler)
