"""`genvision sample`: images from a run's EMA weights into a folder of PNGs or an NPZ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from genvision.errors import ConfigError
from genvision.loading import asked, load
from genvision.sampling import draw_images, processes, write_images
from genvision.sampling.write import refuse_existing


def sample_to(
    out: Path, source: str, num_images: int, *, seed: int = 0, labels: str | None = None, **options: Any
) -> str:
    """Draw and write; returns the line to print.

    source   run folder, one of its checkpoints, exported folder or Hub id
    labels   "3" or "0,1,2", repeated in turn; None: k mod classes
    options  of the family's sampler; None means the run's own
    Raises ConfigError for an option that the family does not take, DataError where `out` exists.
    """
    refuse_existing(out)
    state = processes()
    pipeline = load(source).to(state.device)
    family = pipeline.generator
    settings = {**pipeline.config.sampling, **asked(family, options)}
    wanted = parse_labels(labels, num_images)
    used = family.check_labels(None if wanted is None else torch.tensor(wanted), num_images)
    images = draw_images(family, num_images, labels=used, seed=seed, progress=True, **settings)
    if state.is_main_process:
        write_images(images, out, labels=used)
    caveat = f" ({family.caveat})" if family.caveat else ""
    guide = f", guided by {options['guide']}" if options.get("guide") else ""
    return f"{out}: {num_images} images from the EMA weights of {source}, seed {seed}{guide}{caveat}"


def parse_labels(text: str | None, n: int) -> list[int] | None:
    """ "3" or "0,1,2" -> n labels, the given ones repeated in turn; None -> None. Raises ConfigError."""
    if text is None:
        return None
    try:
        given = [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--labels {text}: write whole numbers separated by commas") from None
    return [given[k % len(given)] for k in range(n)]
