"""Extractors of a user's own: one class each, found by name in this process or among installed packages.

A package offers its classes as entry points of the group `genvision.extractors`, each under the name of its extractor;
what has to hold of a class stands at `register_extractor`, with an example in docs/SCORES.md.
"""

from __future__ import annotations

import hashlib
import inspect
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from genvision.errors import ConfigError
from genvision.evaluation.weights import Weights, verified

GROUP = "genvision.extractors"
STATED = {"name": str, "metric_name": str, "resize": str, "dim": int}

_REGISTERED: dict[str, type] = {}


def register_extractor(cls: Any) -> Any:
    """Make a torch module an extractor of this process; returns it, so that it can decorate the class.

    cls.name         as `score.extractor=` and `--extractor` ask for it
    cls.metric_name  of its Fréchet distance, "FD-..."; never FID, which is Inception's
    cls.resize       how images reach the size it works at, in words; part of the protocol
    cls.dim          D, its number of features
    cls.weights_sha256  how the SHA-256 of its weights file begins; without it any file will do, and is named by its own
    cls(weights)     weights: Path of `--extractor-weights`, None where none was given
    forward(images)  (B,1|3,H,W) uint8 -> features (B,D) float32, or those and class logits (B,K)
    Raises ConfigError where one of these does not hold, or the name is that of another class.
    """
    from genvision.evaluation.extractors import EXTRACTORS

    for attribute, kind in STATED.items():
        if not isinstance(getattr(cls, attribute, None), kind):
            raise ConfigError(f"extractor class {cls.__name__}: {attribute} has to be a {kind.__name__}; state it")
    name: str = cls.name
    if not cls.metric_name.startswith("FD-"):
        raise ConfigError(
            f"extractor {name}: metric_name={cls.metric_name!r}; call it FD-..., only Inception's distance is FID"
        )
    if name in EXTRACTORS or source_sha256(_REGISTERED.setdefault(name, cls)) != source_sha256(cls):
        raise ConfigError(f"extractor {name}: another has that name already; choose one of your own")
    return cls


def registered_names() -> list[str]:
    """Of all extractors that this process or an installed package offers; imports none."""
    return sorted({*_REGISTERED, *entry_points(group=GROUP).names})


def registered(name: str) -> Any:
    """The class of that name, or None. Raises ConfigError where a package offers one that cannot be imported."""
    if name in _REGISTERED:
        return _REGISTERED[name]
    for offer in entry_points(group=GROUP, name=name):
        try:
            cls = register_extractor(offer.load())
        except (ImportError, AttributeError, SyntaxError) as error:
            raise ConfigError(
                f"extractor {name}: {offer.value} cannot be imported ({error}); mend its package"
            ) from error
        if cls.name != name:
            raise ConfigError(f"extractor {name}: {offer.value} calls itself {cls.name}; use one name for both")
        return cls
    return None


def registered_weights(cls: Any, given: str | None) -> Weights | None:
    """The file that was given, verified where the class states its hash; None where none was given."""
    stated = getattr(cls, "weights_sha256", "")
    return verified(Path(given), stated, f"give the file that {cls.__name__} was written for") if given else None


def source_sha256(cls: type) -> str:
    """Of the text of the class: other code gives other features, and they must not come from the cache.

    Raises ConfigError for a class without a file.
    """
    try:
        return hashlib.sha256(inspect.getsource(cls).encode()).hexdigest()
    except (OSError, TypeError) as error:
        raise ConfigError(f"extractor class {cls.__name__}: its source cannot be read; define it in a file") from error
