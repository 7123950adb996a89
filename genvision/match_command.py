"""What `genvision match` prints and writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from genvision.build import cost
from genvision.config.schema import Config
from genvision.config.trunks import FAMILY_ROLES, TRUNK_CONFIGS
from genvision.errors import ConfigError
from genvision.matching import Match, coded_spec, match
from genvision.step_time import step_seconds
from genvision.storage import write_text

SHARED = ("backbone=", "trunk.width=", "trunk.mlp_ratio=", "trunk.channel_ratio=")
LINE = "{:<16}{:<10}{:>12}{:>16}{:>14}{:>10}  {}"
HEAD = LINE.format("family", "backbone", "parameters", "MACs/image", "ms/image", "mismatch", "options")


def match_cells(words: Sequence[str], *, by: str, target: float | None, tolerance: float, out: Path | None) -> str:
    """Match the backbones of the family among `words`, or of each family, and write a size file of the outcome.

    Returns a table. Raises ConfigError as `match` does, and where the words settle what is to be found.
    """
    for word in words:
        if word.startswith(SHARED):
            raise ConfigError(f"{word} settles what match is to find; leave it out")
    named = any(word.startswith("family=") for word in words)
    lines: list[str] = [HEAD]
    size = OmegaConf.create({})
    for family in [[]] if named else [[f"family={name}"] for name in FAMILY_ROLES]:
        for found in match([*words, *family], by=by, target=target, tolerance=tolerance):
            lines.append(row(found))
            size.merge_with(size_entries(found.config))
    if out:
        told = " ".join(["genvision match", f"--by {by}", *words])
        write_text(out, f"# Backbones of equal {by} within {tolerance:.1%}: {told}\n{OmegaConf.to_yaml(size)}")
        lines.append(f"written to {out}")
    return "\n".join(lines)


def row(found: Match) -> str:
    config, spec = found.config, coded_spec(found.config)
    counted, seconds = cost(config, spec), step_seconds(config, spec)
    numbers = (
        f"{counted.parameters:,}",
        f"{counted.macs_per_image:,}",
        f"{1000 * seconds:.2f}",
        f"{found.mismatch:+.2%}",
    )
    return LINE.format(config.family.name, found.backbone, *numbers, " ".join(found.options) or f"size={config.size}")


def size_entries(config: Config) -> dict[str, Any]:
    """What a size file says of this cell: role -> trunk -> its options that are not defaults."""
    return {
        role: {getattr(config, role).trunk["name"]: dict(_settings(config, role))}
        for role in FAMILY_ROLES[config.family.name]
    }


def _settings(config: Config, role: str) -> Iterator[tuple[str, Any]]:
    network = getattr(config, role)
    usual = vars(TRUNK_CONFIGS[network.trunk["name"]]())
    if role == "denoiser":
        yield "patch", network.patch
    for name, value in network.trunk.items():
        if name in ("width", "depth") or value != usual[name]:
            yield name, value
