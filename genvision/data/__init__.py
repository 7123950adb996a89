"""Image sets: where they come from, one uint8 tensor per split, and the stateless stream of batches."""

from genvision.data.batches import Batches
from genvision.data.feed import make_batches
from genvision.data.image_set import ImageSet
from genvision.data.load import Split, load, parse_reference, spec_of
from genvision.data.named import available
from genvision.data.stream import StreamBatches

__all__ = [
    "Batches",
    "ImageSet",
    "Split",
    "StreamBatches",
    "available",
    "load",
    "make_batches",
    "parse_reference",
    "spec_of",
]
