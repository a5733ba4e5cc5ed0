"""The file around a serialized FAISS index: one header, one checksum, so that damage is noticed before FAISS sees it.

Layout: magic (8 bytes), length of the header, CRC-32 of all that follows (4 bytes each, little-endian), header (JSON),
payload.
"""

import json
import struct
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from index.files import replacing

# Ends like the signature of PNG, so that a transfer as text is noticed too.
MAGIC = b"fc7vec\r\n"
FORMAT = 1
PREFIX = struct.Struct("<8sII")
LONGEST_HEADER = 1 << 16


class VectorFileError(Exception):
    """The file is missing, damaged or of another format; its owner rebuilds it, so no user ever sees this."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which catalogue the vectors were taken from, and at which generation of it."""

    catalog: str = ""
    generation: int = 0


def write_vector_file(path: Path, payload: NDArray[np.uint8], *, stamp: Stamp) -> None:
    """Write `payload` (n,) with its stamp, whole or not at all. Raises OSError."""
    header = json.dumps({"format": FORMAT, **asdict(stamp)}).encode()
    checksum = zlib.crc32(payload.data, zlib.crc32(header))
    with replacing(path) as file:
        file.write(PREFIX.pack(MAGIC, len(header), checksum))
        file.write(header)
        file.write(payload.data)


def read_vector_file(path: Path) -> tuple[Stamp, NDArray[np.uint8]]:
    """Read the stamp and the payload (n,). Raises VectorFileError."""
    try:
        with path.open("rb") as file:
            header, expected = _read_header(file)
            payload = file.read()
    except OSError as error:
        raise VectorFileError(f"{path}: {error}") from error
    if zlib.crc32(payload, zlib.crc32(header)) != expected:
        raise VectorFileError(f"{path}: the checksum differs")
    return _parse_header(header), np.frombuffer(payload, dtype=np.uint8)


def read_stamp(path: Path) -> Stamp:
    """Read the stamp alone, without looking for damage further on. Raises VectorFileError."""
    try:
        with path.open("rb") as file:
            return _parse_header(_read_header(file)[0])
    except OSError as error:
        raise VectorFileError(f"{path}: {error}") from error


def _read_header(file: BinaryIO) -> tuple[bytes, int]:
    prefix = file.read(PREFIX.size)
    if len(prefix) < PREFIX.size:
        raise VectorFileError("the file is truncated")
    magic, length, checksum = PREFIX.unpack(prefix)
    if magic != MAGIC or length > LONGEST_HEADER:
        raise VectorFileError("the file is not one of ours")
    return file.read(length), checksum


def _parse_header(header: bytes) -> Stamp:
    try:
        fields = json.loads(header)
        if fields["format"] != FORMAT:
            raise VectorFileError("the file is of another format")
        return Stamp(str(fields["catalog"]), int(fields["generation"]))
    except (ValueError, KeyError, TypeError) as error:
        raise VectorFileError("the header is damaged") from error
