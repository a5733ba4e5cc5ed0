"""TIFF files that Pillow decodes wrongly or not at all, read by tifffile.

Pillow is right, and quicker, for up to 8 bits, for RGB and CMYK of 16 bits whose samples lie beside each other, and for
most grey whose 0 is black; `tests/test_retrieval_tiff.py` compares every variant. Of the others it mixes up bytes
(planes of 16 bits, compressed floats of big-endian files), planes (alpha beside grey, YCbCr) or subsampled colours
(uncompressed YCbCr), shows a negative (white as 0), lets values overflow (unsigned 32 bits), or knows no mode for them.
"""

import logging
import struct
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin

from index.errors import PhotoError
from retrieval.photos.formats import NEEDED_PACKAGES
from retrieval.photos.limits import LEAST_ROWS, Limits, missing_rows
from retrieval.photos.rgb import to_8_bits

if TYPE_CHECKING:
    from tifffile import TiffPage

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_OFFSETS, _SAMPLES, _ROWS, _COUNTS, _PLANES, _BRIGHTEST, _FORMAT, _PROFILE = 273, 277, 278, 279, 284, 281, 339, 34675
_WHITE_IS_0, _BLACK_IS_0, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_LAB = {8: "L*a*b*", 9: "L*a*b*", 10: "L*a*b*"}
_MODES = {_WHITE_IS_0: "L", _BLACK_IS_0: "L", _RGB: "RGB", _YCBCR: "YCbCr", _CMYK: "CMYK"}
_PREMULTIPLIED = 1
_ALPHA = (_PREMULTIPLIED, 2)
"""Of the tag ExtraSamples."""
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_GREY = ((12, _UNSIGNED), (16, _UNSIGNED))
_GREY_LITTLE_ENDIAN = ((16, _SIGNED), (32, _SIGNED), (32, _FLOAT))
_BY_LIBTIFF = {5, 8, 32773, 32946, 34925, 50000}
"""LZW, Deflate, PackBits, LZMA and Zstandard: Pillow's libtiff expands them, never to more than a strip or tile has."""
_MOST_SAMPLES = 32
"""Of a pixel: more are no photo, and take too much memory."""
_JPEG = (6, 7)
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

# It writes what it finds odd to standard error where the program has not said anything about logging.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def pillow_is_right(tiff: bytes) -> bool:
    """Whether Pillow decodes a TIFF file as it is meant, as far as its first directory tells."""
    file = BytesIO(tiff)
    directory = TiffImagePlugin.ImageFileDirectory_v2(file.read(16 if b"+" in (tiff[2:3], tiff[3:4]) else 8))
    file.seek(directory.next or 0)
    directory.load(file)
    bits, formats = set(directory.get(_BITS, (1,))), set(directory.get(_FORMAT, (_UNSIGNED,)))
    photometric, samples = directory.get(_PHOTOMETRIC, _BLACK_IS_0), directory.get(_SAMPLES, 1)
    planes, compression = directory.get(_PLANES, 1), directory.get(_COMPRESSION, 1)
    if max(bits) <= 8:
        mixed_up = planes == 2 and (samples == 2 or photometric == _YCBCR)
        return formats == {_UNSIGNED} and not mixed_up and (photometric, compression) != (_YCBCR, 1)
    if samples == 1 and photometric == _BLACK_IS_0:
        # The signed ones and floats of a big-endian file it turns around twice where they are compressed.
        return (*bits, *formats) in _GREY or (tiff[:2] == b"II" and (*bits, *formats) in _GREY_LITTLE_ENDIAN)
    return bits == {16} and photometric in (_RGB, _CMYK) and planes == 1


def open_tiff(data: bytes, limits: Limits) -> tuple[Image.Image, str | None]:
    """Decode the first picture of a TIFF file, to 8 bits, with a warning where not all of its rows are there.

    Raises PhotoError for too many pixels, less than 95 % of the rows, and what needs the package imagecodecs.
    """
    import tifffile

    with tifffile.TiffFile(BytesIO(data)) as tiff:
        page = tiff.pages.first
        limits.check(page.imagewidth, page.imagelength)
        # The samples, and the floats that 8 bits are made of.
        sample_bytes = page.dtype.itemsize if page.dtype is not None else 1
        limits.claim(page.imagewidth * page.imagelength * int(page.samplesperpixel) * (2 * sample_bytes + 8))
        photometric = int(page.photometric)
        if photometric in _LAB:
            raise PhotoError(f"colours in {_LAB[photometric]}, which are not supported")
        samples, rows = _samples(page, data)
        if rows < LEAST_ROWS * page.imagelength:
            raise PhotoError("truncated TIFF")
        image = _picture(page, samples[:rows])
        profile, orientation = page.tags.valueof(_PROFILE), page.tags.valueof(ExifTags.Base.Orientation)
        if isinstance(profile, bytes):
            image.info["icc_profile"] = profile
        if isinstance(orientation, int):
            image.getexif()[ExifTags.Base.Orientation] = orientation
        return image, missing_rows(rows, page.imagelength)


