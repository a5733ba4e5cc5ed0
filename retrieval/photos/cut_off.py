"""WebP, HEIC and AVIF files that were cut off: what decoders make of the rest, filled up to the length they expect.

Their decoders refuse a file that is too short, but not one that is long enough. It is filled up in two ways. What both
pictures show is there; where they differ, the decoder has read what was filled in.
"""

import random
from collections.abc import Callable, Iterator

from PIL import Image, ImageChops

from retrieval.photos.limits import LEAST_ROWS, Limits, missing_rows

_LEAST_SHARE = 0.5
"""Of the bytes that must be there: less cannot hold enough rows, and a wrong length would fill the memory."""
_BYTES_OF_A_PIXEL = 16
# What is filled in before zeros: not every decoder can make something of each.
_STARTS = (b"", random.Random(7).randbytes(1 << 12), b"\xaa", b"\x55", b"\xff", b"\x80")
_MORE = 4
"""A decoder of WebP takes more bytes to read noise than a picture, and refuses a file that ends before."""


def opened_cut_off(
    data: bytes, format: str, opened: Callable[[bytes], Image.Image], limits: Limits
) -> tuple[Image.Image, str | None] | None:
    """Return what is there of a picture, and a warning that says what is missing; None if that is too much.

    Raises PhotoError for a picture of more than the limit of pixels.
    """
    pictures: list[Image.Image] = []
    for filled in _filled_webp(data) if format == "WEBP" else _filled_boxes(data):
        try:
            image = opened(filled)
            limits.check(*image.size)
            limits.claim(2 * _BYTES_OF_A_PIXEL * image.width * image.height)
            image.load()
        except (OSError, SyntaxError, ValueError, RuntimeError):
            continue  # not every filling can be decoded
        pictures.append(image)
        if len(pictures) == 2:
            return _what_both_show(*pictures)
    return None


def _what_both_show(one: Image.Image, other: Image.Image) -> tuple[Image.Image, str | None] | None:
    difference = ImageChops.difference(one.convert("RGB"), other.convert("RGB")).getbbox()
    width, height = one.size
    if difference is None:
        return one, None
    # Phones store photos lying on their side: what comes last in the file is at any edge.
    left, top, right, bottom = difference
    parts = [(0, 0, width, top), (0, bottom, width, height), (0, 0, left, height), (right, 0, width, height)]
    part = max(parts, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
    rows, all_rows = (part[3] - part[1], height) if part[2] - part[0] == width else (part[2] - part[0], width)
    if rows < LEAST_ROWS * all_rows:
        return None
    return one.crop(part), missing_rows(rows, all_rows)


def _filled_webp(data: bytes) -> Iterator[bytes]:
    """Fill up the chunk that was cut (RFC 9649); sizes are of four bytes, the lowest first, and chunks are even."""
    position = 12
    while position + 8 <= len(data):
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        end = position + 8 + size + size % 2
        if end > len(data):
            break
        position = end
    kind, there = data[position : position + 4], data[position + 8 :]
    if kind not in (b"VP8 ", b"VP8L"):
        # What comes after a picture, or after the first frame of several.
        yield from [b"RIFF" + (position - 8).to_bytes(4, "little") + data[8:position]] * 2
        return
    if len(there) < _LEAST_SHARE * size:
        return
    for start in _STARTS:
        chunk = there + start + bytes(_MORE * size + (len(there) + len(start)) % 2)
        body = data[8:position] + kind + len(chunk).to_bytes(4, "little") + chunk
        yield b"RIFF" + len(body).to_bytes(4, "little") + body


def _filled_boxes(data: bytes) -> Iterator[bytes]:
    """Fill up the last box of a file (ISO/IEC 14496-12); sizes are of four bytes, the highest first."""
    position = 0
    while 8 <= (size := int.from_bytes(data[position : position + 4], "big")) <= len(data) - position:
        position += size
    missing = position + size - len(data)
    if missing <= 0 or len(data) < _LEAST_SHARE * (position + size):
        return
    for start in _STARTS:
        yield data + start[:missing] + bytes(max(0, missing - len(start)))
