"""PNG files that Pillow refuses for what stands beside the picture, or for its last rows.

Long texts and profiles, and wrong checksums of chunks that a viewer need not know, say nothing about the pixels. The
file is written again with the chunks that matter (ISO/IEC 15948, clause 11).
"""

import zlib
from io import BytesIO

import numpy as np
from PIL import Image, PngImagePlugin

from retrieval.photos.colour import MAX_PROFILE_BYTES
from retrieval.photos.limits import LEAST_ROWS, Limits, missing_rows
from retrieval.photos.rgb import to_8_bits

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"eXIf")
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By colour type."""
_BLOCK = 1 << 16


def repaired_png(data: bytes, limits: Limits) -> tuple[bytes, str | None, bytes | None] | None:
    """Return a PNG file that Pillow reads, a warning where rows are missing, and its ICC profile.

    None where the pixels are damaged, or more than 5 % of the rows are missing. Raises PhotoError for too many
    pixels.
    """
    chunks, pixels = _chunks(data)
    header = chunks.get(b"IHDR", b"")
    if len(header) != 13 or pixels is None:
        return None
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits, colour_type, interlaced = header[8], header[9], header[12]
    limits.check(width, height)
    profile = _profile(chunks.get(b"iCCP", b""))
    row_bytes = 1 + -(-width * bits * _SAMPLES.get(colour_type, 0) // 8)
    rows = height
    if not _is_complete(pixels, 2 * row_bytes * height):
        if interlaced:
            return None
        limits.claim(2 * row_bytes * height)
        raw = _inflated(pixels, row_bytes * height)
        rows = len(raw) // row_bytes
        if rows < max(1, LEAST_ROWS * height):
            return None
        pixels = zlib.compress(raw[: rows * row_bytes], 1)
    chunks[b"IHDR"] = header[:4] + rows.to_bytes(4, "big") + header[8:]
    kept = [(kind, chunks[kind]) for kind in _KEPT if kind in chunks]
    written = b"".join(_chunk(kind, body) for kind, body in [*kept, (b"IDAT", pixels), (b"IEND", b"")])
    return _SIGNATURE + written, missing_rows(rows, height), profile


def decoded_with_16_bits(high: Image.Image, data: bytes) -> Image.Image:
    """Return a picture in RGB or RGBA, of 16 bits a sample, by all of its bits, of which Pillow has kept the `high`."""
    with PngImagePlugin.PngImageFile(BytesIO(data), "") as again:
        again.tile = [tile._replace(args=str(tile.args).replace("16B", "16L")) for tile in again.tile]
        low = np.asarray(again)[:, :, :3]
    brighter = Image.fromarray(to_8_bits(np.asarray(high)[:, :, :3].astype(np.uint16) << 8 | low, 16))
    if high.mode == "RGBA":
        brighter.putalpha(high.getchannel("A"))
    brighter.info = high.info
    brighter.getexif().update(high.getexif())
    return brighter


def _chunks(data: bytes) -> tuple[dict[bytes, bytes], bytes | None]:
    """Return the bodies of the chunks by kind, and that of all IDAT; None where a chunk that matters is damaged."""
    found: dict[bytes, bytes] = {}
    pixels = []
    position = len(_SIGNATURE)
    while len(head := data[position : position + 8]) == 8:
        kind, end = head[4:], position + 8 + int.from_bytes(head[:4], "big")
        body, checksum = data[position + 8 : end], data[end : end + 4]
        is_whole = len(checksum) == 4
        is_critical = not kind[0] & 32
        if is_critical and is_whole and zlib.crc32(kind + body) != int.from_bytes(checksum, "big"):
            return found, None
        if kind == b"IDAT":
            pixels.append(body)
        elif is_whole:
            found.setdefault(kind, body)
        if kind == b"IEND":
            break
        position = end + 4
    return found, b"".join(pixels)


def _is_complete(pixels: bytes, at_most: int) -> bool:
    """Whether a zlib stream is whole, with its checksum, and holds no more than it may."""
    stream, size = zlib.decompressobj(), 0
    try:
        for start in range(0, len(pixels), _BLOCK):
            rest = pixels[start : start + _BLOCK]
            while rest and size <= at_most and not stream.eof:
                size += len(stream.decompress(rest, 16 * _BLOCK))
                rest = stream.unconsumed_tail
    except zlib.error:
        return False
    return stream.eof


def _inflated(pixels: bytes, size: int) -> bytes:
    """Return what a zlib stream holds, as far as it goes and up to `size`; nothing of one that is damaged."""
    try:
        return zlib.decompressobj().decompress(pixels, size)
    except zlib.error:
        return b""


def _profile(chunk: bytes) -> bytes | None:
    _, _, rest = chunk.partition(b"\0")
    return _inflated(rest[1:], MAX_PROFILE_BYTES) or None


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
