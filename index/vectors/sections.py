"""The sections of vectors.faiss: the base of an approximate index with its ids, and exact vectors with their ids.

An exact index is read and written here without FAISS.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.vectors.file import Header, Section, Stamp, VectorFileError, Write, read_vector_file, write_vector_file
from index.vectors.kinds import EXACT, Built


@dataclass(frozen=True, eq=False)
class VectorSections:
    """What a file holds: ids (n,) of the base, ids (m,) and vectors (m, dim) of the rest, the serialized base."""

    header: Header
    base_ids: NDArray[np.int64]
    recent_ids: NDArray[np.int64]
    recent: NDArray[np.float32]
    kind: str
    base: NDArray[np.uint8]


def sections_of(
    base_ids: NDArray[np.int64],
    ids: NDArray[np.int64],
    batches: Iterable[NDArray[np.float32]],
    *,
    base: Section | None = None,
) -> list[Section]:
    """List the sections to write: ids (n,) of the base; ids (m,) and vectors of the rest, in batches (k, dim)."""
    return [
        Section("ids", partial(_serialize, [base_ids])),
        Section("recent ids", partial(_serialize, [ids])),
        Section("recent", partial(_serialize, batches)),
        base or Section(EXACT, partial(_serialize, [])),
    ]


def read_sections(path: Path, *, verify: bool = False) -> VectorSections:
    """Map the sections of a file, and with `verify` check every byte of it.

    Raises VectorFileError when it is missing, damaged or of another format.
    """
    header, sections = read_vector_file(path, verify=verify)
    try:
        (_, base_ids), (_, recent_ids), (_, recent), (kind, base) = sections
        ids = np.array(recent_ids).view(np.int64)
        # In files of earlier versions they may begin at any byte.
        vectors = np.require(recent.view(np.float32).reshape(len(ids), header.dim), requirements="A")
        return VectorSections(header, np.array(base_ids).view(np.int64), ids, vectors, kind, base)
    except ValueError as error:
        raise VectorFileError(f"{path}: {error}") from error


def save_exact(
    path: Path,
    ids: NDArray[np.int64],
    batches: Iterable[NDArray[np.float32]],
    *,
    dim: int,
    stamp: Stamp,
    built: Built,
) -> None:
    """Write the file of an exact index of ids (n,) and vectors, in batches (m, dim) in the order of the ids.

    Raises OSError.
    """
    sections = sections_of(np.empty(0, dtype=np.int64), ids, batches)
    write_vector_file(path, sections, dim=dim, stamp=stamp, built=built)


def read_exact(path: Path) -> Header | None:
    """Read the header of the file of an exact index, and check all of the file; None for an approximate one.

    Raises VectorFileError when it is missing, damaged or of another format.
    """
    stored = read_sections(path)
    return None if stored.base.size or len(stored.base_ids) else stored.header


def _serialize(arrays: Iterable[NDArray[Any]], write: Write) -> None:
    for array in arrays:
        write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
