"""One source of settings (a YAML file, or `a.b=c` arguments) as a flat table: dotted key -> text and where it stands.

Only the parser's events are read: nothing is ever constructed from a document, every key knows its line, and a hostile
document is refused before it can grow. Scalars stay the text that was written; the schema's types read them later, so
that `precision: no` is the word "no", `1e-4` a number and `010` no octal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from genvision.errors import ConfigError

MAX_BYTES = 1_000_000
MAX_DEPTH = 8
MAX_MESSAGE = 200
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
NULLS = ("", "~", "null", "Null", "NULL")
COMMAND_LINE = "command line"


class Entry(NamedTuple):
    """A setting as it was written: its full key, its text (None: null; a list: the texts of its items), and where."""

    key: str
    value: str | list[str] | None
    where: str


Layer = dict[str, Entry]


def fault(where: str, problem: str) -> ConfigError:
    """ConfigError with the one line "where: problem": at most 200 characters, of a long path the tail is kept."""
    problem = " ".join(problem.split())
    if len(problem) > MAX_MESSAGE - 20:
        problem = problem[: MAX_MESSAGE - 21] + "…"
    room = MAX_MESSAGE - len(problem) - 2
    return ConfigError(f"{where if len(where) <= room else '…' + where[1 - room :]}: {problem}")


def short(value: Any) -> str:
    """A value as it may stand in a message."""
    text = "null" if value is None else f"[{', '.join(value)}]" if isinstance(value, list) else str(value)
    return text if len(text) <= 32 else text[:31] + "…"


def read_file(path: Path, name: str) -> Layer:
    """The settings of a YAML file, called `name` in messages.

    Raises ConfigError: unreadable, over 1 MB, not UTF-8, or anything but nested mappings, lists and scalars.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise fault(name, f"cannot read this config file ({error.strerror}); check the path") from error
    if len(raw) > MAX_BYTES:
        raise fault(name, "larger than 1 MB, which no config file is; check the path")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise fault(name, f"not UTF-8 at byte {error.start}; save the file as UTF-8 text") from error
    layer = _parse(text, name, ())
    if "" in layer:
        raise fault(name, "not a table of settings; write one `key: value` a line")
    return layer


def read_overrides(overrides: Sequence[str], raw_keys: Sequence[str]) -> Layer:
    """The settings of `a.b=c` arguments; of two for one key the later holds. Values of `raw_keys` are not YAML."""
    layer: Layer = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise fault(COMMAND_LINE, f"{short(override)}: no value; write key=value, such as train.steps=1000")
        if not all(WORD.fullmatch(part) for part in key.split(".")):
            raise fault(COMMAND_LINE, f"{short(key)!r} is not a key; write key=value, such as train.steps=1000")
        if key in raw_keys:
            layer[key] = Entry(key, text, COMMAND_LINE)
        else:
            layer.update(_parse(text, COMMAND_LINE, tuple(key.split("."))) or {key: Entry(key, None, COMMAND_LINE)})
    return layer


def _parse(text: str, name: str, prefix: tuple[str, ...]) -> Layer:
    """The entries of one YAML document whose root stands at the key `prefix`."""
    events = _checked(text, name)
    layer: Layer = {}
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            if layer:
                raise fault(_place(name, event), "a second document (`---`); keep one document a file")
            _read_node(next(events), events, prefix, name, layer)
    return layer


def _read_node(event: Any, events: Iterator[Any], path: tuple[str, ...], name: str, layer: Layer) -> None:
    """Put the node that starts with `event` into `layer`, consuming its events."""
    key, where = ".".join(path), _place(name, event)
    if isinstance(event, yaml.ScalarEvent):
        if path or event.value:  # the root of an empty document is an empty scalar
            layer[key] = Entry(key, _text(event), where)
    elif isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise fault(where, f"{key}: a list of plain values is expected here; remove the nesting")
            items.append(event.value)
        layer[key] = Entry(key, items, where)
    else:
        seen: set[str] = set()
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            word, where = getattr(event, "value", ""), _place(name, event)
            inner = (*path, word)
            if not WORD.fullmatch(word):
                raise fault(where, f"{short('.'.join(inner))!r} is not a key; keys are words, nested for sections")
            if word in seen:
                raise fault(where, f"{short('.'.join(inner))}: given twice; keep one")
            if len(inner) > MAX_DEPTH:
                raise fault(where, f"nested deeper than {MAX_DEPTH} levels; no setting is")
            seen.add(word)
            _read_node(next(events), events, inner, name, layer)


def _text(event: yaml.ScalarEvent) -> str | None:
    plain = event.implicit[0]
    return None if plain and event.value in NULLS else event.value


def _place(name: str, event: Any) -> str:
    return name if name == COMMAND_LINE else f"{name}:{event.start_mark.line + 1}"


def _checked(text: str, name: str) -> Iterator[Any]:
    """The parser's events; raises ConfigError at broken YAML, anchors, aliases, tags and interpolations."""
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if getattr(event, "anchor", None):
                raise fault(_place(name, event), "anchors and aliases (& and *) are not read; write the value out")
            if getattr(event, "tag", None):
                raise fault(_place(name, event), f"tag {short(event.tag)} is not read; write the plain value")
            if isinstance(event, yaml.ScalarEvent) and ("${" in event.value or event.value == "???"):
                raise fault(_place(name, event), f"{short(event.value)}: interpolation is not read; write the value")
            yield event
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = name if mark is None or name == COMMAND_LINE else f"{name}:{mark.line + 1}"
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
        raise fault(where, f"not valid YAML ({problem}); quote the value or mend the line") from error
