"""WebP files that were cut off after their picture: what came later is left away."""

HEADER = 12
"""Bytes before the first chunk: RIFF, a length, WEBP."""


def without_cut_chunk(data: bytes) -> bytes | None:
    """Return a WebP file without the chunk in which it ends; None where that holds the picture, or nothing is cut.

    Chunks have a name and a length, of four bytes each, the lowest first, and are filled up to an even length (RFC
    9649, section 2.3). What may be missing are metadata, and of several frames those after the first.
    """
    position = HEADER
    while (end := position + 8 + int.from_bytes(data[position + 4 : position + 8], "little")) <= len(data):
        position = end + end % 2
    if position >= len(data) or data[position : position + 4] in (b"VP8 ", b"VP8L"):
        return None
    return b"RIFF" + (position - 8).to_bytes(4, "little") + data[8:position]
