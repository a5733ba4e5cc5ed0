"""Writes embeddings with the names of their photos, for other programs to read, a block at a time."""

import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from index.errors import MissingPackageError, OptionError, UserError
from index.files import output_file

Block = tuple[list[str], NDArray[np.float32]]
"""Names (n,) and vectors (n, d)."""

ROWS_AT_ONCE = 1024


class NothingEmbeddedError(UserError):
    """There were no photos, or none could be read."""


def write_embeddings(path: Path, rows: Iterable[tuple[str, NDArray[np.float32]]]) -> int:
    """Write names and their vectors (d,) to an .npz or .parquet file, whole or not at all; return how many there were.

    An .npz has the array `embeddings` (n, d), and in `names` the bytes of all names with a zero byte between, so that
    one long name costs no more than its length: `bytes(file["names"]).decode().split("\\0")`. A .parquet has the
    columns `name` and `embedding`. Rows are not kept in memory. Before one is asked for, OptionError is raised for
    another suffix, UserError for a place that cannot be written to, and MissingPackageError for a .parquet without
    pyarrow; NothingEmbeddedError where there is no row.
    """
    beside = Path(os.path.realpath(path)).parent
    writers: dict[str, Callable[[BinaryIO, Iterator[Block]], int]] = {
        ".npz": partial(_write_npz, folder=beside),
        ".parquet": _write_parquet,
    }
    if path.suffix.lower() not in writers:
        raise OptionError(f"{path} is neither .npz nor .parquet", hint="choose one of the two: -o embeddings.npz")
    if path.suffix.lower() == ".parquet":
        _check_pyarrow()
    with output_file(path) as file:
        count = writers[path.suffix.lower()](file, _blocks(rows))
        if not count:
            raise NothingEmbeddedError(f"there is nothing to write to {path}, which is as it was")
    return count


def _blocks(rows: Iterable[tuple[str, NDArray[np.float32]]]) -> Iterator[Block]:
    rest = iter(rows)
    while block := list(islice(rest, ROWS_AT_ONCE)):
        names, vectors = zip(*block, strict=True)
        yield list(names), np.stack(vectors)


def _write_npz(file: BinaryIO, blocks: Iterator[Block], folder: Path) -> int:
    # How many rows there are is in the header of an array, and known last. Where the file is to be there is room for
    # them; the system's folder for temporary files may be small.
    with tempfile.TemporaryFile(dir=folder) as vectors, tempfile.TemporaryFile(dir=folder) as names:
        count = dim = 0
        for block_names, block in blocks:
            names.write(b"".join(os.fsencode(name) + b"\0" for name in block_names))
            vectors.write(block.astype("<f4").tobytes())
            count, dim = count + len(block), block.shape[1]
        if not count:
            return 0
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            _write_array(archive, "names", names, shape=(names.tell() - 1,), kind="|u1")  # no zero after the last
            _write_array(archive, "embeddings", vectors, shape=(count, dim), kind="<f4")
    return count


def _write_array(archive: zipfile.ZipFile, name: str, data: BinaryIO, *, shape: tuple[int, ...], kind: str) -> None:
    """Write the bytes of a file as an array of an .npz, which is a zip of .npy files."""
    data.truncate(int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize)
    data.seek(0)
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        header = {"descr": kind, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(member, header)
        shutil.copyfileobj(data, member)


def _write_parquet(file: BinaryIO, blocks: Iterator[Block]) -> int:
    import pyarrow
    import pyarrow.parquet

    count, writer = 0, None
    for names, block in blocks:
        # A file name that is not valid UTF-8 cannot be a Parquet string as it is.
        texts = [name.encode("utf-8", "backslashreplace").decode() for name in names]
        rows = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(block.reshape(-1)), block.shape[1])
        table = pyarrow.table({"name": texts, "embedding": rows})
        writer = writer or pyarrow.parquet.ParquetWriter(file, table.schema)
        writer.write_table(table)
        count += len(names)
    if writer is not None:
        writer.close()
    return count


def _check_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise MissingPackageError("a .parquet file needs pyarrow: pip install 'fc7[parquet]', or choose .npz") from None
