"""How every number of the leaderboard is rounded and written: one function for the CSV, the Markdown and the page."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

MISSING = "\u2013"
DECIMALS = {"distance": 2, "kernel": 5, "share": 3, "inception": 2, "bits": 3, "seconds": 1}
SIGNIFICANT = {"count": 3}  # parameters, multiply-adds, images: what a reader compares, not what a machine counts
SUFFIXES = (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3))


def written(kind: str, value: float | None, *, plain: bool = False) -> str:
    """`value` rounded by its kind, as text.

    kind   distance, kernel, share, inception, bits, seconds: fixed decimals. count: three significant digits.
           whole: as it is
    plain  for machines: digits alone, nothing for a missing value. Otherwise 1.62M, 1,234.5 and a dash
    """
    if value is None:
        return "" if plain else MISSING
    number = Decimal(str(value))
    if kind in DECIMALS:
        digits = round(number, DECIMALS[kind]) + 0  # minus zero becomes zero
        return f"{digits:f}" if plain else f"{digits:,f}"
    if kind in SIGNIFICANT and number:
        unit = Decimal(1).scaleb(max(0, number.adjusted() - SIGNIFICANT[kind] + 1))
        number = number.quantize(unit, ROUND_HALF_EVEN)
        if not plain:
            return _suffixed(number)
    text = f"{number:f}" if plain else f"{number:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _suffixed(number: Decimal) -> str:
    for suffix, unit in SUFFIXES:
        if abs(number) >= unit:
            few = number / unit
            return f"{few.quantize(Decimal(1).scaleb(few.adjusted() - 2)):f}{suffix}"
    return f"{number:f}"
