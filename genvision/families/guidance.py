"""Guidance: a prediction is pushed away from a weaker one, at the times where that pays."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from genvision.errors import ConfigError
from genvision.families.base import Family

Predict = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # (xt, t, y) -> output


class Guidance(NamedTuple):
    """weaker + scale (own - weaker); the weaker prediction is the guide's, else the model's own without the label.

    scale     1: none (Ho & Salimans 2022, equation 6 with scale = 1 + their weight)
    interval  times (first, last) between which it acts, in the path's own time (Kynkäänniemi et al. 2024); None: always
    guide     a weaker model on the same images, labels, path and prediction (Karras et al. 2024, equation 4)
    """

    scale: float = 1.0
    interval: tuple[float, float] | None = None
    guide: Predict | None = None

    def acts(self, t: Tensor) -> Tensor:
        """(B,) whether a second prediction is needed at times t."""
        if self.scale == 1:
            return torch.zeros_like(t, dtype=torch.bool)
        low, high = self.interval or (-torch.inf, torch.inf)
        return (low <= t) & (t <= high)

    def predict(self, own: Predict, xt: Tensor, t: Tensor, y: Tensor | None, no_label: int) -> Tensor:
        """The guided output at xt (B,C,H,W), t (B,), y (B,); without a guide one batch holds both predictions."""
        acts = self.acts(t)
        if not acts.any():
            return own(xt, t, y)
        if self.guide is not None:
            output, weaker = own(xt, t, y), self.guide(xt, t, y)
        else:
            assert y is not None, "guidance without a guide is away from the prediction without the label"
            both = torch.cat([y, torch.full_like(y, no_label)])
            output, weaker = own(xt.repeat(2, 1, 1, 1), t.repeat(2), both).chunk(2)
        guided = weaker + self.scale * (output - weaker)
        return torch.where(acts[:, None, None, None], guided, output)


def require_guide(model: Family, guide: Family, scale: float) -> None:
    """Raises ConfigError unless the outputs of the two can be mixed, and are."""
    names = ("path", "prediction", "sigma_data")
    kinds = [
        (type(m), m.spec, m.codec.state, *(getattr(m.options, name, None) for name in names)) for m in (model, guide)
    ]
    if kinds[0] != kinds[1]:
        raise ConfigError(
            "the guide must share images, labels, codec, path and prediction with the model; name an earlier "
            "checkpoint of the same run"
        )
    if scale == 1:
        raise ConfigError("a guide does nothing at guidance 1; give more, such as --guidance 2")
