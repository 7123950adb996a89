"""Drawing images in fixed global chunks, over any number of processes, and writing them."""

from genvision.sampling.draw import draw_images, log_likelihoods, require_exact
from genvision.sampling.sharing import own_device, processes
from genvision.sampling.write import write_grid, write_images

__all__ = ["draw_images", "log_likelihoods", "own_device", "processes", "require_exact", "write_grid", "write_images"]
