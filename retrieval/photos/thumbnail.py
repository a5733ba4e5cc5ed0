"""Thumbnails, by which photos are compared: small, square, grey, and without the margins around a picture.

They are made when a photo is indexed and stored as JPEG, about 4 kB each.
"""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 128
"""Width and height of a thumbnail, whatever the shape of the photo."""
QUALITY = 85

# A margin has one grey value: except for noise, and for less than this share of each row or column.
NOISE = 12
STRAY = 0.005
# White around a frame around a photo.
MARGINS = 3
# What is cut off must leave this share of each side: a logo on black is not all there is to a picture.
LEAST_LEFT = 0.3
# Margins are looked for, and pixels averaged, in a picture of about this shorter side.
LOOKED_AT = 4 * SIDE


def thumbnail(image: Image.Image) -> NDArray[np.uint8]:
    """Shrink what is inside the margins of a picture to grey values (SIDE, SIDE), each the mean of its part."""
    grey = image.convert("L")
    if (factor := min(grey.size) // LOOKED_AT) > 1:
        grey = grey.reduce(factor)
    box = _inside_margins(np.asarray(grey))
    # A triangle over the pixels of two: with plain means, fine print would depend on where between pixels it falls.
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box))


def encode(picture: NDArray[np.uint8]) -> bytes:
    """Compress a thumbnail (SIDE, SIDE)."""
    file = BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def decode(data: bytes, *, side: int = SIDE) -> NDArray[np.uint8] | None:
    """Decompress a thumbnail, or make it smaller on the way (side, side): SIDE, half of it, a quarter or an eighth.

    None for bytes that are no thumbnail.
    """
    try:
        with Image.open(BytesIO(data), formats=["JPEG"]) as image:
            if image.size != (SIDE, SIDE) or image.mode != "L":
                return None
            image.draft("L", (side, side))
            return np.array(image)
    except (OSError, SyntaxError):
        return None


def _inside_margins(grey: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Find left, top, right and bottom of what is not margin in grey values (h, w)."""
    top, left = 0, 0
    bottom, right = grey.shape
    for _ in range(MARGINS):
        part = grey[top:bottom, left:right].astype(np.int16)
        edge = np.concatenate([part[0], part[-1], part[:, 0], part[:, -1]])
        seen = np.abs(part - np.median(edge)) > NOISE
        rows, columns = (np.flatnonzero(seen.mean(axis=axis) > STRAY) for axis in (1, 0))
        if not len(rows) or not len(columns):
            break
        inner = top + rows[0], left + columns[0], top + rows[-1] + 1, left + columns[-1] + 1
        large = inner[2] - inner[0] >= LEAST_LEFT * grey.shape[0] and inner[3] - inner[1] >= LEAST_LEFT * grey.shape[1]
        if not large or inner == (top, left, bottom, right):
            break
        top, left, bottom, right = (int(edge) for edge in inner)
    return left, top, right, bottom
