"""What a run said of itself while it trained: the numbers of its metrics.jsonl over the images seen."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import NamedTuple

from genvision.evaluation.record import MAX_NUMBER

MAX_POINTS = 300  # of a curve; of a longer one every k-th is shown


class Moment(NamedTuple):
    """The images seen so far, and the numbers that were written then."""

    images: float
    numbers: dict[str, float]


History = list[Moment]


def read_history(metrics: Path) -> History:
    """The moments of a metrics.jsonl, none where there is no such file. A damaged line costs itself alone."""
    found = []
    try:
        with metrics.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    said = json.loads(line)
                    numbers = {name: value for name, value in said.items() if isinstance(value, int | float)}
                    found.append(Moment(numbers.pop("images_seen"), numbers))
                except (ValueError, KeyError, AttributeError, RecursionError):
                    continue
    except OSError:
        return []
    return [moment for moment in found if 0 <= moment.images < MAX_NUMBER]


def curve(history: History, name: str) -> list[tuple[float, float]]:
    """(images seen, value) wherever a value of this name was written that is a number."""
    points = [(images, numbers[name]) for images, numbers in history if abs(numbers.get(name, math.nan)) < MAX_NUMBER]
    every = max(1, -(-len(points) // MAX_POINTS))
    return points[::-every][::-1]  # counted from the end, which is shown always
