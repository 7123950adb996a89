"""The folder of one run: what lies where, how a new one is named, and its status file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from genvision.config import load_config, to_yaml
from genvision.config.schema import Config
from genvision.errors import ConfigError, RunError, StorageError
from genvision.storage import write_text


@dataclass(frozen=True)
class RunFolder:
    """Paths inside one run."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    def write_config(self, config: Config) -> None:
        """The resolved configuration, re-runnable as it is."""
        write_text(self.config, to_yaml(config))

    def read_config(self, overrides: list[str] | None = None) -> Config:
        """The recorded configuration. Raises RunError where this is not a run folder."""
        if not self.config.is_file():
            raise RunError(f"{self.path} is not a run: it has no config.yaml; name a folder below run.dir")
        return load_config(self.config, overrides or [])

    def write_status(self, state: str, **details: Any) -> None:
        """status.json: state (running, finished, failed, diverged, interrupted), step, total_steps, reason."""
        status = {"state": state, **details}
        write_text(self.path / "status.json", json.dumps(status, indent=2) + "\n")

    def state(self) -> str | None:
        """The state in status.json; None before the run has one."""
        try:
            return json.loads((self.path / "status.json").read_text())["state"]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise RunError(f"{self.path}/status.json is damaged; remove it to go on") from error


def create(config: Config) -> RunFolder:
    """A new folder run.dir/run.name; a default name is numbered, an explicit one that exists is refused."""
    try:
        Path(config.run.dir).mkdir(parents=True, exist_ok=True)
        while True:
            path = planned(config)
            try:
                os.mkdir(path)
                return RunFolder(path)
            except FileExistsError:  # a default name may just have been taken by another process
                if config.run.name:
                    raise ConfigError(
                        f"run {path} exists already; go on with --resume {path}, or set another run.name"
                    ) from None
    except OSError as error:
        raise StorageError(f"cannot create a run folder in {config.run.dir}: {error.strerror}; set run.dir") from error


def planned(config: Config) -> Path:
    """The folder `create` would make now."""
    root = Path(config.run.dir)
    if config.run.name:
        return root / config.run.name
    stem = f"{config.family.name}-{config.backbone}-{config.data.name}"
    return next(path for n in count(1) if not (path := root / f"{stem}-{n:03d}").exists())


def locate(path: str) -> RunFolder:
    """The run that a --resume PATH means: a run folder, or one of its checkpoints. Raises RunError for neither."""
    given = Path(path)
    for folder in (given, given.parent.parent):
        if (folder / "config.yaml").is_file():
            return RunFolder(folder)
    raise RunError(f"--resume {path}: no run and no checkpoint lies there; name run.dir/run.name")
