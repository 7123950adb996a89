"""How a categorical distribution is bent before a value is drawn from it: guidance, temperature, top-k, top-p."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from genvision.errors import ConfigError


@dataclass(frozen=True)
class Shaping:
    """Applied in the order of the fields; the defaults change nothing.

    guidance     w: u + w (c - u) from the log-probabilities c with a label and u without (Ho & Salimans 2022, equation
                 6 with w = 1 + their weight, on log-probabilities instead of scores)
    temperature  divides the log-probabilities: below 1 the likely becomes likelier
    top_k        only the k likeliest values may be drawn, and what is as likely as the k-th; 0: all
    top_p        only the likeliest values that together have this probability, the one that reaches it included, and
                 what is as likely as that one (Holtzman et al. 2020, "nucleus sampling"); 1: all
    Raises ConfigError for a number outside of its range.
    """

    guidance: float = 1.0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        for name, holds, words in (
            ("guidance", 0 <= self.guidance < math.inf, "0 or more"),
            ("temperature", 0 < self.temperature < math.inf, "more than 0"),
            ("top_k", self.top_k >= 0, "0 or more"),
            ("top_p", 0 < self.top_p <= 1, "more than 0 and at most 1"),
        ):
            if not holds:
                raise ConfigError(f"sample.{name}={getattr(self, name)} must be {words}")

    def __call__(self, log_p: Tensor) -> Tensor:
        """log_p (B,...,V) -> unnormalised log-probabilities; with guidance (2B,...,V), the half without labels last."""
        if self.guidance != 1:
            given, free = log_p.chunk(2)
            log_p = free + self.guidance * (given - free)
        log_p = log_p / self.temperature
        if 0 < self.top_k < log_p.shape[-1]:
            log_p = log_p.masked_fill(log_p < log_p.topk(self.top_k).values[..., -1:], -math.inf)
        if self.top_p < 1:
            p = log_p.softmax(-1)
            ordered = p.sort(-1, descending=True).values
            likelier = ordered.cumsum(-1) - ordered  # what lies before a value; nothing before the first
            least = ordered.masked_fill(likelier >= self.top_p, math.inf).amin(-1, keepdim=True)
            log_p = log_p.masked_fill(p < least, -math.inf)
        return log_p


UNSHAPED = Shaping()
