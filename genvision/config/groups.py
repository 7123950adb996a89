"""Groups: which file of configs/<group>/ a word such as `backbone=vit` selects, and what it replaces."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from genvision.config.document import COMMAND_LINE, Entry, Layer, fault, read_file, short
from genvision.config.schema import Role
from genvision.config.typed import nearest

_PACKAGE = Path(__file__).resolve().parents[1]
# An installed package carries its own copy; in a checkout the configs lie beside the package.
CONFIG_DIR = _PACKAGE / "configs" if (_PACKAGE / "configs").is_dir() else _PACKAGE.parent / "configs"

ROLES: tuple[str, ...] = get_args(Role)
# group -> the key that says which one was chosen, in the order in which their files are merged
GROUPS = {"data": "data.name", "family": "family.name", "backbone": "backbone", "size": "size"}
# what a group named later takes away from the files before it (a size lies over them instead, see `roles`)
_REPLACES = {
    "data": ("data.",),
    "family": ("family.", *(f"{role}." for role in ROLES)),
    "backbone": ("trunk.", *(f"{role}." for role in ROLES)),
    "size": (),
}


def choices(group: str) -> list[str]:
    """The values of a group: the file names in configs/<group>/."""
    return sorted(path.stem for path in (CONFIG_DIR / group).glob("*.yaml"))


def group_layer(group: str, choice: Entry) -> Layer:
    """The settings of configs/<group>/<choice>.yaml. Raises ConfigError listing the valid values."""
    valid, value = choices(group), choice.value
    if value not in valid:
        raise fault(choice.where, f"{group}={short(value)} {_unknown(group, value, valid)}")
    name = f"configs/{group}/{value}.yaml"
    return with_group_names(read_file(CONFIG_DIR / group / f"{value}.yaml", name))


def _unknown(group: str, value: str | list[str] | None, valid: list[str]) -> str:
    """What is wrong with a choice that is none, and what it may have meant."""
    text = value if isinstance(value, str) else ""
    folder = group == "data" and text and Path(text).is_dir()
    if Path(text).suffix in (".yaml", ".yml") and not folder:
        lies = f"lies in {CONFIG_DIR / group}, its name without .yaml"
        return f"is no name; a {group} of your own {'is given with --config' if group == 'recipe' else lies}"
    near = f"folder:{text}" if folder else nearest(text, valid) if text else None
    return f"is unknown{f' (did you mean {near}?)' if near else ''}; choose one of {', '.join(valid)}"


def with_group_names(layer: Layer) -> Layer:
    """`family: vae` reads as `family.name: vae`; `data: folder:PATH` and `data: stream:SOURCE` as name and path."""
    named: Layer = {}
    for key, entry in layer.items():
        if key == "data" and isinstance(entry.value, str) and entry.value.startswith(("folder:", "stream:")):
            name, _, path = entry.value.partition(":")
            named["data.name"] = Entry("data.name", name, entry.where)
            named["data.path"] = Entry("data.path", path, entry.where)
        elif key in ("data", "family"):
            named[f"{key}.name"] = entry
        else:
            named[key] = entry
    return named


def level_of(group: str, layers: list[Layer]) -> int | None:
    """The index of the last layer that names `group`; None where none does."""
    return max((i for i, layer in enumerate(layers) if GROUPS[group] in layer), default=None)


def without_replaced(layers: list[Layer]) -> list[Layer]:
    """The layers without the settings that belong to a group which a later layer names again."""
    kept = []
    for i, layer in enumerate(layers):
        later = [group for group, key in GROUPS.items() if any(key in other for other in layers[i + 1 :])]
        gone = tuple(prefix for group in later for prefix in _REPLACES[group])
        kept.append({key: entry for key, entry in layer.items() if not key.startswith(gone or "\0")})
    return kept


def chosen_recipe(file: Layer | None, cli: Layer) -> Entry | None:
    """The recipe's name, taken out of the layer that names it; quickstart where nothing at all was chosen."""
    if file is not None:
        if "recipe" in cli:
            raise fault(COMMAND_LINE, "recipe= and --config are two answers to one question; give one of them")
        return file.pop("recipe", None)
    if "recipe" in cli:
        return cli.pop("recipe")
    if any(key in cli for key in GROUPS.values()):
        return None
    return Entry("recipe", "quickstart", COMMAND_LINE)
