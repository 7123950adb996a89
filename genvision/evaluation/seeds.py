"""What seeds change: one cell over its training seeds, one run over its sampling seeds.

Neither is the interval over features (`intervals`), which leaves model and both seeds as they are.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

from genvision.evaluation.intervals import LEVEL

Row = dict[str, Any]
SAME = (  # rows of one ranking that share these, and no seed, are one cell trained again
    *("family", "backbone", "encoder_backbone", "decoder_backbone", "size", "parameters", "macs_per_image"),
    *("images_seen", "learning_rate", "data_fraction", "precision", "cell_hash"),
)
NUMBERS: dict[str, Callable[[Row], float | None]] = {
    "frechet": lambda row: ((row.get("metrics") or {}).get("frechet") or {}).get("value"),
    "bits_per_dim": lambda row: (row.get("bits_per_dim") or {}).get("value"),
    "train_seconds": lambda row: row.get("train_seconds"),
}


def over_training_seeds(rows: Iterable[Row]) -> list[Row]:
    """The cells among the rows of a ranking that were trained with several seeds, by their mean distance.

    Each: the fields that its runs share, "seeds", and for every number that all runs have {"mean", "interval", "least",
    "most"}; the interval is Student's, 95 %, for the mean over training seeds.
    """
    found = [list(group) for _, group in groupby(sorted(rows, key=cell), key=cell)]
    return sorted(
        (_summary(group) for group in found if len(group) > 1 and _seeds_differ(group)),
        key=lambda summary: (summary["frechet"]["mean"], str(cell(summary))),
    )


def over_sampling_seeds(row: Row) -> Row | None:
    """{"seeds", and for every score of all draws its `spread`} of a run; None where it was drawn with one seed alone.

    row  a record with "draws": those whose protocol differs from the row's in the sampling seed alone are counted
    """
    own = row["protocol"]["sampling"]
    again = [draw for draw in row.get("draws") or [] if equal_but("seed", draw["protocol"]["sampling"], own)]
    draws = [(draw["protocol"]["sampling"].get("seed"), draw["metrics"]) for draw in (row, *again)]
    if not all(isinstance(seed, int) for seed, _ in draws) or len(values := dict(draws)) < 2:
        return None
    found: Row = {"seeds": sorted(values)}
    for key in row["metrics"]:
        drawn = [value for each in values.values() if (value := (each.get(key) or {}).get("value")) is not None]
        if len(drawn) == len(values):
            found[key] = spread(drawn)
    return found


def spread(values: list[float]) -> dict[str, Any]:
    """Mean, Student's 95 % interval of the mean (n - 1 degrees of freedom), least and most of at least two numbers."""
    from scipy.stats import t

    mean = statistics.fmean(values)
    reach = float(t.ppf((1 + LEVEL) / 2, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    return {"mean": mean, "interval": [mean - reach, mean + reach], "least": min(values), "most": max(values)}


def equal_but(name: str, one: Row, other: Row) -> bool:
    """Whether two sampling parts of protocols are equal but, perhaps, for one setting."""
    return all(one.get(key) == other.get(key) for key in one | other if key != name)


def cell(row: Row) -> tuple[str, ...]:
    """What rows of one cell share, as text that sorts."""
    return tuple(str(row.get(name)) for name in SAME)


def _summary(group: list[Row]) -> Row:
    summary = {name: group[0].get(name) for name in SAME} | {"seeds": sorted(row["seed"] for row in group)}
    for name, number in NUMBERS.items():
        values = [value for row in group if (value := number(row)) is not None]
        summary[name] = spread(values) if len(values) == len(group) else None
    return summary


def _seeds_differ(group: list[Row]) -> bool:
    seeds = [row.get("seed") for row in group]
    return None not in seeds and len({*seeds}) == len(seeds)
