"""Settings meet the schema: text becomes typed values through OmegaConf, unknown keys find their nearest neighbour."""

from __future__ import annotations

import difflib
import types
from collections.abc import Collection, Mapping
from dataclasses import fields
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from genvision.config.document import Entry, fault, short
from genvision.errors import ConfigError

NOTHING: Mapping[str, str] = types.MappingProxyType({})
NEAR = 0.6  # of what two last words have in common: step and steps 0.89, lr and dir 0.4
_BOOLEANS = ("true", "false", "yes", "no", "on", "off")  # OmegaConf would take any number too


def typed(schema: type, entries: Mapping[str, Entry], section: str) -> Any:
    """An instance of the dataclass `schema` from its fields' entries; `section` is its place, such as "train".

    Raises ConfigError where a value is not of the field's type, or a field without a default has none.
    """
    hints = get_type_hints(schema)
    for name, entry in entries.items():
        if hints[name] is bool and str(entry.value).lower() not in _BOOLEANS:
            raise _expected(schema, name, entry)
    try:
        merged = _merge(schema, entries)
    except OmegaConfBaseException:
        raise _wrong_type(schema, entries) from None
    for name in OmegaConf.missing_keys(merged):
        raise fault("configs/base.yaml", f"{section}.{name}: no value; set {section}.{name}=...")
    return OmegaConf.to_object(merged)


@cache
def _empty(schema: type) -> Any:
    return OmegaConf.structured(schema)  # merging copies it


def _merge(schema: type, entries: Mapping[str, Entry]) -> Any:
    # merging lifts the read-only flag that OmegaConf puts on frozen dataclasses; assignment would not
    return OmegaConf.merge(_empty(schema), {name: entry.value for name, entry in entries.items()})


def _wrong_type(schema: type, entries: Mapping[str, Entry]) -> ConfigError:
    """The error about the first entry that alone does not fit; OmegaConf does not name the key for every type."""
    for name, entry in entries.items():
        try:
            _merge(schema, {name: entry})
        except OmegaConfBaseException:
            return _expected(schema, name, entry)
    raise AssertionError(f"{schema.__name__} refuses entries together that it takes one by one")


def _expected(schema: type, name: str, entry: Entry) -> ConfigError:
    expected = words(get_type_hints(schema)[name])
    return fault(entry.where, f"{entry.key}: expected {expected}, got {short(entry.value)}")


def words(hint: Any) -> str:
    """A type hint of the schema in words."""
    if get_origin(hint) in (Union, types.UnionType):
        return f"{words(get_args(hint)[0])} or null"
    if get_origin(hint) is Literal:
        return f"one of {', '.join(get_args(hint))}"
    if get_origin(hint) is tuple:
        inner, *rest = get_args(hint)
        count = "" if rest == [...] else f"{1 + len(rest)} "
        return f"a list of {count}{words(inner).split(maxsplit=1)[1]}s"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[hint]


def field_names(schema: type) -> list[str]:
    """The names of a dataclass's fields, in order."""
    return [field.name for field in fields(schema)]


def unknown_key(entry: Entry, valid: Collection[str], usual: Mapping[str, str] = NOTHING) -> ConfigError:
    """The error about a key that is none of `valid`, and what to do instead: as `usual` has it, or the nearest one."""
    below = [key for key in valid if key.startswith(entry.key + ".")]
    if below:
        return fault(entry.where, f"{entry.key} is a section; set one of its keys, such as {below[0]}")
    return fault(entry.where, f"unknown key {short(entry.key)}; {instead(entry.key, valid, usual)}")


def instead(key: str, valid: Collection[str], usual: Mapping[str, str] = NOTHING, prefix: str = "") -> str:
    """What to do about an unknown key: what other projects' word for it stands for here, or the nearest valid one."""
    for word in (key, key.rpartition(".")[2]):
        if word in usual:
            return usual[word]
    if near := nearest(key, valid):
        return f"did you mean {prefix}{near}?"
    return f"choose one of {', '.join(valid)}" if len(valid) < 16 else "genvision train --dry-run prints all keys"


def nearest(key: str, valid: Collection[str]) -> str | None:
    """The valid key most like `key`: one that it goes beyond, else the same last word, then the likest spelling.

    None where no last word is like that of `key`.
    """
    if above := [candidate for candidate in valid if key.startswith(f"{candidate}.")]:
        return max(above, key=len)
    section, _, last = key.rpartition(".")

    def likeness(candidate: str) -> float:
        other_section, _, other_last = candidate.rpartition(".")
        whole = difflib.SequenceMatcher(None, key, candidate).ratio()
        return (
            whole
            + 2 * difflib.SequenceMatcher(None, last, other_last).ratio()
            + difflib.SequenceMatcher(None, section, other_section).ratio()
        )

    def is_near(candidate: str) -> bool:
        return difflib.SequenceMatcher(None, last, candidate.rpartition(".")[2]).ratio() >= NEAR

    return max(filter(is_near, sorted(valid)), key=likeness, default=None)
