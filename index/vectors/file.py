"""The file of the vectors: a header with checksums, and parts that are mapped rather than read.

Layout: magic (8 bytes), length of the header and its CRC-32 (4 bytes each, little-endian), header (JSON), the parts.
Of each part the header has two checksums: of what has to be whole before FAISS sees it, and of the rest, which is
looked at only when somebody asks: wrong bytes there are wrong numbers in vectors that rank nothing by themselves.
"""

import json
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from index.files import replacing
from index.vectors.kinds import EXACT, Quality

# Ends like the signature of PNG, so that a transfer as text is noticed too.
MAGIC = b"fc7vec\r\n"
FORMAT = 2
PREFIX = struct.Struct("<8sII")
LONGEST_HEADER = 1 << 16
# The parts of vectors lie where FAISS can use them: their lengths are multiples of 4 and 8.
ALIGNMENT = 64
AT_ONCE = 1 << 20


class VectorFileError(Exception):
    """The file is missing, damaged or of another format; its owner rebuilds it, so no user ever sees this."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which catalogue the vectors were taken from, and at which generation of it."""

    catalog: str = ""
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Built:
    """What was to be built, of how many vectors, how well it finds them, and where; Flat if they were too few."""

    wanted: str = EXACT
    size: int = 0
    quality: Quality | None = None
    device: str = "CPU"

    @property
    def kind(self) -> str:
        """The kind that it is."""
        return EXACT if self.quality is None else self.wanted


@dataclass(frozen=True, slots=True)
class Header:
    """What the file says of the vectors in it."""

    dim: int
    stamp: Stamp
    built: Built
    parts: tuple[tuple[str, int, int, int, int], ...]
    """Name, size, size of what is guarded, checksum of that, checksum of the rest."""


Write = Callable[[bytes | memoryview], object]


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """A part of the file."""

    name: str
    pour: Callable[[Write], None]
    """Hands over all bytes of it, piece by piece, so that they never have to be in memory together."""
    guarded: int | None = None
    """How many of them, from the first on, have to be whole; None: all. The rest is harmless if it is wrong."""


def write_vector_file(path: Path, sections: Sequence[Section], *, dim: int, stamp: Stamp, built: Built) -> None:
    """Write parts with their stamp, whole or not at all; what is guarded is taken as it is written. Raises OSError."""

    def header_of(parts: Sequence[tuple[str, int, int, int, int]]) -> bytes:
        fields = {"format": FORMAT, "dim": dim, "stamp": asdict(stamp), "built": asdict(built), "parts": parts}
        return json.dumps(fields).encode()

    # The header comes first and is known last: it gets the room that the largest numbers take.
    longest = len(header_of([(section.name, 2**63, 2**63, 2**32, 2**32) for section in sections]))
    start = -(-(PREFIX.size + longest) // ALIGNMENT) * ALIGNMENT
    with replacing(path) as file:
        file.seek(start)
        header = header_of([_write_section(file, section) for section in sections]).ljust(start - PREFIX.size)
        file.seek(0)
        file.write(PREFIX.pack(MAGIC, len(header), zlib.crc32(header)))
        file.write(header)


def _write_section(file: BinaryIO, section: Section) -> tuple[str, int, int, int, int]:
    sizes, checksums = [0, 0], [0, 0]

    def write(data: bytes | memoryview) -> None:
        file.write(data)
        end = len(data) if section.guarded is None else min(section.guarded - sizes[0], len(data))
        for place, part in enumerate((data[:end], data[end:])):
            sizes[place] += len(part)
            checksums[place] = zlib.crc32(part, checksums[place])

    section.pour(write)
    return section.name, sum(sizes), sizes[0], checksums[0], checksums[1]


def read_vector_file(path: Path, *, verify: bool = False) -> tuple[Header, list[tuple[str, NDArray[np.uint8]]]]:
    """Map the parts (n,), and look for damage in what is guarded, or in all of it. Raises VectorFileError."""
    sections = []
    try:
        with path.open("rb") as file:
            header = _read_header(file)
            start = file.tell()
            data = np.memmap(file, dtype=np.uint8, mode="r")
            if len(data) != start + sum(size for _, size, *_ in header.parts):
                raise VectorFileError(f"{path}: the file is truncated")
            for name, size, guarded, *checksums in header.parts:
                file.seek(start)
                for length, checksum in zip(
                    (guarded, size - guarded) if verify else (guarded,), checksums, strict=False
                ):
                    if _checksum(file, length) != checksum:
                        raise VectorFileError(f"{path}: the checksum differs")
                sections.append((name, data[start : start + size]))
                start += size
    except (OSError, ValueError) as error:
        raise VectorFileError(f"{path}: {error}") from error
    return header, sections


def _checksum(file: BinaryIO, length: int) -> int:
    """Read on, rather than in the map, all of which would count as memory of this process."""
    checksum = 0
    while length > 0 and (read := file.read(min(length, AT_ONCE))):
        checksum = zlib.crc32(read, checksum)
        length -= len(read)
    return checksum


def read_header(path: Path) -> Header:
    """Read the header alone, without looking for damage further on. Raises VectorFileError."""
    try:
        with path.open("rb") as file:
            return _read_header(file)
    except OSError as error:
        raise VectorFileError(f"{path}: {error}") from error


def _read_header(file: BinaryIO) -> Header:
    prefix = file.read(PREFIX.size)
    if len(prefix) < PREFIX.size:
        raise VectorFileError("the file is truncated")
    magic, length, checksum = PREFIX.unpack(prefix)
    if magic != MAGIC or length > LONGEST_HEADER:
        raise VectorFileError("the file is not one of ours")
    header = file.read(length)
    if zlib.crc32(header) != checksum:
        # So it is with files of the first format too, whose checksum is that of all that follows.
        raise VectorFileError("the header is damaged or of another format")
    try:
        return _parse_header(json.loads(header))
    except (ValueError, KeyError, TypeError) as error:
        raise VectorFileError("the header is of another format") from error


def _parse_header(fields: dict[str, Any]) -> Header:
    if fields["format"] != FORMAT:
        raise VectorFileError("the file is of another format")
    built, quality = fields["built"], fields["built"]["quality"]
    if quality is not None:
        pairs = tuple((int(effort), float(recall)) for effort, recall in quality["recalls"])
        quality = Quality(quality["depth"], pairs, quality["sampled"])
    return Header(
        fields["dim"],
        Stamp(**fields["stamp"]),
        Built(built["wanted"], built["size"], quality, built["device"]),
        tuple(map(tuple, fields["parts"])),
    )
