"""The fields of a result record, their types and meaning: what is checked, and what the JSON Schema is made from."""

from __future__ import annotations

from typing import NamedTuple

SCHEMA = 1
MAX_NUMBER = 2.0**63  # no setting and nothing counted here is larger; a larger one is a damaged file

STATUSES = ("finished", "failed", "diverged")
KINDS = ("exact", "bound", "estimate")

TEXT = (str,)
COUNT = (int,)
NUMBER = (int, float)


class Field(NamedTuple):
    """The types that a field may have, and what it says."""

    types: tuple[type, ...]
    meaning: str


REQUIRED = {
    "run": Field(TEXT, "name of the run's folder"),
    "status": Field(TEXT, "how the run ended"),
    "family": Field(TEXT, "vae, autoregressive or diffusion"),
    "backbone": Field(TEXT, "convnet, vit or mixer"),
    "data": Field(TEXT, "name of the set it was trained on"),
}
OPTIONAL = {
    "reason": Field(TEXT, "why a run failed or diverged"),
    "encoder_backbone": Field(TEXT, "only where the two halves of a VAE differ"),
    "decoder_backbone": Field(TEXT, "only where the two halves of a VAE differ"),
    "size": Field(TEXT, "size group of the configuration"),
    "classes": Field(COUNT, "classes that images are drawn of; 0: it knows no labels"),
    "seed": Field(COUNT, "of training"),
    "learning_rate": Field(NUMBER, "of the optimizer, after its warm-up"),
    "data_fraction": Field(NUMBER, "share of the training images that were used"),
    "config_hash": Field(TEXT, "SHA-256 of the resolved configuration"),
    "cell_hash": Field(TEXT, "config_hash without the training seed"),
    "left_out": Field((list,), "training files that could not be used, with the reason; a thousand at most"),
    "skipped_steps": Field(COUNT, "of steps: those whose loss or gradient was not finite, which changed no weight"),
    "dataset_sha256": Field(TEXT, "SHA-256 of the pixels of the training images"),
    "weights_sha256": Field(TEXT, "SHA-256 of the averaged weights that images are drawn from"),
    "git": Field((dict,), "commit and dirty flag of the checkout that ran; null outside of one"),
    "packages": Field((dict,), "name -> version"),
    "device": Field(TEXT, "model of the accelerator, or cpu"),
    "processes": Field(COUNT, "that trained together"),
    "threads": Field(COUNT, "CPU threads of each process"),
    "precision": Field(TEXT, "of training"),
    "parameters": Field(COUNT, "learned numbers of all networks"),
    "macs_per_image": Field(NUMBER, "multiply-adds of one pass through every network"),
    "images_seen": Field(COUNT, "in training, repetitions counted"),
    "steps": Field(COUNT, "of the optimizer"),
    "train_seconds": Field(NUMBER, "spent in training steps"),
    "sample_seconds": Field(NUMBER, "for all of sampled_images"),
    "sampled_images": Field(COUNT, "drawn after training"),
    "network_evaluations_per_image": Field(NUMBER, "that drawing an image takes"),
    "protocol": Field((dict,), "what the scores were measured under"),
    "protocol_hash": Field(TEXT, "of the protocol but its parts uncertainty and extrapolation"),
    "metrics": Field((dict,), "key -> score; null or empty where nothing was scored"),
    "bits_per_dim": Field((dict,), "likelihood of a split, as bits per dimension"),
    "validation": Field((dict,), "name -> number: loss on held-out images, and diagnostics of the family"),
    "anchors": Field((list,), "Frechet distances of images of no model, under the same protocol"),
    "grid": Field(TEXT, "the sample grid, relative to the record's folder"),
    "note": Field(TEXT, "anything a reader must know, such as why there is no score"),
    "command": Field(TEXT, "as it was typed"),
}
FIELDS = REQUIRED | OPTIONAL
