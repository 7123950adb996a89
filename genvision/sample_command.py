"""`genvision sample`: images from a run's EMA weights into a folder of PNGs or an NPZ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from genvision.data.decode import EXTENSIONS
from genvision.errors import ConfigError
from genvision.loading import asked
from genvision.pipelines import load
from genvision.sampling import draw_images, log_likelihoods, processes, require_exact, write_images
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

    source          run folder, one of its checkpoints, exported folder or Hub id
    labels          "3" or "0,1,2", repeated in turn; None: k mod classes
    log_likelihood  also keep log p of each image, in nats, as `log_likelihood_nats` of the NPZ
    options         of the family's sampler; None means the run's own
    Raises ConfigError for an option that the family does not take or an `out` that is neither folder nor NPZ, DataError
    where it exists.
    """
    if out.suffix.lower() in EXTENSIONS:
        raise ConfigError(f"--out {out}: images go into a folder or a FILE.npz; write --out {out.with_suffix('')}")
    refuse_existing(out)
    if log_likelihood and out.suffix != ".npz":
        raise ConfigError(f"--log-likelihood has no place in a folder of PNGs; write --out {out}.npz")
    state = processes()
    pipeline = load(source).to(state.device)
    family = pipeline.generator
    if log_likelihood:
        require_exact(family)
    settings = {**pipeline.config.sampling, **asked(family, options)}
    wanted = parse_labels(labels, num_images)
    used = family.check_labels(None if wanted is None else torch.tensor(wanted), num_images)
    images = draw_images(family, num_images, labels=used, seed=seed, progress=True, **settings)
    size, nats = settings["chunk_size"], None
    if log_likelihood:
        nats = log_likelihoods(family, images, labels=used, chunk_size=size, progress=True)
    if state.is_main_process:
        write_images(images, out, labels=used, log_likelihood_nats=nats)
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
