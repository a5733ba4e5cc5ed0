"""Arrays of one row a picture in a file, filled once and kept: decoded pictures, and what a teacher says of them."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from index.errors import RunError
from index.files import replacing
from retrieval.progress import Progress

BLOCK = 4096
"""Rows between two notes of how far it is, which is what a kill can lose."""


def split_key(paths: Sequence[Path], root: Path, *settings: object) -> str:
    """Return a SHA-256 over the pictures' paths below a root, their sizes and their order, and over `settings`."""
    digest = hashlib.sha256(json.dumps([str(setting) for setting in settings]).encode())
    for path in paths:
        try:
            size = path.stat().st_size
        except OSError:
            size = -1  # it will be listed as unreadable
        digest.update(b"%s\0%d\n" % (os.fsencode(os.path.relpath(path, root)), size))
    return digest.hexdigest()


class RowStore:
    """An array (n, *shape) on the disk under a `key`; what is not filled yet, `fill` asks for.

    `problems` has the rows for which there was nothing, with the reason. Raises RunError where the folder cannot be
    written.
    """

    def __init__(self, folder: Path, kind: str, key: str, n: int, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._data, self._note = (folder / f"{kind}-{key[:16]}.{suffix}" for suffix in ("rows", "json"))
        self._wanted = {"key": key, "rows": n, "shape": list(shape), "dtype": np.dtype(dtype).str}
        self.problems: dict[int, str] = {}
        self._done = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not self._read_note():
                with self._data.open("wb") as file:
                    file.truncate(n * int(np.prod(shape)) * np.dtype(dtype).itemsize)
            self.rows: NDArray[Any] = np.memmap(self._data, dtype, "r+", shape=(n, *shape))
        except OSError as error:
            raise RunError(
                f"{folder} cannot keep {kind} ({error.strerror}); make room, or name another folder with --cache"
            ) from error

    @property
    def filled(self) -> bool:
        """Whether all rows are there."""
        return self._done == len(self.rows)

    def fill(
        self,
        compute: Callable[[range], tuple[NDArray[Any], dict[int, str]]],
        *,
        progress: Progress | None = None,
    ) -> None:
        """Fill the rows that are missing, in order; after a kill the next run goes on with the block that was lost.

        `compute` returns the rows of a range, and why some of them are empty, by number. Raises RunError.
        """
        while not self.filled:
            block = range(self._done, min(self._done + BLOCK, len(self.rows)))
            values, problems = compute(block)
            self.rows[block.start : block.stop] = values
            self.rows.flush()  # type: ignore[attr-defined]
            self.problems.update(problems)
            self._done = block.stop
            self._write_note()
            if progress is not None:
                progress(self._done, len(self.rows))

    def _read_note(self) -> bool:
        try:
            note = json.loads(self._note.read_text())
            if any(note[name] != value for name, value in self._wanted.items()):
                return False
            done, problems = int(note["done"]), {int(row): str(why) for row, why in note["problems"].items()}
            size = int(np.prod([note["rows"], *note["shape"]])) * np.dtype(note["dtype"]).itemsize
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return False
        if not 0 <= done <= note["rows"] or self._data.stat().st_size != size:
            return False
        self._done, self.problems = done, problems
        return True

    def _write_note(self) -> None:
        note = {**self._wanted, "done": self._done, "problems": self.problems}
        try:
            with replacing(self._note) as file:
                file.write(json.dumps(note).encode())
        except OSError as error:
            raise RunError(f"{self._note} could not be written ({error.strerror}); make room and go on") from error
