"""Configuration: frozen dataclasses, resolved from groups of YAML files and overrides. Nothing here imports torch."""

from __future__ import annotations

from genvision.config.groups import CONFIG_DIR
from genvision.config.load import config_hash, load_config, recorded_hash, to_yaml
from genvision.config.schema import Config

__all__ = ["CONFIG_DIR", "Config", "config_hash", "load_config", "recorded_hash", "to_yaml"]
