"""The networks of a family: which backbone and trunk serve each role, and the options that trunk runs with.

Options are layered: the trunk's defaults, then the size file, then every recipe, file and command line in turn, each
with its `trunk.*` below its `<role>.trunk.*`. The size file lies just below the layer that names the size, so that
`--config FILE size=base` replaces the sizes that FILE had resolved and keeps its other options.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from genvision.config.attention import laid_over, settled
from genvision.config.document import Entry, Layer, fault, short
from genvision.config.groups import ROLES
from genvision.config.schema import NetworkConfig
from genvision.config.trunks import BACKBONES, FAMILY_ROLES, TRUNK_CONFIGS, TRUNK_ROLES
from genvision.config.typed import field_names, instead, typed, unknown_key
from genvision.config.usual import USUAL


def check_roles(family: str, layers: list[Layer]) -> None:
    """Raises ConfigError where a setting belongs to a network that `family` does not have."""
    for layer in layers:
        for key, entry in layer.items():
            role = key.partition(".")[0]
            if role in ROLES and role not in FAMILY_ROLES[family] and entry.value is not None:
                networks = " and ".join(FAMILY_ROLES[family])
                raise fault(entry.where, f"{entry.key}: family={family} has no {role}; its networks: {networks}")


def network(role: str, backbone: Entry, size: Layer, layers: list[Layer], level: int) -> tuple[NetworkConfig, Layer]:
    """One resolved role and the entry behind each of its options (keys such as "trunk.width", "patch").

    backbone  the run's own; a role may name another
    size      settings of the size file: "<role>.<trunk>.<option>"
    layers    the settings of the user, lowest first; the size file lies below layers[level]
    """
    backbone = next((layer[f"{role}.backbone"] for layer in reversed(layers) if f"{role}.backbone" in layer), backbone)
    if backbone.value not in BACKBONES:
        valid = ", ".join(BACKBONES)
        raise fault(backbone.where, f"{backbone.key}: no backbone {short(backbone.value)}; choose one of {valid}")
    name = _trunk_name(role, backbone, layers)
    prefix = f"{role}.{name}."
    sized = {key.removeprefix(prefix): entry for key, entry in size.items() if key.startswith(prefix)}
    if not sized:  # its defaults would pass for that size
        file = next(iter(size.values())).where.partition(":")[0] if size else "the size"
        raise fault(file, f"says nothing about {role}.{name}; add its width and depth there, or choose another size")
    sized = {"patch" if key == "patch" else f"trunk.{key}": entry for key, entry in sized.items()}
    mine = [_options(layer, role, name) for layer in layers]
    options: Layer = {}
    for part in (*mine[:level], sized, *mine[level:]):
        options = laid_over(options, part)
    if role != "denoiser" and "patch" in options and options["patch"].value != "1":
        entry = options["patch"]
        raise fault(entry.where, f"{entry.key}: only a denoiser has a patch; set family.downsample, or nothing")
    options["backbone"] = backbone
    if name == "vit":
        options = settled(options, role)
    return _typed_network(role, name, options), options


def _trunk_name(role: str, backbone: Entry, layers: list[Layer]) -> str:
    """The trunk of a role: the topmost layer that says anything about it decides; else the backbone's own."""
    entry = Entry("backbone", BACKBONES[str(backbone.value)][role], "")
    for layer in reversed(layers):
        found = layer.get(f"{role}.trunk.name") or layer.get("trunk.name")
        if found or f"{role}.backbone" in layer:
            entry = found or entry
            break
    able = [name for name, roles in TRUNK_ROLES.items() if role in roles]
    if entry.value not in able:
        problem = "no such trunk" if entry.value not in TRUNK_CONFIGS else f"cannot serve as {role}"
        raise fault(entry.where, f"{entry.key}={short(entry.value)}: {problem}; choose one of {', '.join(able)}")
    return str(entry.value)


def _options(layer: Layer, role: str, name: str) -> Layer:
    """What one layer says about the trunk `name` in `role`: "patch" and "trunk.<option>"."""
    found = {key: entry for key, entry in layer.items() if key.startswith("trunk.")}
    own = layer.get(f"{role}.trunk.name")
    if own is None or own.value == name:  # options that a file resolved for another trunk do not apply to this one
        prefix = f"{role}."
        found |= {key.removeprefix(prefix): entry for key, entry in layer.items() if key.startswith(prefix)}
    found.pop("backbone", None)
    found.pop("trunk.name", None)
    return found


def _typed_network(role: str, name: str, options: Mapping[str, Entry]) -> NetworkConfig:
    valid = field_names(TRUNK_CONFIGS[name])
    trunk = {key.removeprefix("trunk."): entry for key, entry in options.items() if key.startswith("trunk.")}
    plain = {key: entry for key, entry in options.items() if not key.startswith("trunk.")}
    for key, entry in plain.items():
        if key not in ("backbone", "patch"):
            raise unknown_key(entry, [f"{role}.backbone", f"{role}.patch", *(f"{role}.trunk.{o}" for o in valid)])
    for option, entry in trunk.items():
        if option not in valid:
            remedy = instead(option, valid, USUAL, prefix=f"{role}.trunk.")
            problem = f"trunk {name} of the {role} has no such option; {remedy}"
            raise fault(entry.where, f"{entry.key}: {problem}")
    resolved: dict[str, Any] = asdict(typed(TRUNK_CONFIGS[name], trunk, f"{role}.trunk"))
    jsonable = {key: list(value) if isinstance(value, tuple) else value for key, value in resolved.items()}
    chosen = typed(NetworkConfig, plain, role)
    return NetworkConfig(backbone=chosen.backbone, patch=chosen.patch, trunk=jsonable)
