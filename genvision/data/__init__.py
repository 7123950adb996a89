"""Image sets: where they come from, one uint8 tensor per split, and the stateless stream of batches."""

from genvision.data.batches import Batches
from genvision.data.image_set import ImageSet
from genvision.data.load import Split, load, parse_reference, spec_of
from genvision.data.named import available

__all__ = ["Batches", "ImageSet", "Split", "available", "load", "parse_reference", "spec_of"]
