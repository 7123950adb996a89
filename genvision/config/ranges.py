"""The ranges that types cannot say: every number of the schema stands in exactly one of these sets."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from genvision.config.document import Layer, fault, short
from genvision.config.groups import ROLES
from genvision.config.schema import Config

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
BUDGETS = ("train.steps", "train.images", "train.minutes")
MEASURED_STEPS = 20  # whose speed turns minutes into steps; in warm-up, where no learning rate hangs on the number

POSITIVE = {
    *("data.height", "data.width", "data.classes", "data.lanes", "data.shuffle_buffer", "data.resident_images"),
    *("family.latent_channels", "family.downsample", "family.mixtures"),
    "family.top_downsample",
    "family.output_scale",
    *("train.steps", "train.images", "train.minutes", "train.batch_size", "train.micro_batch_size"),
    *("train.learning_rate", "train.save_every_steps", "train.keep_checkpoints"),
    *(
        "train.validation_images",
        "log.every_steps",
        "log.grid_images",
        "sample.num_images",
        "sample.steps",
        "sample.temperature",
        "sample.chunk_size",
        "run.threads",
        "run.timeout_minutes",
        "patch",
    ),
    *("trunk.width", "trunk.depth", "trunk.scales", "trunk.multipliers", "trunk.head_width"),
    *("trunk.mlp_ratio", "trunk.token_ratio", "trunk.channel_ratio"),
    *("trunk.window_size", "trunk.linformer_rank", "trunk.performer_features"),
    *("family.log_normal_std", "family.min_snr_gamma", "family.sigma_data"),
}
NOT_NEGATIVE = {
    *("family.free_bits", "family.top_channels", "family.commitment"),
    *("data.crop_padding", "family.beta", "family.beta_warmup_steps", "train.warmup_steps", "train.weight_decay"),
    *("train.clip_norm", "train.max_bad_steps", "train.seed", "train.validate_every_steps", "log.grid_every_steps"),
    *("sample.seed", "sample.guidance", "sample.guidance_interval", "sample.top_k"),
    *("score.num_images", "score.every_steps"),
    "trunk.attention_levels",
}
FRACTION = {"family.label_dropout"}
SHARE = {"sample.top_p", "data.fraction"}
BELOW_ONE = {"data.validation_fraction", "data.max_bad_fraction", "train.betas", "ema.decay", "trunk.dropout"}
MAY_BE_EMPTY = {"trunk.attention_levels"}
CHANNELS = {"data.channels"}
ODD = {"trunk.kernel"}
FINITE = {"family.log_normal_mean"}  # any number
LEVELS = {"family.fsq_levels", "family.codebook_size"}

_RULES: tuple[tuple[set[str], Callable[[Any], bool], str], ...] = (
    (POSITIVE, lambda x: x > 0, "more than 0"),
    (NOT_NEGATIVE, lambda x: x >= 0, "0 or more"),
    (FRACTION, lambda x: 0 <= x <= 1, "from 0 to 1"),
    (SHARE, lambda x: 0 < x <= 1, "more than 0 and at most 1"),
    (BELOW_ONE, lambda x: 0 <= x < 1, "from 0 to below 1"),
    (CHANNELS, lambda x: 1 <= x <= 4, "from 1 to 4"),
    (ODD, lambda x: x > 0 and x % 2 == 1, "an odd number, such as 3"),
    (LEVELS, lambda x: x >= 2, "2 or more"),
)


def check_ranges(config: Config, origin: Layer) -> None:
    """Raises ConfigError about the first value out of its range; `origin` says where each key was set."""
    for key, value in leaves(config):
        for number in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                _check_number(key, number, origin)
        if value in ([], ()) and rule_key(key) not in MAY_BE_EMPTY:
            raise _fault(origin, key, "must not be empty")
    _check_budget(config, origin)
    _check_data(config, origin)
    if config.run.name is not None and not RUN_NAME.fullmatch(config.run.name):
        raise _fault(origin, "run.name", f"{short(config.run.name)!r}: letters, digits, . _ - (at most 100)")
    if not config.run.dir:
        raise _fault(origin, "run.dir", "must not be empty; name the folder that holds the runs")


def leaves(section: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every setting of a resolved config."""
    if is_dataclass(section):
        for field in fields(section):
            yield from leaves(getattr(section, field.name), f"{prefix}.{field.name}".lstrip("."))
    elif isinstance(section, dict):
        for name, value in section.items():
            yield f"{prefix}.{name}", value
    else:
        yield prefix, section


