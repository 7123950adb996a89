"""A comparison as a YAML file: which cells, under which budget, and the learning rates that each is tuned with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

from genvision.config.document import COMMAND_LINE, fault, read_file
from genvision.config.groups import CONFIG_DIR
from genvision.config.load import load_config
from genvision.config.trunks import BACKBONES, FAMILY_ROLES
from genvision.config.typed import field_names, typed, unknown_key


@dataclass(frozen=True)
class Axes:
    """What a grid varies, and the `key=value` words that all of its runs share."""

    backbones: tuple[str, ...] = tuple(BACKBONES)
    seeds: tuple[int, ...] = (0,)
    fractions: tuple[float, ...] = (1.0,)  # of the training images
    learning_rates: tuple[float, ...] = ()  # each tried on every cell; none: what the words say
    shared: tuple[str, ...] = ()


@dataclass(frozen=True)
class Words:
    """The `key=value` words of one family: its budget above all."""

    words: tuple[str, ...] = ()


class Grid(NamedTuple):
    """The axes, and family -> its words."""

    axes: Axes
    families: dict[str, tuple[str, ...]]


class Cell(NamedTuple):
    """One run of a grid: its name and its whole command line."""

    name: str
    words: list[str]


def read_grid(name: str) -> Grid:
    """The grid in a file, or of a name in configs/compare/.

    Raises ConfigError about the first key or value in it that makes no sense, and for a name that is neither.
    """
    path, shipped = Path(name), sorted(file.stem for file in (CONFIG_DIR / "compare").glob("*.yaml"))
    if name in shipped:
        path = CONFIG_DIR / "compare" / f"{name}.yaml"
    elif not path.suffix:
        raise fault(COMMAND_LINE, f"no comparison {name}; write FILE.yaml, or one of {', '.join(shipped)}")
    layer = read_file(path, str(path))
    valid = [*field_names(Axes), *(f"families.{family}" for family in FAMILY_ROLES)]
    for key, entry in layer.items():
        if key not in valid:
            raise unknown_key(entry, valid)
    families = {
        key.removeprefix("families."): typed(Words, {"words": entry}, key).words
        for key, entry in layer.items()
        if key.startswith("families.")
    }
    if not families:
        raise fault(str(path), f"no family; write `families:` with words for some of {', '.join(FAMILY_ROLES)}")
    return Grid(
        typed(Axes, {key: entry for key, entry in layer.items() if not key.startswith("families.")}, "grid"), families
    )


def cells(grid: Grid, run_dir: Path, more: Sequence[str] = ()) -> list[Cell]:
    """Every run of a grid, one family after another, seeds last. Raises ConfigError for the first that cannot be.

    more  words that go to each run and win over the file's
    """
    found = list(_cells(grid, run_dir, more))
    for cell in found:
        load_config(None, cell.words)
    return found


def _cells(grid: Grid, run_dir: Path, more: Sequence[str]) -> Iterator[Cell]:
    axes = grid.axes
    rates: tuple[float | None, ...] = axes.learning_rates or (None,)
    for family, backbone, fraction, rate, seed in product(
        grid.families, axes.backbones, axes.fractions, rates, axes.seeds
    ):
        name = f"{family}-{backbone}"
        name += f"-data{fraction:g}" if len(axes.fractions) > 1 else ""
        name += f"-lr{rate:g}" if len(rates) > 1 else ""
        name += f"-seed{seed}" if len(axes.seeds) > 1 else ""
        words = [*axes.shared, f"family={family}", f"backbone={backbone}", *grid.families[family]]
        words += [f"data.fraction={fraction}", f"train.seed={seed}"]
        words += [] if rate is None else [f"train.learning_rate={rate}"]
        name = name.replace("+", "")  # of 1e+06, which no run may be called
        yield Cell(name, [*words, *more, f"run.dir={run_dir}", f"run.name={name}"])
