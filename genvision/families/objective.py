"""What a denoiser is trained on: at which times, towards which prediction, and how much each time counts."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.special import ndtri

from genvision.config.schema import DiffusionConfig
from genvision.errors import ConfigError
from genvision.probability.path import Path


class Objectives(NamedTuple):
    """What makes sense on one path; each field is named like its option."""

    prediction: tuple[str, ...]
    times: tuple[str, ...]
    weight: tuple[str, ...]


ANY_TIME = ("logit_normal", "uniform", "log_normal")
# A velocity is the slope of the straight path alone, v the direction of a variance-preserving one. EDM's times are
# noise levels up to 80: only a law of their logarithm covers them.
OBJECTIVES = {
    "flow": Objectives(("velocity", "epsilon", "x0"), ANY_TIME, ("none", "min_snr")),
    "cosine": Objectives(("epsilon", "v", "x0"), ANY_TIME, ("none", "min_snr")),
    "linear": Objectives(("epsilon", "v", "x0"), ANY_TIME, ("none", "min_snr")),
    "edm": Objectives(("preconditioned", "epsilon", "x0"), ("log_normal",), ("none", "min_snr", "edm")),
}


def require_objective(options: DiffusionConfig) -> None:
    """Raises ConfigError, naming what would work, where the options of an objective make no sense together."""
    for name, valid in OBJECTIVES[options.path]._asdict().items():
        if (value := getattr(options, name)) not in valid:
            raise ConfigError(
                f"family.{name}={value} makes no sense on family.path={options.path}; use one of {', '.join(valid)}"
            )


def training_times(options: DiffusionConfig, path: Path, u: Tensor) -> Tensor:
    """Uniform numbers u (B,) in [0,1) -> times (B,) float64.

    uniform       t itself
    logit_normal  t = sigmoid(z), z standard normal (Esser et al. 2024, section 3.1)
    log_normal    the noise level sigma / alpha is exp(mean + std z) (Karras et al. 2022, table 1); on the flow path
                  this is the logit-normal of that mean and std
    """
    u = u.double().clamp(1e-5, 1 - 1e-5)
    if options.times == "uniform":
        return u
    if options.times == "logit_normal":
        return torch.sigmoid(ndtri(u))
    return path.time_of_level(torch.exp(options.log_normal_mean + options.log_normal_std * ndtri(u)))


def loss_weight(options: DiffusionConfig, path: Path, t: Tensor) -> Tensor:
    """(B,) what the squared error of the prediction at t counts.

    Both laws weigh the error of x0, which is c_out times that of the prediction.

    min_snr  min(SNR, gamma), SNR = alpha^2 / sigma^2 (Hang et al. 2023, section 3.4)
    edm      1 / sigma^2 + 1 / sigma_data^2, so that the preconditioned output counts 1 everywhere (Karras et al. 2022,
             table 1)
    """
    if options.weight == "none":
        return torch.ones_like(t)
    alpha, sigma = path.alpha_sigma(t)
    _, c_out = path.skip_out(t, options.prediction)
    if options.weight == "min_snr":
        return (alpha / sigma).square().clamp(max=options.min_snr_gamma) * c_out.square()
    return (sigma**-2 + options.sigma_data**-2) * c_out.square()