def rule_key(key: str) -> str:
    """The name under which the sets above hold a key: options of trunks and stems have one rule in all roles."""
    role, _, rest = key.partition(".")
    return rest if role in ROLES else key


def _check_number(key: str, number: float, origin: Layer) -> None:
    if not math.isfinite(number) or abs(number) >= 2**63:
        raise _fault(origin, key, f"{short(number)} is no usable number; give a finite one")
    for keys, holds, range_words in _RULES:
        if rule_key(key) in keys and not holds(number):
            raise _fault(origin, key, f"must be {range_words}, not {short(number)}")


def _check_budget(config: Config, origin: Layer) -> None:
    train = config.train
    given = [key for key in BUDGETS if getattr(train, key.partition(".")[2]) is not None]
    if len(given) != 1:
        what = "none of them" if not given else " and ".join(given)
        raise _fault(origin, given[0] if given else "train.steps", f"give one of {', '.join(BUDGETS)}; here: {what}")
    if train.minutes is not None and train.warmup_steps < MEASURED_STEPS:
        needed = f"must be at least {MEASURED_STEPS} with train.minutes, not {train.warmup_steps}"
        raise _fault(origin, "train.warmup_steps", f"{needed} (their speed sets the number of steps)")
    if train.micro_batch_size is not None and train.micro_batch_size > train.batch_size:
        raise _fault(origin, "train.micro_batch_size", f"must be at most train.batch_size, {train.batch_size}")


def _check_data(config: Config, origin: Layer) -> None:
    data = config.data
    if data.name in ("folder", "stream"):
        if not data.path:
            where, what = origin["data.name"].where, "PATH" if data.name == "folder" else "SOURCE"
            raise fault(where, f"data.path: what to read is missing; write data={data.name}:{what}")
        for name in ("height", "width", "channels"):
            if getattr(data, name) is None:
                raise _fault(origin, f"data.{name}", f"a {data.name} has no size of its own; give a number")
        _check_both_sides(data.name, origin)
    elif data.path is not None:
        raise _fault(origin, "data.path", f"only data=folder and data=stream have one, not {short(data.name)}")
    if data.name == "stream":
        _check_stream(config, origin)
    if data.name not in ("folder", "stream") and data.max_bad_fraction:
        raise _fault(origin, "data.max_bad_fraction", f"is for folders and streams, and data is {short(data.name)}")
    for name in ("classes", "image_column", "label_column", "lanes", "shuffle_buffer", "resident_images"):
        if data.name != "stream" and getattr(data, name) is not None:
            raise _fault(origin, f"data.{name}", f"is an option of data=stream, and data is {short(data.name)}")


def _check_both_sides(name: str, origin: Layer) -> None:
    """The file of the source has a size for who gives none; one side of it beside one that was given fits nothing."""
    of_file = {side: origin[f"data.{side}"].where.startswith("configs/data/") for side in ("height", "width")}
    if len(set(of_file.values())) == 2:
        given, missing = sorted(of_file, key=lambda side: of_file[side])
        raise _fault(origin, f"data.{given}", f"a {name} has no size of its own; give data.{missing} too")


def _check_stream(config: Config, origin: Layer) -> None:
    data = config.data
    if data.labels and data.classes is None:
        raise _fault(origin, "data.classes", "a stream does not say how many; give a number, or set data.labels=false")
    for name in ("lanes", "shuffle_buffer", "resident_images"):
        if getattr(data, name) is None:
            raise _fault(origin, f"data.{name}", "is needed by data=stream; give a number")
    if data.validation_fraction or data.fraction != 1:
        name = "validation_fraction" if data.validation_fraction else "fraction"
        raise _fault(origin, f"data.{name}", "a stream has no share of its images; leave it out")
    if config.train.batch_size % (data.lanes or 1):
        raise _fault(origin, "data.lanes", f"must divide train.batch_size, {config.train.batch_size}")


def _fault(origin: Layer, key: str, problem: str) -> Exception:
    entry = origin.get(key)
    return fault(entry.where if entry else "config", f"{entry.key if entry else key}: {problem}")
