"""Every kind of pixels that decoders return, made RGB of 8 bits: over white where it is transparent, and in sRGB."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from index.errors import PhotoError
from retrieval.photos.colour import profile_of, to_srgb

_BITS_PER_SAMPLE = 258
"""The tag of a TIFF."""
_SMALLER_DEPTHS = (8, 10, 12)
"""Bits that scanners, cameras and microscopes have, whose values are stored in 16."""


def to_rgb(image: Image.Image, *, shorter_side: int | None = None) -> Image.Image:
    """Return a decoded picture in RGB. Raises PhotoError for colours that are not supported.

    One that will be shrunk to `shorter_side` pixels may come at a reduced size, never below twice that.
    """
    profile = profile_of(image)
    if image.mode == "RGB" and profile is None and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        image = _wide_grey_to_8_bits(image)
    elif image.format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        # Programs that know no transparency leave the fourth byte at 0, whatever the header says of it.
        image = image.convert("RGB")
    if image.mode == "LAB":
        raise PhotoError("colours in L*a*b*, which are not supported")
    if image.mode not in ("RGB", "L", "CMYK") or image.has_transparency_data:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    image = to_srgb(image, profile, shorter_side=shorter_side)
    if image.mode == "RGBA":
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def to_8_bits(
    samples: NDArray[Any], bits: int, *, brightest: int | None = None, guess: bool = True
) -> NDArray[np.uint8]:
    """Return samples of any type as 8 bits: of more, the highest; with no agreed white, stretched.

    `bits` of each sample are used, or as many as `brightest` needs; 8, 10 or 12 of 16 where none needs more, unless
    `guess` is False. More than 16 bits, signed ones and floats have no agreed white.
    """
    if samples.dtype.kind == "b":
        return samples.astype(np.uint8) * 255
    if samples.dtype.kind != "u" or bits > 16:
        return _stretched(samples)
    if bits <= 8:
        scaled: NDArray[np.uint8] = (samples.astype(np.uint16) * 255 // (2**bits - 1)).astype(np.uint8)
        return scaled
    if guess and bits == 16:
        needed = max(int(samples.max(initial=0)), brightest or 0).bit_length()
        bits = next((depth for depth in _SMALLER_DEPTHS if needed <= depth), 16)
    highest: NDArray[np.uint8] = np.minimum(samples >> (bits - 8), 255).astype(np.uint8)
    return highest


def _wide_grey_to_8_bits(image: Image.Image) -> Image.Image:
    grey = np.asarray(image)
    # Pillow's mode I is 16 bits in a PNG, PPM or JPEG 2000, but 32 or signed ones in a TIFF.
    if grey.dtype.itemsize == 2 or (image.mode == "I" and image.format != "TIFF"):
        # Pillow scales them all to 16 bits, except a TIFF of 12.
        bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))[0]
        return Image.fromarray(to_8_bits(grey.astype(np.uint16, copy=False), bits))
    return Image.fromarray(_stretched(grey))


def _stretched(samples: NDArray[Any]) -> NDArray[np.uint8]:
    finite = samples[np.isfinite(samples)]
    darkest, brightest = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    wide = np.nan_to_num(samples.astype(np.float64), copy=False, nan=darkest, posinf=brightest, neginf=darkest)
    return ((wide - darkest) * (255 / max(brightest - darkest, 1e-9)) + 0.5).astype(np.uint8)
