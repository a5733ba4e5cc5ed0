"""The format of vectors.faiss: a header with checksums, and sections that are mapped into memory.

Layout: magic (8 bytes), length of the header and its CRC-32 (4 bytes each, little-endian), header (JSON), sections.
The header has two checksums for each section. The first is of the guarded bytes: damage to these could crash FAISS, so
they are checked before it sees them. The second is of the rest, which is checked only on request: damage there changes
numbers of vectors, and these only propose candidates.
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

from index.catalog.catalog import CatalogState
from index.files import replacing
from index.vectors.kinds import Built, Quality

# A transfer in text mode changes the end, and is noticed. The signature of PNG does the same.
MAGIC = b"fc7vec\r\n"
FORMAT = 2
PREFIX = struct.Struct("<8sII")
LONGEST_HEADER = 1 << 16
# The first section begins at a multiple of this. All but the last have a length that is a multiple of 4 or 8. So FAISS
# can use their numbers where they lie.
ALIGNMENT = 64
AT_ONCE = 1 << 20


class VectorFileError(Exception):
    """The file is missing, damaged or of another format. Its owner rebuilds it, so no user sees this."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which catalogue the vectors were taken from, and at which generation of it."""

    catalog: str = ""
    generation: int = 0

    @classmethod
    def of(cls, state: CatalogState) -> "Stamp":
        """Return the stamp of vectors in this state of a catalogue."""
        return cls(state.identity, state.generation)


@dataclass(frozen=True, slots=True)
class Header:
    """What the file says about the vectors in it."""

    dim: int
    stamp: Stamp
    built: Built
    sections: tuple[tuple[str, int, int, int, int], ...]
    """Name, size in bytes, number of guarded bytes, their checksum, checksum of the rest."""


Write = Callable[[bytes | memoryview], object]


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """A section of the file."""

    name: str
    serialize: Callable[[Write], None]
    """Writes all its bytes, piece by piece, so that they are never in memory together."""
    guarded: int | None = None
    """How many bytes, from the first on, are guarded; None for all."""


def write_vector_file(path: Path, sections: Sequence[Section], *, dim: int, stamp: Stamp, built: Built) -> None:
    """Write sections with their stamp, whole or not at all. Raises OSError."""

    def header_of(parts: Sequence[tuple[str, int, int, int, int]]) -> bytes:
        fields = {"format": FORMAT, "dim": dim, "stamp": asdict(stamp), "built": _built_fields(built), "parts": parts}
        return json.dumps(fields).encode()

    # The header comes first, but the checksums in it are known last. So it gets the room that the largest numbers take.
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

    section.serialize(write)
    return section.name, sum(sizes), sizes[0], checksums[0], checksums[1]


def read_vector_file(path: Path, *, verify: bool = False) -> tuple[Header, list[tuple[str, NDArray[np.uint8]]]]:
    """Map the sections (n,), by name, and check the guarded bytes, or with `verify` all. Raises VectorFileError."""
    sections = []
    try:
        with path.open("rb") as file:
            header = _read_header(file)
            start = file.tell()
            data = np.memmap(file, dtype=np.uint8, mode="r")
            if len(data) != start + sum(size for _, size, *_ in header.sections):
                raise VectorFileError(f"{path}: the file is truncated")
            for name, size, guarded, *checksums in header.sections:
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
    """Compute the checksum of the next bytes of a file."""
    # Read from the file: what is read from the map would count as memory of this process.
    checksum = 0
    while length > 0 and (read := file.read(min(length, AT_ONCE))):
        checksum = zlib.crc32(read, checksum)
        length -= len(read)
    return checksum


def read_header(path: Path) -> Header:
    """Read the header alone, and check no section. Raises VectorFileError."""
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
        # The checksum differs in files of the first format too: there it was of the whole rest of the file.
        raise VectorFileError("the header is damaged or of another format")
    try:
        return _parse_header(json.loads(header))
    except (ValueError, KeyError, TypeError) as error:
        raise VectorFileError("the header is of another format") from error


def _built_fields(built: Built) -> dict[str, Any]:
    quality = built.quality
    return {
        "wanted": built.wanted,
        "size": built.size,
        "quality": quality and {"depth": quality.rerank_factor, "recalls": quality.recalls, "sampled": quality.sampled},
        "device": built.device,
    }


def _parse_header(fields: dict[str, Any]) -> Header:
    if fields["format"] != FORMAT:
        raise VectorFileError("the file is of another format")
    built, quality = fields["built"], fields["built"]["quality"]
    if quality is not None:
        pairs = tuple((int(nprobe), float(recall)) for nprobe, recall in quality["recalls"])
        quality = Quality(quality["depth"], pairs, quality["sampled"])
    return Header(
        fields["dim"],
        Stamp(**fields["stamp"]),
        Built(built["wanted"], built["size"], quality, built["device"]),
        tuple(map(tuple, fields["parts"])),
    )
