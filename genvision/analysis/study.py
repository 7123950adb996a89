"""What a study is: a question, a measurement, a figure, and rules for its verdict that stand before the data are seen.

Everything a study says is a function of its table: figure and verdict can be made again from the CSV alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from genvision.analysis.runs import Runs

Row = dict[str, Any]
Rows = list[Row]  # of one table: plain numbers and words, None where there is no value
Setting = Mapping[str, Any]  # what one preset of a study fixes; part of its protocol

PRESETS = ("smoke", "cpu", "gpu")
ARTICLES = {
    "S0": "the mathematics of ConvNets and ViTs, and where they part in generation",
    "S1": "inductive bias, invariance and equivariance",
    "S2": "the six steps of a ViT",
    "S3": "ViT and MLP-Mixer as one model class",
    "S4": "do ViTs see like ConvNets?",
}


class Verdict(StrEnum):
    """What the data say of a claim."""

    SUPPORTED = "supported"
    NOT_SUPPORTED = "not supported"
    MIXED = "mixed"
    NOT_TESTABLE = "not testable at this scale"


class Estimate(NamedTuple):
    """A number with its 95 % interval; `of` says what it was measured on, `n` from how many independent observations.

    A number that follows from counting has an interval of no width.
    """

    of: str
    value: float
    low: float
    high: float
    n: int

    @classmethod
    def counted(cls, of: str, value: float, n: int = 1) -> Estimate:
        """A number without uncertainty."""
        return cls(of, value, value, value, n)


@dataclass(frozen=True)
class Rule:
    """Where the interval of a quantity must lie for a claim to hold.

    low, high  both belong to the range
    fewest     observations below which nothing is said
    """

    quantity: str
    low: float = -math.inf
    high: float = math.inf
    fewest: int = 1

    def __str__(self) -> str:
        if self.low == self.high:
            place = f"is {self.low:g}"
        elif math.isinf(self.high):
            place = f"is at least {self.low:g}"
        elif math.isinf(self.low):
            place = f"is at most {self.high:g}"
        else:
            place = f"lies from {self.low:g} to {self.high:g}"
        least = f"; not testable from fewer than {self.fewest}" if self.fewest > 1 else ""
        return (
            f"supported where {self.quantity} {place} over its whole 95 % interval, not supported where over none of "
            f"it, mixed between and where several such numbers disagree{least}"
        )

    def verdict(self, estimates: Iterable[Estimate]) -> Verdict:
        """Of all estimates together: what all that can be judged agree on, mixed where they do not."""
        said = {self._of_one(estimate) for estimate in estimates} - {Verdict.NOT_TESTABLE}
        if not said:
            return Verdict.NOT_TESTABLE
        return said.pop() if len(said) == 1 else Verdict.MIXED

    def _of_one(self, estimate: Estimate) -> Verdict:
        if estimate.n < self.fewest or not all(map(math.isfinite, estimate[1:4])):
            return Verdict.NOT_TESTABLE
        if self.low <= estimate.low and estimate.high <= self.high:
            return Verdict.SUPPORTED
        if estimate.high < self.low or self.high < estimate.low:
            return Verdict.NOT_SUPPORTED
        return Verdict.MIXED


@dataclass(frozen=True)
class Claim:
    """Something an article says, or that must hold for a study to mean anything, and what decides about it.

    rows       of the articles ("S0-11"); none where no article says it
    estimates  table -> the numbers that the rule is about
    """

    rows: tuple[str, ...]
    says: str
    rule: Rule
    estimates: Callable[[Rows], list[Estimate]]


@dataclass(frozen=True)
class Study:
    """One question, from its measurement to its verdict.

    question     in one sentence
    measurement  what is measured, in one sentence
    claims       each with its rule
    presets      a setting for each of PRESETS
    measure      (setting, runs) -> table; the only part that computes for long
    draw         (table, figure): fills an empty figure
    reads        families of which it needs trained runs; none: it builds what it needs
    """

    name: str
    question: str
    measurement: str
    claims: tuple[Claim, ...]
    presets: Mapping[str, Setting]
    measure: Callable[[Setting, Runs], Rows]
    draw: Callable[[Rows, Figure], None]
    reads: tuple[str, ...] = ()

    @property
    def rows(self) -> list[str]:
        """The rows of the articles that it answers."""
        return sorted({row for claim in self.claims for row in claim.rows})
