"""The order of a stream: lanes that read shards, and blocks of a lane that are shuffled as wholes.

An image's place is a function of (seed, position) alone, so a run goes on from any step by arithmetic. What is written
down on the way, which shard begins at which position, only saves reading all that lies before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from genvision.data.source import Example, Source
from genvision.errors import DataError
from genvision.probability.randomness import Stream, generator

LEFT_OUT = ".left_out.txt"


class Block(NamedTuple):
    """images (B,C,H,W) uint8, labels (B,) int64 or None, and where each stands, for messages."""

    images: np.ndarray
    labels: np.ndarray | None
    places: list[str]


class Lane:
    """An endless sequence of examples that can be entered at any position.

    In each epoch the shards of the source stand in a new order, of which this lane takes every `lanes`-th. Where there
    are fewer shards than lanes, each is read in stripes.
    notes  a file for what shard begins where; None: an entry reads from the beginning. Another beside it, of the ending
           LEFT_OUT, gets what could not be used
    """

    def __init__(self, source: Source, number: int, lanes: int, seed: int, notes: Path | None) -> None:
        self.source, self.number, self.lanes, self.seed, self.notes = source, number, lanes, seed, notes
        self.stripes = -(-lanes // source.shards)
        identity = json.dumps([source.name, source.shards, source.config.labels, number, lanes, seed])
        self.identity = hashlib.sha256(identity.encode()).hexdigest()[:16]

    def units(self, epoch: int) -> list[tuple[int, int]]:
        """(shard, stripe) of this lane's part of an epoch, in the order of reading."""
        total = self.source.shards * self.stripes
        order = generator(self.seed, Stream.ORDER, step=epoch).permutation(total)[self.number :: self.lanes]
        return [divmod(int(unit), self.stripes) for unit in order]

    def read(self, start: int) -> Iterator[Example]:
        """The examples from position `start` on. Raises DataError for a lane without any."""
        epoch, first, position = self._entry(start)
        while True:
            before = position
            for k, (shard, stripe) in enumerate(self.units(epoch)):
                if k < first:
                    continue
                self._note(epoch, k, position)
                for example in self.source.read(shard, stripe, self.stripes):
                    if position >= start:
                        yield example
                    position += 1
            if position == before and first == 0:
                raise DataError(f"{self.source.name}: the shards of lane {self.number} are empty; lower data.lanes")
            epoch, first = epoch + 1, 0

    def _entry(self, start: int) -> tuple[int, int, int]:
        """(epoch, unit, position) of the last noted shard that begins at or before `start`."""
        best = (0, 0, 0)
        for line in self.notes.read_text().splitlines() if self.notes and self.notes.is_file() else ():
            try:
                identity, *entry = json.loads(line)
                if identity == self.identity and best[2] < entry[2] <= start:
                    best = (int(entry[0]), int(entry[1]), int(entry[2]))
            except (ValueError, TypeError, IndexError):  # the last line of a process that was killed
                continue
        return best

    def _note(self, epoch: int, unit: int, position: int) -> None:
        if self.notes:
            add_line(self.notes, [self.identity, epoch, unit, position])

    def leave_out(self, fault: str) -> None:
        """Keep what could not be used, and why, for the record of the run."""
        if self.notes:
            add_line(self.notes.with_suffix(LEFT_OUT), fault)


def add_line(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(value) + "\n")


def left_out(notes: Path) -> tuple[str, ...]:
    """What any process has left out of any lane so far, each time, by the notes in this folder."""
    lines = (line for file in sorted(notes.glob(f"*{LEFT_OUT}")) for line in file.read_text().splitlines())
    return tuple(json.loads(line) for line in lines if line.endswith('"'))  # a process that is killed cuts one off


class Blocks:
    """Consecutive blocks of `size` examples of a lane, each shuffled; the next one is read while one is used."""

    def __init__(self, lane: Lane, size: int, pool: ThreadPoolExecutor) -> None:
        self.lane, self.size, self.pool = lane, size, pool
        self._coming: dict[int, Future[Block]] = {}
        self._examples: Iterator[Example] = iter(())
        self._next = -1

    def __getitem__(self, number: int) -> Block:
        """Block `number` of the lane; one after the other is fast, any other entry reads its way there."""
        if number not in self._coming:
            self._start(number)
        block = self._coming[number].result()
        if number + 1 not in self._coming:
            self._start(number + 1)
        for old in [k for k in self._coming if k < number - 1]:
            del self._coming[old]
        return block

    def _start(self, number: int) -> None:
        if number != self._next:
            self._coming = {k: v for k, v in self._coming.items() if k == number - 1}
            self._examples = self.lane.read(number * self.size)
        elif number - 1 in self._coming:
            self._coming[number - 1].result()  # passed over, but it is reading from the same examples
        self._coming[number] = self.pool.submit(self._load, self._examples, number)
        self._next = number + 1

    def _load(self, examples: Iterator[Example], number: int) -> Block:
        found = list(islice(examples, self.size))
        order = generator(self.lane.seed, Stream.ORDER, step=number, slot=1 + self.lane.number).permutation(self.size)
        decoded, faults = self.lane.source.usable(found)
        good = sorted(decoded)
        for fault in faults:
            self.lane.leave_out(fault)
        if faults:  # another of the block, the same in every process, takes the place: positions stay what they are
            order = [k if k in decoded else good[k % len(good)] for k in order.tolist()]
        images = np.stack([decoded[k] for k in order])
        labelled = self.lane.source.config.labels
        labels = np.array([found[k].label for k in order], np.int64) if labelled else None
        return Block(images, labels, [found[k].where for k in order])
