"""Which numbers of a row the leaderboard's tables show, under which heading, and how each is written.

Three uncertainties stand beside a score, each under its own name: over features (other images of the same number),
over sampling seeds (the same weights drawn again) and over training seeds (the cell trained again).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from genvision.evaluation.numbers import written

Row = dict[str, Any]
Get = Callable[[Row], Any]


class Column(NamedTuple):
    """One column: its heading, how its numbers are written (None: text), and where its value comes from.

    later  records of before this score existed lack it: a table where no row has it goes without the column
    """

    heading: str
    kind: str | None
    value: Get
    later: bool = False


def filled(columns: list[Column], rows: list[Row]) -> list[Column]:
    """The columns without those of later scores that no row has."""
    return [column for column in columns if not column.later or any(column.value(row) is not None for row in rows)]


def backbone(row: Row) -> str:
    """The backbone, or encoder and decoder where they differ."""
    halves = row.get("encoder_backbone"), row.get("decoder_backbone")
    return " → ".join(half or row["backbone"] for half in halves) if any(halves) else row["backbone"]


def sample_seconds(row: Row) -> float | None:
    """Seconds that a thousand images took to draw."""
    seconds, images = row.get("sample_seconds"), row.get("sampled_images")
    return None if seconds is None or not images else 1000 * seconds / images


def processes(row: Row) -> str:
    """How it was trained, as in "1 process, 2 threads, bf16"."""
    count, threads = row.get("processes"), row.get("threads")
    parts = [
        f"{count} process{'' if count == 1 else 'es'}" if count else "",
        f"{threads} thread{'' if threads == 1 else 's'}" if threads else "",
        "fp32" if row.get("precision") == "no" else row.get("precision"),
    ]
    return ", ".join(part for part in parts if part)


def metric(key: str, *parts: str | int) -> Get:
    """A part of a score, by default its value; None where the row has none."""
    return lambda row: reached((row.get("metrics") or {}).get(key), *(parts or ("value",)))


def reached(value: Any, *parts: str | int) -> Any:
    """`value[part][part]..`, None as soon as one is not there."""
    for part in parts:
        if value is None:
            return None
        value = value.get(part) if isinstance(part, str) else value[part]
    return value


def part(*parts: str | int) -> Get:
    """The same of a row itself."""
    return lambda row: reached(row, *parts)


def between(low: Get, high: Get, kind: str) -> Get:
    """Two numbers as the text "7.25 to 8.75"."""

    def value(row: Row) -> str | None:
        ends = low(row), high(row)
        return None if None in ends else " to ".join(written(kind, end) for end in ends)

    return value


def sampling(*parts: str | int) -> Get:
    """Of the spread of the Fréchet distance over sampling seeds."""
    return part("over_sampling_seeds", "frechet", *parts)


def sampling_seeds(row: Row) -> int | None:
    """How many sampling seeds a run was scored with; None where it was one."""
    found = row.get("over_sampling_seeds")
    return found and len(found["seeds"])


KINDS = {
    "frechet": "distance",
    "frechet_infinity": "distance",
    "kid": "kernel",
    "inception_score": "inception",
    "psnr": "inception",
}  # of scores; others are shares
CELL = [
    Column("family", None, part("family")),
    Column("backbone", None, backbone),
    Column("size", None, part("size")),
    Column("run", None, part("run")),
]
COST = [
    Column("parameters", "count", part("parameters")),
    Column("MACs/image", "count", part("macs_per_image")),
    Column("images seen", "count", part("images_seen")),
    Column("train s", "seconds", part("train_seconds")),
    Column("sample s/1000", "seconds", sample_seconds),
    Column("NFE", "whole", part("network_evaluations_per_image")),
    Column("device", None, part("device")),
    Column("processes", None, processes),
]
LIKELIHOOD = [
    Column("bits/dim", "bits", part("bits_per_dim", "value")),
    Column("kind", None, part("bits_per_dim", "kind")),
]
SCORE = Column("Fréchet", "distance", metric("frechet"))
FEATURES = (metric("frechet", "interval", 0), metric("frechet", "interval", 1))
SAMPLING = (sampling("interval", 0), sampling("interval", 1))
OTHER_SCORES = [
    Column("kernel", "kernel", metric("kid")),
    Column("kernel ±", "kernel", metric("kid", "std")),
    Column("precision", "share", metric("precision")),
    Column("recall", "share", metric("recall")),
    Column("density", "share", metric("density"), later=True),
    Column("coverage", "share", metric("coverage"), later=True),
    Column("inception", "inception", metric("inception_score")),
    Column("inception ±", "inception", metric("inception_score", "std")),
]
SCORES = [  # for people: an interval is one column
    SCORE,
    Column("over features", None, between(*FEATURES, "distance"), later=True),
    Column("sampling seeds", "whole", sampling_seeds, later=True),
    Column("over sampling seeds", None, between(*SAMPLING, "distance"), later=True),
    *OTHER_SCORES,
]
NUMBERED_SCORES = [  # for machines: its ends are two
    SCORE,
    Column("Fréchet low over features", "distance", FEATURES[0], later=True),
    Column("Fréchet high over features", "distance", FEATURES[1], later=True),
    Column("sampling seeds", "whole", sampling_seeds, later=True),
    Column("Fréchet mean over sampling seeds", "distance", sampling("mean"), later=True),
    Column("Fréchet low over sampling seeds", "distance", SAMPLING[0], later=True),
    Column("Fréchet high over sampling seeds", "distance", SAMPLING[1], later=True),
    *OTHER_SCORES,
]
DETAILS = [
    Column("Fréchet infinity", "distance", metric("frechet_infinity"), later=True),
    Column("nearest ratio", "share", metric("nearest_ratio"), later=True),
    Column("near copies", "share", metric("near_copies"), later=True),
    Column("total variation", "share", metric("total_variation"), later=True),
    Column("autocorrelation", "share", metric("autocorrelation"), later=True),
    Column("patch edges", "share", metric("patch_edges"), later=True),
    Column("spectrum error", "share", metric("spectrum_error"), later=True),
]
_TRAINED = [*(column for column in CELL if column.heading != "run")]
_COUNT = Column("training seeds", "whole", lambda cell: len(cell["seeds"]))
TRAINING_SEEDS = [  # of a cell; for people
    *_TRAINED,
    _COUNT,
    Column("Fréchet", "distance", part("frechet", "mean")),
    Column(
        "over training seeds", None, between(part("frechet", "interval", 0), part("frechet", "interval", 1), "distance")
    ),
    Column("least to most", None, between(part("frechet", "least"), part("frechet", "most"), "distance")),
    Column("bits/dim", "bits", part("bits_per_dim", "mean"), later=True),
    Column(
        "over training seeds",
        None,
        between(part("bits_per_dim", "interval", 0), part("bits_per_dim", "interval", 1), "bits"),
        later=True,
    ),
    Column("train s", "seconds", part("train_seconds", "mean"), later=True),
]
NUMBERED_TRAINING_SEEDS = [  # for machines
    *_TRAINED,
    _COUNT,
    *(
        Column(f"{name} {end} over training seeds", kind, part(key, *where))
        for key, name, kind in (("frechet", "Fréchet", "distance"), ("bits_per_dim", "bits/dim", "bits"))
        for end, where in (
            *(("mean", ("mean",)), ("low", ("interval", 0)), ("high", ("interval", 1))),
            *(("least", ("least",)), ("most", ("most",))),
        )
    ),
    Column("train s", "seconds", part("train_seconds", "mean")),
]
RANK = Column("rank", "whole", part("rank"))
CSV = [
    Column("data", None, part("data")),
    Column("protocol", None, part("protocol_hash")),
    RANK,
    *CELL,
    Column("status", None, part("status")),
    Column("metric", None, metric("frechet", "name")),
    *NUMBERED_SCORES,
    *DETAILS,
    *LIKELIHOOD,
    Column("bits/dim ±", "bits", part("bits_per_dim", "standard_error")),
    *COST,
    Column("why unranked", None, part("why")),
    Column("note", None, part("note")),
]
