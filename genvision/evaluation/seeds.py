"""One cell over several training seeds: what training again would change, which no number of images shows."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

from genvision.evaluation.intervals import LEVEL

Row = dict[str, Any]
SAME = (  # rows of one ranking that share these, and no seed, are one cell trained again
    *("family", "backbone", "encoder_backbone", "decoder_backbone", "size", "parameters", "macs_per_image"),
    *("images_seen", "learning_rate", "data_fraction", "precision"),
)
NUMBERS: dict[str, Callable[[Row], float | None]] = {
    "frechet": lambda row: ((row.get("metrics") or {}).get("frechet") or {}).get("value"),
    "bits_per_dim": lambda row: (row.get("bits_per_dim") or {}).get("value"),
    "train_seconds": lambda row: row.get("train_seconds"),
}


def over_seeds(rows: Iterable[Row]) -> list[Row]:
    """The cells among the rows of a ranking that were trained with several seeds, by their mean distance.

    Each: the fields that its runs share, "seeds", and for every number that all runs have {"mean", "interval", "least",
    "most"}; the interval is Student's, 95 %, for the mean over training seeds.
    """
    found = [list(group) for _, group in groupby(sorted(rows, key=_cell), key=_cell)]
    return sorted(
        (_summary(group) for group in found if len(group) > 1 and _seeds_differ(group)),
        key=lambda cell: (cell["frechet"]["mean"], str(_cell(cell))),
    )


def spread(values: list[float]) -> dict[str, Any]:
    """Mean, Student's 95 % interval of the mean (n - 1 degrees of freedom), least and most of at least two numbers."""
    from scipy.stats import t

    mean = statistics.fmean(values)
    reach = float(t.ppf((1 + LEVEL) / 2, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    return {"mean": mean, "interval": [mean - reach, mean + reach], "least": min(values), "most": max(values)}


def _summary(group: list[Row]) -> Row:
    cell = {name: group[0].get(name) for name in SAME} | {"seeds": sorted(row["seed"] for row in group)}
    for name, number in NUMBERS.items():
        values = [value for row in group if (value := number(row)) is not None]
        cell[name] = spread(values) if len(values) == len(group) else None
    return cell


def _seeds_differ(group: list[Row]) -> bool:
    seeds = [row.get("seed") for row in group]
    return None not in seeds and len({*seeds}) == len(seeds)


def _cell(row: Row) -> tuple[str, ...]:
    return tuple(str(row.get(name)) for name in SAME)
