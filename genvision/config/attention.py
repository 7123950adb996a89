"""The options that one kind of attention has and the others lack: set with it, left behind with it, never ignored."""

from __future__ import annotations

from genvision.config.document import Entry, Layer, fault, short
from genvision.config.trunks import ATTENTION_OPTIONS, ATTENTION_ROLES

KIND = "trunk.attention"


def laid_over(options: Layer, part: Layer) -> Layer:
    """The options of a later source over those of earlier ones; a kind it names leaves other kinds' options behind."""
    if KIND in part:
        others = {f"trunk.{own}" for kind, (own, _) in ATTENTION_OPTIONS.items() if kind != part[KIND].value}
        options = {key: entry for key, entry in options.items() if key not in others}
    return options | part


def settled(options: Layer, role: str) -> Layer:
    """The options of an attention trunk, its kind's own option filled in where nobody set it.

    Raises ConfigError where the kind cannot serve the role, or an option belongs to another kind.
    """
    chosen = options.get(KIND, Entry(KIND, "full", "default"))
    able = [kind for kind, roles in ATTENTION_ROLES.items() if role in roles]
    if chosen.value in ATTENTION_ROLES and chosen.value not in able:
        problem = f"cannot serve as {role}; choose one of {', '.join(able)}"
        raise fault(chosen.where, f"{chosen.key}={chosen.value}: {problem}")
    filled = dict(options)
    for kind, (own, value) in ATTENTION_OPTIONS.items():
        key = f"trunk.{own}"
        given = options.get(key)
        if given is None or given.value is None:
            filled[key] = Entry(key, str(value) if kind == chosen.value else None, "default")
        elif kind != chosen.value:
            problem = f"an option of trunk.attention={kind}, but the {role} has {short(chosen.value)}; leave it out"
            raise fault(given.where, f"{given.key}: {problem}")
    return filled
