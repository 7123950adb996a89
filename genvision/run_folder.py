"""The folder of one run: what lies where, how a new one is named, its status file, and which one is gone on with."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from genvision.config import config_hash, load_config, to_yaml
from genvision.config.ranges import leaves
from genvision.config.schema import Config, SampleConfig, ScoreConfig
from genvision.errors import ConfigError, GenvisionError, RunError, StorageError
from genvision.storage import alone, write_text

T = TypeVar("T")


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
    def codec(self) -> Path:
        return self.path / "codec.json"

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
            near = such_as(runs_below(self.path) or runs_below(self.path.parent))
            raise RunError(f"{self.path} is not a run: it has no config.yaml; name a folder below run.dir{near}")
        return load_config(self.config, overrides or [])

    def write_status(self, state: str, **details: Any) -> None:
        """status.json: step, total_steps, reason, and the state: running, finished, failed, diverged, interrupted (by
        Control-C) or preempted (by another signal)."""
        status = {"state": state, **details}
        write_text(self.path / "status.json", json.dumps(status, indent=2) + "\n")

    def state(self) -> str | None:
        """The state in status.json; None before the run has one."""
        return self._status("state")

    def reason(self) -> str | None:
        """Why the run ended early, from status.json; None where it did not."""
        return self._status("reason")

    def _status(self, name: str) -> str | None:
        try:
            return json.loads((self.path / "status.json").read_text()).get(name)
        except FileNotFoundError:
            return None
        except (ValueError, AttributeError, OSError) as error:
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


def locate(path: str, runs: str) -> RunFolder:
    """The run that a --resume PATH means: a run folder, or one of its checkpoints. Raises RunError for neither.

    runs  run.dir: where the message looks for what may have been meant
    """
    given = Path(path)
    for folder in (given, given.parent, given.parent.parent):
        if (folder / "config.yaml").is_file():
            return RunFolder(folder)
    root = given if given.is_dir() else Path(runs)
    meant = [root / given.name] if (root / given.name / "config.yaml").is_file() else runs_below(root)
    raise RunError(f"--resume {path}: no run and no checkpoint lies there; name run.dir/run.name{such_as(meant)}")


def runs_below(folder: Path) -> list[Path]:
    """The runs directly below a folder, by name."""
    return sorted(path.parent for path in folder.glob("*/config.yaml"))


def such_as(runs: list[Path]) -> str:
    """The end of a message that asks for the name of a run: a few that are there."""
    return f", such as {' or '.join(map(str, runs[:3]))}" if runs else ""


def resumed(config: Config, resume: str | None) -> tuple[RunFolder | None, Config]:
    """The run that `--resume` goes on with, and its configuration; no folder where a new run is to be started.

    resume  None for a new run, "auto" for the one of run.name if it is there, or a path
    The configuration is the asked one with the budget that the run froze. Raises ConfigError where it differs from the
    recorded one in what trains, and for "auto" without a name; RunError where nothing lies at the path.
    """
    if not resume:
        return None, config
    if resume != "auto":
        folder = locate(resume, config.run.dir)
    elif not config.run.name:
        raise ConfigError("--resume auto looks for the run of one name: set run.name")
    else:
        folder = RunFolder(Path(config.run.dir) / config.run.name)
    if not folder.path.is_dir():
        return None, config
    return folder, _recorded(config, folder) if folder.config.is_file() else config


def resume_hash(config: Config) -> str:
    """What a checkpoint must share with the run that loads it.

    Everything but the budget, the sampling, the score, what is watched and kept on the way, where the images lie and
    which may be left out (they are known by their pixels), how many bad steps may be passed over (they are counted),
    and switches that save memory or time at the same numbers.
    """
    return config_hash(_what_trains(config))


def _what_trains(config: Config) -> Config:
    train = dataclasses.replace(config.train, steps=None, images=None, minutes=None, init_from=None)
    train = dataclasses.replace(train, gradient_checkpointing=False, compile=False, shard=False)
    train = dataclasses.replace(train, save_every_steps=0, keep_checkpoints=0, validate_every_steps=0)
    train = dataclasses.replace(train, validation_images=0, max_bad_steps=0)
    data = dataclasses.replace(config.data, path=None, root=None, download=False, max_bad_fraction=0.0)
    return dataclasses.replace(config, train=train, data=data, sample=SampleConfig(), score=ScoreConfig())


def _recorded(config: Config, folder: RunFolder) -> Config:
    """The asked configuration with the budget the run froze; it must be the recorded one in all that trains."""
    recorded = folder.read_config()
    if resume_hash(recorded) != resume_hash(config):
        key, asked, there = _first_difference(_what_trains(config), _what_trains(recorded))
        raise ConfigError(f"{key}={asked}: {folder.config} has {there}; leave it so, or set another run.name")
    budget = config.train if config.train.minutes is None else recorded.train
    train = dataclasses.replace(config.train, steps=budget.steps, images=budget.images, minutes=budget.minutes)
    return dataclasses.replace(config, train=train)


def _first_difference(ours: Config, theirs: Config) -> tuple[str, Any, Any]:
    """(key, our value, their value) of the first setting that differs, run.* and log.* aside."""
    mine, other = (
        {key: value for key, value in leaves(config) if not key.startswith(("run.", "log."))}
        for config in (ours, theirs)
    )
    return next((key, mine.get(key), other.get(key)) for key in mine | other if mine.get(key) != other.get(key))


@contextmanager
def held(folder: RunFolder) -> Iterator[None]:
    """No other process trains in this folder meanwhile. Raises ConfigError, on all processes, where one does."""
    with ExitStack() as stack:
        agreed(lambda: stack.enter_context(alone(folder.path)))
        yield


def agreed(decide: Callable[[], T]) -> T:
    """What the main process decides, told to the others; its error is everybody's, so that nobody waits for it."""
    outcome: list = [None, None]
    if PartialState().is_main_process:
        try:
            outcome = [decide(), None]
        except GenvisionError as error:
            outcome = [None, error]
    decision, error = broadcast_object_list(outcome)
    if error:
        raise error
    return decision
