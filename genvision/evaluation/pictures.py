"""Sample grids as data URIs, from the run's own folder alone."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

from genvision.data.decode import MAX_PIXELS

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

NEAREST = "samples/nearest.png"  # below a run: what nearest.nearest_grid laid out
NEAREST_ROWS = 10
NEIGHBOURS = 5
NEAREST_CAPTION = (
    f"Generated images, framed, each with the {NEIGHBOURS} training images nearest to it in feature space. Left: the "
    f"{NEAREST_ROWS} that lie nearest of all that were scored; right: the first {NEAREST_ROWS} drawn."
)
THUMBNAIL_SIDE = 280  # pixels: twice what the table shows, for fine screens
FULL_SIDE = 1600


def read_picture(folder: Path, name: str | None) -> Picture | None:
    """The PNG `name` below a run's folder, gray or RGB; None where there is none, or it lies outside the folder."""
    from PIL import Image, ImageChops

    if not name:
        return None
    try:
        folder = folder.resolve()
        path = (folder / name).resolve()
        if not path.is_relative_to(folder) or not path.is_file():
            return None
        with Image.open(path, formats=["PNG"]) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            picture = image.convert("L" if image.mode == "L" else "RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None  # a damaged picture costs the picture, not the table
    if picture.mode == "RGB":
        red, green, blue = picture.split()
        if not (ImageChops.difference(red, green).getbbox() or ImageChops.difference(red, blue).getbbox()):
            return red  # a third of the bytes
    return picture


def data_uri(picture: Picture | None, side: int) -> str | None:
    """A picture scaled down to `side` pixels where it is larger."""
    from PIL import Image

    if picture is None:
        return None
    scaled = picture.copy()
    scaled.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    scaled.save(out, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
