"""The codec of a run: the autoencoder that `codec.run` names, its latents measured once and remembered."""

from __future__ import annotations

import json

from genvision.config.schema import Config
from genvision.data import ImageSet
from genvision.errors import ConfigError
from genvision.evaluation.batches import batches
from genvision.families.autoencoder import Autoencoder
from genvision.families.codec import Codec
from genvision.families.latent_codec import make_codec, measure, unmeasured
from genvision.pipelines import load_named
from genvision.run_folder import RunFolder
from genvision.spec import ImageSpec

MEASURED_IMAGES = 2048  # of the training split; a channel's mean and deviation over their cells are exact enough


def open_codec(config: Config, spec: ImageSpec) -> Codec | None:
    """The codec, its latents not yet measured: enough for geometry and costs. None: the images stay pixels."""
    if config.codec.run is None:
        return None
    vae = _autoencoder(config.codec.run)
    return make_codec(vae, spec, unmeasured(vae))


def fit_codec(config: Config, train_set: ImageSet, folder: RunFolder | None) -> Codec | None:
    """The codec that a run trains with: as its folder remembers it, else measured on the training images.

    Raises ConfigError for a run that is no autoencoder of such images, RunError where the folder knew other weights.
    """
    if config.codec.run is None:
        return None
    vae = _autoencoder(config.codec.run)
    if folder and folder.codec.is_file():
        return make_codec(vae, train_set.spec, json.loads(folder.codec.read_text()))
    return make_codec(
        vae,
        train_set.spec,
        measure(vae, batches(vae, train_set, min(MEASURED_IMAGES, len(train_set)), 256, filled=False)),
    )


def _autoencoder(run: str) -> Autoencoder:
    family = load_named("codec.run", run).generator
    if not isinstance(family, Autoencoder):
        raise ConfigError(f"codec.run={run}: a {family.options.name} has no codes; name a run of family=vae")
    return family
