"""The one and only resize and crop: training, evaluation and every command prepare pictures here."""

import io
import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from retrieval.models.spec import ResizeMode

MIDDLE = 4
"""Which of `ten_crops` is the one in the middle."""
TRIMMED_RATIO = 5 / 4
"""Longer side over shorter of what the mode `trim` leaves of a picture, at most."""


def prepare(image: Image.Image, *, resize: int, crop: int, mode: "ResizeMode" = "crop") -> NDArray[np.uint8]:
    """Return the pixels (crop, crop, 3) that a network takes; what the modes show of a picture, `ModelSpec` says."""
    match mode:
        case "crop":
            return resize_and_crop(image, resize=resize, crop=crop)
        case "trim":
            return squash(image, size=crop, ratio=TRIMMED_RATIO)
        case "squash":
            return squash(image, size=crop)


def resize_only(image: Image.Image, *, size: int) -> NDArray[np.uint8]:
    """Return the central square of a picture, resized to (size, size, 3).

    It is what shrinking the shorter side to `size` and cutting out the middle gives, but the square is chosen first, so
    that a picture of 1 × 20,000 pixels never becomes one of 64 × 1,280,000.
    """
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    if side == size:  # nothing to resize: half a pixel to the side would only blur it
        left, top = left // 1, top // 1
    if image.mode != "RGB":
        image = image.convert("RGB")
    # Pillow's bicubic filter widens with the reduction, so nothing aliases. A large picture is first averaged over
    # whole blocks of pixels until it is 3 times too large: 12 megapixels shrink 5 times as fast, 0.2 grey levels away
    # (at most 5).
    square = image.resize(
        (size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side), reducing_gap=3.0
    )
    return np.array(square)


def resize_and_crop(image: Image.Image, *, resize: int, crop: int) -> NDArray[np.uint8]:
    """Return the pixels (crop, crop, 3) in the middle of a picture whose shorter side was made `resize`.

    It is always the middle of `resize_only`, and of `ten_crops`.
    """
    margin = _margin(resize, crop)
    return resize_only(image, size=resize)[margin : margin + crop, margin : margin + crop]


def squash(image: Image.Image, *, size: int, ratio: float = math.inf) -> NDArray[np.uint8]:
    """Return a picture resized to (size, size, 3) whatever its shape.

    Of one that is longer than `ratio` times its shorter side the ends are cut off first.
    """
    longest = min(image.size) * ratio
    width, height = (min(side, longest) for side in image.size)
    left, top = (image.width - width) / 2, (image.height - height) / 2
    if image.mode != "RGB":
        image = image.convert("RGB")
    box = (left, top, left + width, top + height)
    return np.array(image.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0))


def as_small_jpeg(pixels: NDArray[np.uint8], side: int, quality: int) -> NDArray[np.uint8]:
    """Return pixels (size, size, 3) as a JPEG of that side and quality shows them, enlarged to their size again."""
    image, file = Image.fromarray(pixels), io.BytesIO()
    image.resize((side, side), Image.Resampling.BICUBIC).save(file, "JPEG", quality=quality)
    with Image.open(file) as small:
        return np.asarray(small.resize(image.size, Image.Resampling.BICUBIC))


def ten_crops(image: Image.Image, *, resize: int, crop: int) -> NDArray[np.uint8]:
    """Return (10, crop, crop, 3): four corners, the middle and their mirror images (Krizhevsky 2012, section 4.1)."""
    margin, end = _margin(resize, crop), resize - crop
    pixels = resize_only(image, size=resize)
    corners = ((0, 0), (0, end), (end, 0), (end, end), (margin, margin))
    crops = np.stack([pixels[top : top + crop, left : left + crop] for top, left in corners])
    return np.concatenate([crops, crops[:, :, ::-1]])


def _margin(resize: int, crop: int) -> int:
    if not 0 < crop <= resize:
        raise ValueError(f"crop must lie between 1 and resize, not {crop} with resize {resize}")
    return (resize - crop) // 2
