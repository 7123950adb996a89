"""What a score was measured under. Two scores may be compared only when every field here is equal.

num_images            generated images that were scored
reference             name, split, number and pixel fingerprint of the real images
extractor             name, hash of its weights, resize, color rule
scores                seed and sizes inside the scores themselves
sampling.scheduler    solver of a diffusion sampler            sampling.steps     its steps
sampling.guidance     classifier-free guidance, 1 is none      sampling.ema       decay of the averaged weights
sampling.seed         of the drawn images                      sampling.chunk_size  images drawn together
sampling.labels       rule that gave image k its label         sampling.pixels    mean or draw, where a family has both
sampling.precision    in which the networks really drew
A sampling field is null where the family has no such knob, or the images came from a folder. Some stand there only
where they were used, so that scores of before they existed stay comparable:
sampling.guidance_interval  times of the path at which guidance acts
sampling.guide        hash of the weaker model's weights
sampling.temperature  of an autoregressive sampler; top_k, top_p: the likeliest levels it may draw
Two parts say how the numbers beside a score were made. They move no score, so they are not in the hash:
uncertainty           what the intervals are of, their level, and how they are found
extrapolation         how the distance of endlessly many images is found
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from genvision.evaluation import extrapolation, intervals, scores
from genvision.evaluation.extractors import COLOR_RULE

if TYPE_CHECKING:
    from genvision.data.image_set import ImageSet
    from genvision.evaluation.extractors import Extractor

SAMPLING_FIELDS = ("scheduler", "steps", "guidance", "ema", "seed", "chunk_size", "labels", "pixels", "precision")
LATER_FIELDS = ("guidance_interval", "guide", "temperature", "top_k", "top_p")

BESIDE = ("uncertainty", "extrapolation")

Protocol = dict[str, Any]


def build_protocol(
    *,
    num_images: int,
    reference: ImageSet,
    extractor: Extractor,
    sampling: Mapping[str, Any] | None = None,
    reconstruction: Mapping[str, Any] | None = None,
) -> Protocol:
    """The protocol of one score, as plain JSON values.

    sampling        any of SAMPLING_FIELDS and LATER_FIELDS; None for images that were not drawn here
    reconstruction  how real images were encoded and decoded again; the key is there only for such images
    Raises TypeError for a sampling field that does not exist.
    """
    sampling = dict(sampling or {})
    if unknown := sorted(set(sampling) - {*SAMPLING_FIELDS, *LATER_FIELDS}):
        raise TypeError(f"no such sampling fields: {', '.join(unknown)}")
    return {
        "num_images": num_images,
        "reference": {
            "name": reference.name,
            "split": reference.split,
            "num_images": len(reference),
            "fingerprint": reference.fingerprint,
        },
        "extractor": {
            "name": extractor.name,
            "weights_sha256": extractor.weights_sha256,
            "resize": extractor.resize,
            "color": COLOR_RULE,
        },
        "scores": scores.settings(),
        "uncertainty": intervals.settings(),
        "extrapolation": extrapolation.settings(),
        "sampling": {field: sampling.get(field) for field in SAMPLING_FIELDS}
        | {field: sampling[field] for field in LATER_FIELDS if sampling.get(field) is not None},
        **({} if reconstruction is None else {"reconstruction": dict(reconstruction)}),
    }


def protocol_hash(protocol: Mapping[str, Any]) -> str:
    """First 16 hexadecimal digits of the SHA-256 over the canonical JSON of all but the parts BESIDE."""
    moves = {name: part for name, part in protocol.items() if name not in BESIDE}
    canonical = json.dumps(moves, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