def _samples(page: "TiffPage", data: bytes) -> tuple[NDArray[Any], int]:
    """Return the samples (rows, columns, samples) of a picture, and how many rows from the top are whole."""
    planes, depth, height, width, together = page.shaped
    if page.dtype is None or depth != 1 or planes * together > _MOST_SAMPLES:
        raise ValueError("no picture of two dimensions")
    out = np.zeros((planes, height, width, together), page.dtype)
    compression, fill_order = int(page.compression), int(page.fillorder)
    if compression in _BY_LIBTIFF:
        page.compression, page.fillorder = 1, 1  # what `decode` below is given
    row_bytes = -(-(page.tilewidth if page.is_tiled else width) * together * page.bitspersample // 8)
    tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if compression in _JPEG else {}
    whole = height
    for index, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        if not count:
            continue  # an empty tile
        try:
            _, (plane, _, top, left, _), (_, length, _, _) = page.decode(None, index, **tables)
            segment, expected = data[offset : offset + count], row_bytes * length
            if len(segment) < count and compression != 1:
                whole = min(whole, top)
                continue
            if compression in _BY_LIBTIFF:
                ordered = segment.translate(_REVERSED) if fill_order == 2 else segment
                segment = _expanded(ordered, compression, row_bytes, length)
            elif compression == 1 and len(segment) < expected:
                whole = min(whole, top + (0 if page.is_tiled else len(segment) // row_bytes))
                segment = segment.ljust(expected, b"\0")
            pixels, _, _ = page.decode(segment, index, **tables)
        except Exception as error:
            if find_spec("imagecodecs") is None and "imagecodecs" in str(error):
                raise PhotoError(NEEDED_PACKAGES["imagecodecs"]) from None
            raise
        assert pixels is not None
        place = out[plane, top : top + length, left : left + pixels.shape[2]]
        place[:] = pixels[0, : place.shape[0], : place.shape[1]]
    return np.moveaxis(out, 0, 2).reshape(height, width, -1), whole


def _expanded(segment: bytes, compression: int, row_bytes: int, rows: int) -> bytes:
    """Return what a strip or tile holds: libtiff decodes it as a picture of its own, in grey, a byte a pixel."""
    padded = segment + bytes(len(segment) % 2)
    values = {
        _WIDTH: row_bytes,
        _HEIGHT: rows,
        _BITS: 8,
        _COMPRESSION: compression,
        _PHOTOMETRIC: _BLACK_IS_0,
        _OFFSETS: 8,
        _SAMPLES: 1,
        _ROWS: rows,
        _COUNTS: len(segment),
    }
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items())
    header = b"II*\0" + struct.pack("<I", 8 + len(padded))
    file = header + padded + struct.pack("<H", len(values)) + entries + bytes(4)
    with TiffImagePlugin.TiffImageFile(BytesIO(file), "") as image:
        return image.tobytes()


def _picture(page: "TiffPage", samples: NDArray[Any]) -> Image.Image:
    """Make a picture of mode L, RGB or CMYK, the first two perhaps with alpha, of samples (rows, columns, samples)."""
    photometric, bits = int(page.photometric), int(page.bitspersample)
    extra = [int(kind) for kind in page.extrasamples]
    if photometric == _PALETTE and page.colormap is not None:
        samples, bits, photometric = np.moveaxis(page.colormap[:, samples[:, :, 0]], 0, 2), 16, _RGB
        extra = []
    mode = _MODES.get(photometric)
    count = {"YCbCr": 3}.get(mode or "", len(mode or ""))
    if mode is None or samples.shape[2] - len(extra) < count:
        raise PhotoError(f"a TIFF whose colours are not supported (photometric interpretation {photometric})")
    brightest = page.tags.valueof(_BRIGHTEST)
    colours = to_8_bits(
        samples[:, :, :count],
        bits,
        brightest=int(max(np.atleast_1d(brightest))) if brightest is not None else None,
        guess=mode != "CMYK",  # a page that is nearly white has little ink
    )
    if photometric == _WHITE_IS_0:
        colours = 255 - colours
    if photometric == _YCBCR and int(page.tags.valueof(_COMPRESSION, 1)) in _JPEG:
        mode = "RGB"  # the decoder has converted it
    if extra and extra[0] in _ALPHA and mode in ("L", "RGB"):
        colours = np.concatenate([colours, _alpha(samples[:, :, count : count + 1], bits)], axis=2)
        mode += "a" if extra[0] == _PREMULTIPLIED else "A"
    image = Image.frombytes(mode, (samples.shape[1], samples.shape[0]), np.ascontiguousarray(colours).tobytes())
    return image.convert(mode.replace("a", "A")) if mode.endswith("a") else image


def _alpha(samples: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Return opacity as 8 bits: of all that an integer can be, or from 0 to 1."""
    if samples.dtype.kind in "bu" and bits <= 16:
        return to_8_bits(samples, bits, guess=False)
    lowest, highest = (0.0, 1.0)
    if samples.dtype.kind in "iu":
        lowest, highest = float(np.iinfo(samples.dtype).min), float(np.iinfo(samples.dtype).max)
    share = (np.nan_to_num(samples.astype(np.float64)) - lowest) / (highest - lowest)
    return (np.clip(share, 0, 1) * 255 + 0.5).astype(np.uint8)
