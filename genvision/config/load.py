"""From a command line to a Config in which everything is resolved, and back to YAML that gives the same Config.

Order: base <- data <- family <- backbone <- recipe <- --config file <- `a.b=c`; the size file concerns networks alone
and is laid between by `roles`. A group that a later source names again replaces what earlier files said about it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from genvision.config.addresses import refuse_secrets
from genvision.config.applies import check_applies, refuse_of_another_family
from genvision.config.document import Entry, Layer, fault, read_file, read_overrides
from genvision.config.groups import (
    CONFIG_DIR,
    GROUPS,
    ROLES,
    chosen_recipe,
    group_layer,
    level_of,
    with_group_names,
    without_replaced,
)
from genvision.config.ranges import BUDGETS, check_ranges
from genvision.config.roles import check_roles, network
from genvision.config.schema import (
    FAMILY_CONFIGS,
    CodecConfig,
    Config,
    DataConfig,
    EmaConfig,
    LogConfig,
    RunConfig,
    SampleConfig,
    ScoreConfig,
    TrainConfig,
)
from genvision.config.trunks import FAMILY_ROLES, TRUNK_CONFIGS
from genvision.config.typed import field_names, typed, unknown_key
from genvision.config.usual import USUAL

_SECTIONS = {
    "data": DataConfig,
    "codec": CodecConfig,
    "train": TrainConfig,
    "log": LogConfig,
    "ema": EmaConfig,
    "sample": SampleConfig,
    "score": ScoreConfig,
    "run": RunConfig,
}


def load_config(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """The resolved Config of a YAML file (a recipe, or any run's config.yaml) and `a.b=c` overrides.

    path       None: no file. Without a file and without a group among the overrides, recipe=quickstart
    overrides  "train.steps=100"; a group by its name: "backbone=vit", "data=folder:PATH"
    Raises ConfigError, one line: where, which key, what is wrong, what to do.
    """
    user = _user_layers(path, overrides)
    base = with_group_names(read_file(CONFIG_DIR / "base.yaml", "configs/base.yaml"))
    names = {group: _chosen(key, [base, *user]) for group, key in GROUPS.items()}
    size_level = level_of("size", user) or 0
    files = {group: group_layer(group, name) for group, name in names.items()}
    user = without_replaced(user)
    backbone, size, family = (str(names[group].value) for group in ("backbone", "size", "family"))
    if family not in FAMILY_CONFIGS:
        raise fault(names["family"].where, f"family={family}: the code knows {', '.join(FAMILY_CONFIGS)}")
    check_roles(family, user)
    below = [base, files["data"], files["family"], files["backbone"]]
    merged = _overlaid([*below, *user])
    _check_keys([*below, *user], family)
    merged["family.name"], merged["data.name"] = names["family"], names["data"]

    schemas = _SECTIONS | {"family": FAMILY_CONFIGS[family]}
    sections: dict[str, Any] = {name: typed(schema, _section(merged, name), name) for name, schema in schemas.items()}
    for role in FAMILY_ROLES[family]:
        sections[role], options = network(role, names["backbone"], files["size"], user, size_level)
        merged |= {f"{role}.{key}": entry for key, entry in options.items()}
    config = Config(backbone=backbone, size=size, **sections)
    check_ranges(config, merged)
    check_applies(config.family, merged, files["family"])
    return config


def to_yaml(config: Config) -> str:
    """The config as YAML: every setting, nothing left to resolve; load_config gives an equal Config from it."""
    return OmegaConf.to_yaml(OmegaConf.create(_plain(config)))


def config_hash(config: Config, *, seedless: bool = False) -> str:
    """Hex SHA-256 of everything that decides what is trained and drawn: the config without run.* and log.*.

    seedless  without train.seed too: equal for a cell that was trained again
    """
    return _hash(_plain(config), seedless)


def recorded_hash(path: Path, *, seedless: bool = False) -> str:
    """The `config_hash` of a run's config.yaml as it was written, by whatever version."""
    return _hash(OmegaConf.to_container(OmegaConf.load(path)), seedless)


def _hash(plain: Any, seedless: bool) -> str:
    decides = {key: value for key, value in plain.items() if key not in ("run", "log")}
    if seedless:
        decides["train"] = {key: value for key, value in decides["train"].items() if key != "seed"}
    return hashlib.sha256(json.dumps(decides, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _plain(config: Config) -> dict[str, Any]:
    """The config as dicts, lists and scalars."""
    return json.loads(json.dumps(asdict(config), allow_nan=False))


def _user_layers(path: str | Path | None, overrides: Sequence[str]) -> list[Layer]:
    """What the user said, lowest first: the recipe, the file, the command line."""
    cli = with_group_names(read_overrides(overrides, raw_keys=("recipe", *GROUPS)))
    file = None if path is None else with_group_names(read_file(Path(path), _shown(Path(path))))
    for layer in (file or {}, cli):
        refuse_secrets(layer)  # before any other message could show one
    recipe = chosen_recipe(file, cli)
    return [{} if recipe is None else group_layer("recipe", recipe), file or {}, cli]


def _shown(path: Path) -> str:
    """The path as a message shows it: relative to the working folder where it lies below."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(path)


def _chosen(key: str, layers: list[Layer]) -> Entry:
    return next(layer[key] for layer in reversed(layers) if key in layer)


def _overlaid(layers: list[Layer]) -> Layer:
    """Later layers over earlier ones; a budget in a later layer takes the place of another kind in an earlier one."""
    merged: Layer = {}
    for layer in layers:
        if any(layer[key].value is not None for key in BUDGETS if key in layer):
            merged = {key: entry for key, entry in merged.items() if key not in BUDGETS}
        merged |= layer
    return merged


def _section(merged: Layer, name: str) -> Layer:
    prefix = f"{name}."
    return {key.removeprefix(prefix): entry for key, entry in merged.items() if key.startswith(prefix)}


def _check_keys(layers: list[Layer], family: str) -> None:
    """Raises ConfigError at the first key that is not a setting; options of networks are left to their trunks."""
    valid = set(_valid_keys(family))
    for layer in layers:
        for key, entry in layer.items():
            section = key.partition(".")[0]
            empty_role = key in ROLES and entry.value is None
            if key not in valid and not empty_role and not (section in ("trunk", *ROLES) and "." in key):
                refuse_of_another_family(entry, family)
                words = () if "." in key else ("recipe", *GROUPS)
                raise unknown_key(entry, {*valid, *words}, USUAL)


def _valid_keys(family: str) -> Iterator[str]:
    yield from ("backbone", "size")
    for name, schema in (_SECTIONS | {"family": FAMILY_CONFIGS[family]}).items():
        yield from (f"{name}.{field}" for field in field_names(schema))
    for role in FAMILY_ROLES[family]:
        yield from (f"{role}.backbone", f"{role}.patch", f"{role}.trunk.name")
    for schema in TRUNK_CONFIGS.values():
        yield from (f"trunk.{field}" for field in field_names(schema))
