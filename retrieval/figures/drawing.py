"""What pictures of networks and detections are drawn with: labelled tiles, heat colours, saving."""

import sys
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from index.errors import OptionError, PhotoError, UserError
from index.files import check_output, output_file
from retrieval.figures.canvas import PLAIN, Canvas, Look
from retrieval.figures.style import GAP, MARGIN, SMALL, TEXT
from retrieval.models.model import Model
from retrieval.pipeline.memory import decode_within_budget

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".pdf": "PDF"}
MOST_PIXELS = {"JPEG": 65_500, "WEBP": 16_383}
"""Of a side, in these formats as Pillow writes them."""
PER_INCH = 100
"""Units of a PDF in an inch of paper."""
DRAWN = "drawn by fc7"
"""The software that made a picture, by its EXIF block: what says so may be drawn again, a photo never is replaced."""

# Five points of the colour map "inferno" of matplotlib (Smith, van der Walt 2015, CC0), from cold to warm.
_HEAT = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float32)


def heat_colours(plane: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the colours (rows, columns, 3) of values from 0, dark, to 1, bright."""
    places = np.linspace(0, 1, len(_HEAT))
    return np.stack([np.interp(plane, places, _HEAT[:, part]) for part in range(3)], -1).astype(np.uint8)


def warmed(photo: Image.Image, heat: NDArray[np.float32]) -> Image.Image:
    """Return a photo with a heat map (rows, columns), 0 to 1, over it: grey where it is cold, coloured where warm."""
    plane = Image.fromarray(np.ascontiguousarray(heat, np.float32)).resize(photo.size, Image.Resampling.BICUBIC)
    values = np.clip(np.asarray(plane), 0, 1)
    colours = heat_colours(values).astype(np.float32)
    grey = np.asarray(photo.convert("L").convert("RGB"), np.float32)
    share = (0.25 + 0.45 * values)[..., None]
    return Image.fromarray((grey * (1 - share) + colours * share).astype(np.uint8))


def fitted(photo: Image.Image, side: int) -> Image.Image:
    """Return a photo whose longer side is `side` pixels."""
    factor = side / max(photo.size)
    width, height = (max(1, round(length * factor)) for length in photo.size)
    return photo.convert("RGB").resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)


def tiles(
    pictures: Sequence[Image.Image],
    captions: Sequence[str],
    *,
    columns: int,
    side: int,
    title: str = "",
    look: Look = PLAIN,
) -> Image.Image:
    """Return pictures in a grid of squares of `side` units, whole, each with a caption below."""
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    below = SMALL + GAP + 4 if any(captions) else 0
    top = MARGIN + (TEXT + MARGIN if title else 0)
    width = 2 * MARGIN + max(columns * (side + GAP) - GAP, look.width_of(title))
    canvas = Canvas(width, top + rows * (side + below + GAP) - GAP + MARGIN, look)
    canvas.text(MARGIN, MARGIN - 4, title, canvas.theme.ink, TEXT, width=width - 2 * MARGIN)
    pixels = side * look.scale
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x = MARGIN + number % columns * (side + GAP)
        y = top + number // columns * (side + below + GAP)
        whole = picture if picture.size == (pixels, pixels) else fitted(picture, pixels)
        spare = (pixels - whole.width) / 2 / look.scale, (pixels - whole.height) / 2 / look.scale
        canvas.paste(x + spare[0], y + spare[1], whole)
        canvas.text(x, y + side + 4, caption, canvas.theme.grey, width=side, align="centre")
    return canvas.image


def open_photo_for(model: Model, path: Path) -> Image.Image:
    """Return a photo, upright, large enough for a model. Raises PhotoError, naming it, if it cannot be read."""
    try:
        return decode_within_budget(path, lambda found: found.image, shorter_side=2 * model.resize)
    except PhotoError as error:
        raise PhotoError(f"cannot read {path}: {error}") from error


def check_suffix(path: Path) -> None:
    """Raise OptionError for the name of a picture whose format is not known, before time is spent on it.

    Raises UserError where it cannot be written, and for a photo.
    """
    if path.suffix.lower() not in FORMATS:
        raise OptionError(f"{path} has no suffix of a picture; name it .png, .jpg, .webp or .pdf")
    check_output(path)
    check_no_photo(path)


def check_no_photo(path: Path) -> None:
    """Raise UserError for a picture that fc7 did not draw: `--picture *.jpg` would replace the first photo."""
    if path.suffix.lower() in (".html", ".pdf") or not path.is_file() or not path.stat().st_size:
        return
    try:
        drawn = DRAWN.encode() in path.read_bytes()
    except OSError:
        drawn = False
    if not drawn:
        raise UserError(f"{path} is there already, and fc7 did not draw it; choose another place, or remove it first")


def drawn_exif() -> Image.Exif:
    """Return the EXIF block of a picture that fc7 draws."""
    exif = Image.Exif()
    exif[ExifTags.Base.Software] = DRAWN
    return exif


def most_pixels(path: Path) -> int:
    """Return how many pixels a side of a picture in this file has at most."""
    return MOST_PIXELS.get(FORMATS[path.suffix.lower()], sys.maxsize)


def save(picture: Image.Image, path: Path, look: Look = PLAIN) -> None:
    """Write a picture that was drawn with a look. Raises what `check_suffix` does."""
    check_suffix(path)
    if max(picture.size) > most_pixels(path):
        raise OptionError(f"a picture of {picture.width}×{picture.height} pixels is too large for {path}; name a .png")
    data, format = BytesIO(), FORMATS[path.suffix.lower()]
    if format == "PDF":
        picture.save(data, format, resolution=PER_INCH * look.scale)
    else:
        # Photos become hardly smaller by the search for what comes again, which takes most of the time.
        options = {"compress_type": zlib.Z_RLE} if format == "PNG" else {"quality": 92}
        picture.save(data, format, exif=drawn_exif(), **options)
    with output_file(path) as file:
        file.write(data.getvalue())
