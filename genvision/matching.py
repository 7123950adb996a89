"""Widths at which the backbones of a family cost the same.

A trunk's width is the coarse knob: it moves in steps that heads and norms allow. The hidden units of the channel-MLP
are the fine one, in trunks that have such an MLP. A ConvNet has none and comes first: the others are brought to its
cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from genvision import data
from genvision.build import cost
from genvision.codecs import open_codec
from genvision.config import load_config
from genvision.config.schema import Config
from genvision.config.trunks import BACKBONES, FAMILY_ROLES
from genvision.errors import ConfigError
from genvision.spec import ImageSpec
from genvision.step_time import step_seconds

MEASURES: dict[str, Callable[[Config, ImageSpec], float]] = {
    "params": lambda config, spec: cost(config, spec).parameters,
    "macs": lambda config, spec: cost(config, spec).macs_per_image,
    "step_time": step_seconds,
}
FINE = {"vit": "mlp_ratio", "mixer": "channel_ratio"}  # hidden units of the channel-MLP per channel
WIDTH_STEP = 4


class Match(NamedTuple):
    """A backbone as it must be: its options ("trunk.width=72"), the configuration, and cost / target - 1."""

    backbone: str
    options: list[str]
    config: Config
    mismatch: float


def match(words: Sequence[str], *, by: str, target: float | None = None, tolerance: float = 0.02) -> list[Match]:
    """The backbones of one family at one cost.

    words      as for `genvision train`, without a backbone
    by         a key of MEASURES: parameters, multiply-adds of a training forward pass, or measured seconds of a step
    target     None: what the first backbone costs as `size` has it
    tolerance  the largest mismatch. Raises ConfigError for the first backbone beyond it, and for one whose narrowest
               form costs more than the target
    """
    found: list[Match] = []
    for backbone in BACKBONES:
        cell = Cell(backbone, words, MEASURES[by])
        options = cell.solve(target) if target else []
        reached = cell.cost(options)
        target = target or reached
        found.append(Match(backbone, options, cell.config(options), reached / target - 1))
        if abs(found[-1].mismatch) > tolerance:
            raise ConfigError(
                f"{backbone} comes no nearer to {target:,.4g} than {reached:,.4g} ({found[-1].mismatch:+.1%}, "
                f"with {' '.join(options)}); change its trunk.depth, or raise --tol"
            )
    return found


class Cell:
    """One backbone under the words that all share, and what it costs at other widths."""

    def __init__(self, backbone: str, words: Sequence[str], measure: Callable[[Config, ImageSpec], float]) -> None:
        self.backbone, self.words, self.measure = backbone, words, measure
        config = self.config([])
        self.spec = coded_spec(config)
        self.trunk = getattr(config, FAMILY_ROLES[config.family.name][0]).trunk
        self.step = width_step(self.trunk)

    def config(self, options: Sequence[str]) -> Config:
        return load_config(None, [*self.words, f"backbone={self.backbone}", *options])

    def cost(self, options: Sequence[str]) -> float:
        return self.measure(self.config(options), self.spec)

    def solve(self, target: float) -> list[str]:
        """The options that bring the cost nearest to the target; of two widths the one nearer to its usual MLP."""
        narrower = last(lambda k: self.cost(self._options(k * self.step)) <= target)
        if not narrower:
            floor = self.cost(self._options(self.step))
            raise ConfigError(
                f"{self.backbone} cannot cost {target:,.4g}: {floor:,.4g} is its floor; lower trunk.depth or aim higher"
            )
        widths = [narrower * self.step, (narrower + 1) * self.step]
        if self.trunk["name"] not in FINE:
            return min(map(self._options, widths), key=lambda options: abs(self.cost(options) - target))
        hidden = {width: self._hidden(width, target) for width in widths}
        usual = self.trunk[FINE[self.trunk["name"]]]
        width = min(widths, key=lambda width: abs(math.log(max(1, hidden[width]) / width / usual)))
        return self._options(width, hidden[width])

    def _hidden(self, width: int, target: float) -> int:
        """The number of hidden units that comes nearest to the target at this width."""
        most = last(lambda hidden: self.cost(self._options(width, hidden)) <= target)
        near = [max(1, most), most + 1]
        return min(near, key=lambda hidden: abs(self.cost(self._options(width, hidden)) - target))

    def _options(self, width: int, hidden: int | None = None) -> list[str]:
        ratio = [] if hidden is None else [f"trunk.{FINE[self.trunk['name']]}={hidden / width:.6g}"]
        return [f"trunk.width={width}", *ratio]


def coded_spec(config: Config) -> ImageSpec:
    """What the networks of a configuration see: its images, or the codes that its codec makes of them."""
    spec = data.spec_of(config.data)
    codec = open_codec(config, spec)
    return codec.spec if codec else spec


def width_step(trunk: dict) -> int:
    """By how much a trunk's width can change: whole heads, and channels in groups."""
    head, attending = trunk.get("head_width", 1), [1]
    if trunk["name"] == "unet":  # its heads split the channels of a level, not the width
        multipliers = trunk["multipliers"]
        attending = [multipliers[level] for level in trunk["attention_levels"]] + multipliers[-1:] * trunk["attention"]
    return math.lcm(WIDTH_STEP, *(head // math.gcd(head, multiplier) for multiplier in attending))


def last(fits: Callable[[int], bool]) -> int:
    """The largest n >= 1 for which `fits` holds, where it holds up to some n; 0 where it never does."""
    beyond = 1
    while fits(beyond):
        beyond *= 2
    within = beyond // 2
    while beyond - within > 1:
        middle = (within + beyond) // 2
        within, beyond = (middle, beyond) if fits(middle) else (within, middle)
    return within
