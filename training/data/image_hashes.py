"""Short hashes by which pictures that a model learned from are known again, wherever they lie."""

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path

HASH_BYTES = 4
"""Of the hash by which a picture is known again: among 100,000, one of 40,000 others is mistaken."""
PIECES = 16
PIECE_BYTES = 4096
"""Of a picture, all of which would take long to read where training reads it by workers."""


def image_hash(picture: Path) -> bytes | None:
    """Return a short hash of a file's size and content, by which it is known again anywhere; None if it is unreadable.

    Of more than 64 kB it takes pieces from all over the file.
    """
    try:
        if not picture.is_file():
            return None
        with picture.open("rb") as file:
            size = picture.stat().st_size
            digest = hashlib.blake2b(b"%d\n" % size, digest_size=HASH_BYTES)
            for start in range(0, size, max(size // PIECES, PIECE_BYTES)):
                file.seek(start)
                digest.update(file.read(PIECE_BYTES))
    except OSError:
        return None
    return digest.digest()


def pack_hashes(hashes: Iterable[bytes | None]) -> str:
    """Return hashes as text for metadata, sorted and in base64."""
    return base64.b64encode(b"".join(sorted({known for known in hashes if known}))).decode()


def unpack_hashes(packed: str) -> set[bytes]:
    """Return the hashes that `pack_hashes` packed."""
    hashes = base64.b64decode(packed)
    return {hashes[start : start + HASH_BYTES] for start in range(0, len(hashes), HASH_BYTES)}
