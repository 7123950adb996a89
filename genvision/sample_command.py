"""`genvision sample`: images from a run's EMA weights into a folder of PNGs or an NPZ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from genvision.errors import ConfigError
from genvision.pipelines import load
from genvision.sampling import processes, write_images
from genvision.sampling.write import refuse_existing


def sample_to(
    out: Path,
    source: str,
    num_images: int,
    *,
    seed: int = 0,
    labels: str | None = None,
    log_likelihood: bool = False,
    **options: Any,
) -> str:
    """Draw and write; returns the line to print.

    source          run folder, exported folder or Hub id
    labels          "3" or "0,1,2", repeated in turn; None: k mod classes
    log_likelihood  also keep log p of each image, in nats, as `log_likelihood_nats` of the NPZ
    options         of the family's sampler; None means the run's own
    Raises ConfigError for an option that the family does not take, DataError where `out` exists.
    """
    refuse_existing(out)
    if log_likelihood and out.suffix != ".npz":
        raise ConfigError(f"--log-likelihood has no place in a folder of PNGs; write --out {out}.npz")
    state = processes()
    pipeline = load(source).to(state.device)
    family = pipeline.generator
    given = {name: value for name, value in options.items() if value is not None}
    if foreign := sorted(given.keys() - set(family.sample_options)):
        flag = foreign[0].replace("_", "-")
        raise ConfigError(f"--{flag} means nothing to family={pipeline.config.family}; leave it out")
    asked = parse_labels(labels, num_images)
    given |= {"log_likelihood": True} if log_likelihood else {}
    drawn = pipeline(num_images, labels=asked, seed=seed, output_type="pt", progress=True, **given)
    if state.is_main_process:
        used = family.check_labels(None if asked is None else torch.tensor(asked), num_images)
        write_images(drawn.images, out, labels=used, log_likelihood_nats=drawn.log_likelihood_nats)
    return f"{out}: {num_images} images from the EMA weights of {source}, seed {seed}"


def parse_labels(text: str | None, n: int) -> list[int] | None:
    """ "3" or "0,1,2" -> n labels, the given ones repeated in turn; None -> None. Raises ConfigError."""
    if text is None:
        return None
    try:
        given = [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--labels {text}: write whole numbers separated by commas") from None
    return [given[k % len(given)] for k in range(n)]
