"""Writes embeddings with the names of their photos, for other programs to read."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from index.errors import MissingPackageError, OptionError, UserError
from index.files import output_file

Matrix = NDArray[np.float32]


class NothingEmbeddedError(UserError):
    """There were no photos, or none could be read."""


def write_embeddings(path: Path, rows: Iterable[tuple[str, NDArray[np.float32]]]) -> int:
    """Write names and their vectors (d,) to an .npz or .parquet file, whole or not at all; return how many there were.

    An .npz has the arrays `names` (n,) and `embeddings` (n, d), a .parquet the columns `name` and `embedding`. Before a
    row is asked for, OptionError is raised for another suffix, UserError for a place that cannot be written to, and
    MissingPackageError for a .parquet without pyarrow; NothingEmbeddedError where there is no row.
    """
    writers = {".npz": _write_npz, ".parquet": _write_parquet}
    if path.suffix.lower() not in writers:
        raise OptionError(f"{path} is neither .npz nor .parquet", hint="choose one of the two: -o embeddings.npz")
    if path.suffix.lower() == ".parquet":
        _check_pyarrow()
    with output_file(path) as file:
        names, vectors = [], []
        for name, vector in rows:
            names.append(name)
            vectors.append(vector)
        if not vectors:
            raise NothingEmbeddedError(f"there is nothing to write to {path}, which is as it was")
        writers[path.suffix.lower()](file, names, np.stack(vectors))
    return len(names)


def _write_npz(file: BinaryIO, names: Sequence[str], embeddings: Matrix) -> None:
    np.savez(file, names=np.array(names, dtype=np.str_), embeddings=embeddings)


def _write_parquet(file: BinaryIO, names: Sequence[str], embeddings: Matrix) -> None:
    import pyarrow
    import pyarrow.parquet

    # A file name that is not valid UTF-8 cannot be a Parquet string as it is.
    texts = [name.encode("utf-8", "backslashreplace").decode() for name in names]
    rows = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(embeddings.reshape(-1)), embeddings.shape[1])
    pyarrow.parquet.write_table(pyarrow.table({"name": texts, "embedding": rows}), file)


def _check_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise MissingPackageError("a .parquet file needs pyarrow: pip install 'fc7[parquet]', or choose .npz") from None
